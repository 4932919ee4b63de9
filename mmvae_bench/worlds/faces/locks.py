"""What hair is drawn with: its paint, and locks and strands, straight or wavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .canvas import Colour, Point, Segment, curve, darker, lighter, linear
from .palette import Palette

if TYPE_CHECKING:
    import skia

WAVE = 3.6
"""Height of half a wave."""


class Shades(NamedTuple):
    """A hair colour, with the lighter and darker ones of single strands."""

    base: Colour
    light: Colour
    dark: Colour


def shades(palette: Palette) -> Shades:
    """Of the first of the hair's colours, that of its roots; with light strands in the second where it has two."""
    roots = palette.hair[0]
    light = palette.hair[1] if len(palette.hair) > 1 else lighter(roots, 0.28)
    return Shades(roots, light, darker(roots, 0.38))


def hair_paint(palette: Palette, top: float, bottom: float) -> skia.Paint:
    """Paint for hair between two heights: from a lighter to a darker shade, or through the colours it has."""
    colours = palette.hair
    if len(colours) == 1:
        colours = (lighter(colours[0], 0.12), darker(colours[0], 0.18))
    return linear((0, top), (0, bottom), colours)


def strand(start: Point, stop: Point, *, wavy: bool, swing: float = 1.7) -> skia.Path:
    """A line of hair from ``start`` down to ``stop``.

    Args:
        start: Upper end.
        stop: Lower end.
        wavy: Whether it swings to both sides in turn, else it is straight.
        swing: How far a wave's control points lie beside the line; the wave itself goes half as far.
    """
    return curve(start, *(_waves(start, stop, swing) if wavy else [stop]))


def _waves(start: Point, stop: Point, swing: float) -> list[Segment]:
    count = max(2, round(abs(stop[1] - start[1]) / WAVE))
    step_x, step_y = (stop[0] - start[0]) / count, (stop[1] - start[1]) / count
    segments: list[Segment] = []
    for number in range(count):
        side = swing * 2 if number % 2 else -swing * 2
        x, y = start[0] + step_x * number, start[1] + step_y * number
        segments.append((x + step_x / 2 + side, y + step_y / 2, x + step_x, y + step_y))
    return segments
