"""Hair: around the face, above the forehead, and what is left of it on a bald head.

Straight hair falls in straight strands with blunt ends, wavy hair in waves and curls; hair that is neither is tied back
in a knot on women and cropped on men. Straight and wavy hair is long on women and ends at the ears on men. Where both
are specified, the left side is straight and the right side wavy.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from .canvas import (
    WHITE,
    Colour,
    Point,
    Segment,
    as_stroke,
    curve,
    darker,
    ellipse,
    fill,
    lighter,
    linear,
    outline,
    stroke,
)
from .person import Palette, Sitter, named_colours

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
    """Shades of the hair's first colour, that of its roots; light strands have the second colour if there is one."""
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
        swing: Distance of a wave's control points from the line; the wave itself goes half as far.
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


HAIRLINE = -16.2
"""Height of the hairline in the middle of the forehead."""
BANGS_END = -8.6
"""Height of the lower ends of bangs, just above the eyebrows."""


def hairline(sitter: Sitter) -> tuple[Point, list[Segment]]:
    """The lower edge of the hair, from the right temple to the left one.

    A receding hairline climbs over the temples almost to the crown and leaves a peak in the middle.
    """
    face = sitter.geometry.width
    if sitter.traits.receding_hairline:
        return (0.99 * face, -8.5), [
            (0.9 * face, -20.5, 0.5 * face, -21.5),
            (0.18 * face, -20.5, 0, -15.2),
            (-0.18 * face, -20.5, -0.5 * face, -21.5),
            (-0.9 * face, -20.5, -0.99 * face, -8.5),
        ]
    parting = 6 * sitter.nuisance.hair_side
    return (0.93 * face, -8), [
        (0.62 * face, HAIRLINE + 1, parting, HAIRLINE),
        (-0.62 * face, HAIRLINE + 1, -0.93 * face, -8),
    ]


def draw_bangs(canvas: skia.Canvas, sitter: Sitter) -> None:
    """Hair over the forehead down to the eyebrows; over a receding hairline or a bald head a narrow forelock."""
    traits, tones = sitter.traits, shades(sitter.palette)
    sparse = traits.receding_hairline or traits.bald
    half = (0.42 if sparse else 0.93) * sitter.geometry.width
    ends = [(half * (1 - index / 4), BANGS_END + (0.9 if index % 2 else -0.4)) for index in range(9)]
    top = -18.0 if traits.wearing_hat else -23.5
    shape = outline((-half, -12), [(-half, top, 0, top), (half, top, half, -12), *ends])
    canvas.drawPath(shape, hair_paint(sitter.palette, top, BANGS_END))
    for number, (x, y) in enumerate(ends[1:-1]):
        tone = stroke(tones.light if number % 2 else tones.dark, 0.8, 0.7, blunt=True)
        wavy = traits.wavy_hair and (x > 0 or not traits.straight_hair)
        canvas.drawPath(strand((0.75 * x, -19), (x, y - 0.3), wavy=wavy, swing=1.2), tone)


def draw_bald_head(canvas: skia.Canvas, sitter: Sitter) -> None:
    """A shining crown, and a fringe above the ears that shows the hair's colour and texture.

    If no colour is named the head is shaven: the fringe is a shadow. If the hairline is also receding, the fringe
    reaches round the temples and thin hair is combed over the crown.
    """
    traits, tones, face = sitter.traits, shades(sitter.palette), sitter.geometry.width
    opacity = 0.95 if named_colours(traits) or traits.straight_hair or traits.wavy_hair else 0.3
    canvas.drawOval(ellipse(4 - 8 * sitter.nuisance.hair_phase, -18.8, 4.6, 2.2), fill(WHITE, 0.35))
    for side in (-1, 1):
        canvas.drawOval(ellipse(side * (face + 0.2), -4.5, 1.7, 5.2), fill(tones.base, opacity))
        edge = curve((side * (face - 1.3), -8.5), (side * (face - 1.6), -4.5, side * (face - 1.2), -0.5))
        canvas.drawPath(edge, stroke(tones.dark, 0.7, 0.8 * opacity))
        if traits.receding_hairline:
            fringe = curve((side * face, -5), (side * (face + 0.2), -14, side * 0.78 * face, -18))
            canvas.drawPath(fringe, stroke(tones.base, 3.0))
        for number in range(3):
            x = side * (face + 2.2 - 1.4 * number)
            if traits.straight_hair:
                canvas.drawPath(strand((x, -7), (x, 5), wavy=False), stroke(tones.base, 1.2, blunt=True))
            elif traits.wavy_hair:
                canvas.drawOval(ellipse(side * (face + 1.2), -6 + 4 * number, 2.5, 2.3), fill(tones.base))
    if traits.receding_hairline:
        for number in range(3):
            y = -18.0 - 1.6 * number
            combed = curve((-0.72 * face, y + 1), (0, y - 5.5, 0.72 * face, y + 1))
            canvas.drawPath(combed, stroke(tones.base, 0.8, 0.9))


