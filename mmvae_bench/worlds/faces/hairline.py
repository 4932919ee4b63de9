"""How hair ends above the forehead: the hairline, bangs, and what is left on a bald head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .canvas import WHITE, Point, Segment, curve, ellipse, fill, outline, stroke
from .locks import hair_paint, shades, strand
from .palette import named_colours
from .sitter import Sitter

if TYPE_CHECKING:
    import skia

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

    Where no colour is named the head is shaven: the fringe is a shadow. Where the hairline is also called receding, the
    fringe reaches round the temples and thin hair is combed over the crown.
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
