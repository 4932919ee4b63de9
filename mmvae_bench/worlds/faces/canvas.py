"""Paints and outlines: skia's drawing in the few forms that a face is made of.

skia is imported by the functions that use it, so that the package can be imported where its libraries are missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import skia

Colour = tuple[float, float, float]
"""Red, green, blue, 0 to 255."""
Point = tuple[float, float]
Segment = tuple[float, ...]
"""The end of a line (x, y), or control points and end of a quadratic (4 numbers) or cubic (6 numbers) curve."""

WHITE: Colour = (255.0, 255.0, 255.0)
BLACK: Colour = (0.0, 0.0, 0.0)


def mix(first: Colour, second: Colour, amount: float) -> Colour:
    """From ``first`` (amount 0) to ``second`` (amount 1).

    >>> mix((0, 0, 0), (100, 200, 50), 0.5)
    (50.0, 100.0, 25.0)
    """
    keep = 1 - amount
    return (
        first[0] * keep + second[0] * amount,
        first[1] * keep + second[1] * amount,
        first[2] * keep + second[2] * amount,
    )


def lighter(colour: Colour, amount: float) -> Colour:
    """The colour mixed with white."""
    return mix(colour, WHITE, amount)


def darker(colour: Colour, amount: float) -> Colour:
    """The colour mixed with black."""
    return mix(colour, BLACK, amount)


def fill(colour: Colour, opacity: float = 1.0) -> skia.Paint:
    """Paint for an area of one colour."""
    import skia

    return skia.Paint(AntiAlias=True, Color=_pixel(colour, opacity))


def stroke(colour: Colour, width: float, opacity: float = 1.0, *, blunt: bool = False) -> skia.Paint:
    """Paint for a line with round or blunt ends."""
    import skia

    return skia.Paint(
        AntiAlias=True,
        Color=_pixel(colour, opacity),
        Style=skia.Paint.kStroke_Style,
        StrokeWidth=width,
        StrokeCap=skia.Paint.kButt_Cap if blunt else skia.Paint.kRound_Cap,
        StrokeJoin=skia.Paint.kRound_Join,
    )


def as_stroke(paint: skia.Paint, width: float) -> skia.Paint:
    """The same paint, for a line instead of an area."""
    import skia

    paint.setStyle(skia.Paint.kStroke_Style)
    paint.setStrokeWidth(width)
    return paint


def linear(
    start: Point, stop: Point, colours: Sequence[Colour], opacities: Sequence[float] | None = None
) -> skia.Paint:
    """Paint that runs through two or more colours from one point to another."""
    import skia

    pixels = [
        _pixel(colour, opacity) for colour, opacity in zip(colours, opacities or [1.0] * len(colours), strict=True)
    ]
    return skia.Paint(AntiAlias=True, Shader=skia.GradientShader.MakeLinear([start, stop], pixels))


def radial(
    centre: Point, radius: float, inner: Colour, outer: Colour, *, opacities: tuple[float, float] = (1.0, 1.0)
) -> skia.Paint:
    """Paint that runs from one colour at ``centre`` to another at ``radius``."""
    import skia

    pixels = [_pixel(inner, opacities[0]), _pixel(outer, opacities[1])]
    return skia.Paint(AntiAlias=True, Shader=skia.GradientShader.MakeRadial(centre, radius, pixels))


def outline(start: Point, segments: Iterable[Segment], *, closed: bool = True) -> skia.Path:
    """A path through ``start`` and the ends of ``segments``."""
    import skia

    builder = skia.PathBuilder()
    builder.moveTo(*start)
    for segment in segments:
        if len(segment) == 2:
            builder.lineTo(*segment)
        elif len(segment) == 4:
            builder.quadTo(*segment)
        else:
            builder.cubicTo(*segment)
    if closed:
        builder.close()
    return builder.detach()


def curve(start: Point, *segments: Segment) -> skia.Path:
    """An open path."""
    return outline(start, segments, closed=False)


def ellipse(x: float, y: float, width: float, height: float) -> skia.Rect:
    """The box of an ellipse, by its centre and half its axes."""
    import skia

    return skia.Rect.MakeLTRB(x - width, y - height, x + width, y + height)


def rounded(box: skia.Rect, corner: float) -> skia.RRect:
    """The same box with round corners of that radius."""
    import skia

    return skia.RRect.MakeRectXY(box, corner, corner)


def _pixel(colour: Colour, opacity: float) -> int:
    import skia

    return int(skia.Color(int(colour[0]), int(colour[1]), int(colour[2]), int(255 * opacity)))