SIDES = (-1, 1)


def draw_hair_behind(canvas: skia.Canvas, sitter: Sitter) -> None:
    """What hangs or sticks out behind a woman's head; nothing if the hair is short."""
    if sitter.traits.male or sitter.traits.bald:
        return
    if not (sitter.traits.straight_hair or sitter.traits.wavy_hair):
        _draw_knot(canvas, sitter)
        return
    for side in SIDES:
        _draw_long_side(canvas, sitter, side)


def draw_hair(canvas: skia.Canvas, sitter: Sitter) -> None:
    """The hair on the head, in front of the face."""
    if sitter.traits.bald:
        return
    _draw_cap(canvas, sitter)
    for side in SIDES:
        if not sitter.traits.male:
            if sitter.traits.straight_hair or sitter.traits.wavy_hair:
                _draw_front_locks(canvas, sitter, side)
        elif wavy_on(sitter, side):
            _draw_curls(canvas, sitter, side)
        elif sitter.traits.straight_hair:
            _draw_blunt_side(canvas, sitter, side)


def wavy_on(sitter: Sitter, side: int) -> bool:
    """Whether the hair is wavy on a side of the head (-1 left, 1 right)."""
    return sitter.traits.wavy_hair and (side == 1 or not sitter.traits.straight_hair)


def _draw_long_side(canvas: skia.Canvas, sitter: Sitter, side: int) -> None:
    """One half of long hair: blunt below and flat outside if it is straight, else in waves that stick out."""
    wavy = wavy_on(sitter, side)
    width = sitter.geometry.width + (2.2 if wavy else 3.4)
    bottom = 17 + 9 * sitter.nuisance.hair_length
    mass = outline(
        (0, -26),
        [(side * width, -26, side * width, -14, side * width, -6), (side * (width + 0.6), bottom), (0, bottom)],
    )
    paint = hair_paint(sitter.palette, -24, bottom)
    canvas.drawPath(mass, paint)
    tones = shades(sitter.palette)
    if wavy:
        edge = strand((side * (width - 0.6), -14), (side * (width + 1.4), bottom + 2), wavy=True, swing=2.6)
        canvas.drawPath(edge, as_stroke(paint, 4.4))
    for number in range(5):
        x = side * (width - 0.4 - 2.1 * number)
        start, stop = (x * 0.9, -12.0), (x + (side * 1.4 if wavy else 0), bottom)
        tone = tones.light if number % 2 else tones.dark
        canvas.drawPath(strand(start, stop, wavy=wavy), stroke(tone, 0.8, 0.75, blunt=True))


def _draw_knot(canvas: skia.Canvas, sitter: Sitter) -> None:
    """Hair tied back: a knot on the crown, or in the neck if a hat is worn."""
    place, tones = sitter.nuisance.hair_side, shades(sitter.palette)
    if sitter.traits.wearing_hat:
        x, y = math.copysign(sitter.geometry.width + 1.5, place), 9.0
    else:
        x, y = 8 * place, -26.5 + 1.5 * abs(place)
    canvas.drawOval(ellipse(x, y, 5.6, 4.6), fill(tones.base))
    canvas.drawPath(curve((x - 3.5, y + 1), (x, y - 4, x + 3.5, y + 1)), stroke(tones.light, 0.8, 0.7))


def _draw_cap(canvas: skia.Canvas, sitter: Sitter) -> None:
    """The hair that covers the skull, down to the hairline and the temples."""
    traits, face = sitter.traits, sitter.geometry.width
    cropped = traits.male and not (traits.straight_hair or traits.wavy_hair)
    # Under a hat even cropped hair shows at the temples, as a bald head's skin would not.
    thickness = 0.7 if cropped and not traits.wearing_hat else 2.0
    top, temple = -24.6 - thickness, (-1.5 if traits.male else -4.5)
    outer, inner = face + thickness, 0.97 * face
    start, line = hairline(sitter)
    cap = outline(
        (-outer, temple),
        [
            (-outer, top, 0, top),
            (outer, top, outer, temple),
            (inner, temple),
            start,
            *line,
            (-inner, temple),
        ],
    )
    canvas.drawPath(
        cap, hair_paint(sitter.palette, -26, 26 if len(sitter.palette.hair) > 1 and not traits.male else -2)
    )
    # The shadow of the hair on the forehead: brown hair on brown skin would have no edge.
    canvas.drawPath(curve(start, *line), stroke(darker(sitter.palette.hair[0], 0.45), 0.9, 0.7))
    if not cropped:
        _draw_parting(canvas, sitter, top)


def _draw_parting(canvas: skia.Canvas, sitter: Sitter, top: float) -> None:
    """Strands from the parting down to the hairline: straight, wavy, or combed back smoothly to the knot."""
    tones, face = shades(sitter.palette), sitter.geometry.width
    parting = 6 * sitter.nuisance.hair_side
    smooth = not (sitter.traits.straight_hair or sitter.traits.wavy_hair)
    for number in range(-3, 4):
        x = number / 3.4 * face
        start, stop = (parting + 0.35 * (x - parting), top + 1.0), (x, -17.0 + 1.1 * abs(number))
        tone = stroke(tones.light if number % 2 else tones.dark, 0.8, 0.4 if smooth else 0.75, blunt=True)
        canvas.drawPath(strand(start, stop, wavy=wavy_on(sitter, 1 if x > 0 else -1), swing=1.3), tone)


def _draw_front_locks(canvas: skia.Canvas, sitter: Sitter, side: int) -> None:
    """Long hair that frames the face before the ears."""
    wavy, tones = wavy_on(sitter, side), shades(sitter.palette)
    x, bottom = side * (sitter.geometry.width + 0.9), 17 + 9 * sitter.nuisance.hair_length
    lock = strand((x * 0.98, -10), (x, bottom), wavy=wavy, swing=1.9)
    canvas.drawPath(lock, as_stroke(hair_paint(sitter.palette, -24, bottom), 3.0))
    canvas.drawPath(lock, stroke(tones.light, 0.8, 0.8, blunt=True))


def _draw_curls(canvas: skia.Canvas, sitter: Sitter, side: int) -> None:
    """Curls of short wavy hair round one side of the head, from ear to crown; under a hat only those below it."""
    tones, width = shades(sitter.palette), sitter.geometry.width + 1.2
    lowest, highest = (-0.2, 0.2) if sitter.traits.wearing_hat else (-0.1, 1.45)
    for number in range(5):
        angle = lowest + (highest - lowest) * (number + 0.4 * sitter.nuisance.hair_phase) / 4.4
        x, y = side * width * math.cos(angle), -6 - 19.5 * math.sin(angle)
        canvas.drawOval(ellipse(x, y, 3.1, 3.0), fill(tones.base))
        canvas.drawPath(curve((x - 1.8, y + 0.8), (x, y - 3.4, x + 1.8, y + 0.8)), stroke(tones.light, 0.8, 0.75))


def _draw_blunt_side(canvas: skia.Canvas, sitter: Sitter, side: int) -> None:
    """Short straight hair on one side of the head, cut off in a line over the ear."""
    tones, face = shades(sitter.palette), sitter.geometry.width
    bottom = 2.5 + 3 * sitter.nuisance.hair_length
    panel = outline(
        (side * 0.93 * face, -14),
        [
            (side * (face - 0.6), -17),
            (side * (face + 2.0), -9),
            (side * (face + 2.2), bottom),
            (side * 0.9 * face, bottom),
        ],
    )
    canvas.drawPath(panel, fill(tones.base))
    for number in range(3):
        x = side * (face + 1.6 - 1.4 * number)
        tone = tones.light if number % 2 else tones.dark
        canvas.drawPath(strand((0.92 * x, -14), (x, bottom), wavy=False), stroke(tone, 0.7, 0.75, blunt=True))
