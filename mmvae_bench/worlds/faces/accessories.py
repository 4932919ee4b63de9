"""Hats and eyeglasses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .canvas import Colour, curve, darker, ellipse, fill, lighter, linear, outline, rounded, stroke
from .sitter import Sitter

if TYPE_CHECKING:
    import skia

FRAMES: tuple[Colour, ...] = ((14, 14, 18), (88, 34, 22), (30, 34, 78))
HAT_EDGE = -14.0
"""Height of the hat's lower edge at the sides: what is below stays visible."""


def draw_hat(canvas: skia.Canvas, sitter: Sitter) -> None:
    """A woollen cap with a cuff, a baseball cap, or a hat with a wide brim."""
    nuisance, width = sitter.nuisance, sitter.geometry.width + 2.6
    hat: Colour = (20 + 215 * nuisance.hat_red, 20 + 215 * nuisance.hat_green, 20 + 215 * nuisance.hat_blue)
    crown = outline(
        (-width, HAT_EDGE + 1),
        [(-width + 1, -33, 0, -33), (width - 1, -33, width, HAT_EDGE + 1), (0, HAT_EDGE - 4, -width, HAT_EDGE + 1)],
    )
    canvas.drawPath(crown, linear((0, -31), (0, -13), (lighter(hat, 0.2), darker(hat, 0.25))))
    kind = int(3 * nuisance.hat_kind)
    edge = darker(hat, 0.45)
    if kind == 0:
        cuff = curve((-width + 0.4, HAT_EDGE), (0, HAT_EDGE - 5, width - 0.4, HAT_EDGE))
        canvas.drawPath(cuff, stroke(edge, 4.2))
    elif kind == 1:
        side = 1 if nuisance.hair_side > 0 else -1
        visor = outline(
            (-side * 0.75 * width, HAT_EDGE - 1.5),
            [
                (0, HAT_EDGE - 5.5, side * 0.85 * width, HAT_EDGE - 1),
                (side * (width + 8), HAT_EDGE + 2.5, side * 0.85 * width, HAT_EDGE + 2.6),
                (0, HAT_EDGE - 0.6, -side * 0.75 * width, HAT_EDGE - 1.5),
            ],
        )
        canvas.drawPath(visor, fill(edge))
    else:
        canvas.drawOval(ellipse(0, HAT_EDGE - 0.5, width + 7, 2.6), fill(edge))
        band = curve((-width + 0.6, HAT_EDGE - 4), (0, HAT_EDGE - 7.5, width - 0.6, HAT_EDGE - 4))
        canvas.drawPath(band, stroke(darker(hat, 0.7), 1.6))


def draw_eyeglasses(canvas: skia.Canvas, sitter: Sitter) -> None:
    """A dark frame, round or square, before clear or tinted glass."""
    shape, nuisance = sitter.geometry, sitter.nuisance
    y, distance = shape.eye_y + 0.4, 1.03 * shape.eye_x
    frame = FRAMES[int(3 * nuisance.glasses_colour)]
    tinted = nuisance.glasses_tint > 0.75
    glass = fill((24, 22, 34), 0.8) if tinted else fill((222, 234, 246), 0.18)
    corner = 1 + 2.5 * nuisance.glasses_roundness
    for side in (-1, 1):
        x = side * distance + shape.yaw
        lens = rounded(ellipse(x, y, 5.0, 3.9), corner)
        canvas.drawRRect(lens, glass)
        canvas.drawRRect(lens, stroke(frame, 1.25))
        canvas.drawLine(x + side * 5.0, y - 0.8, side * shape.width, y - 1.0, stroke(frame, 1.0))
    canvas.drawLine(shape.yaw - 1.8, y - 0.6, shape.yaw + 1.8, y - 0.6, stroke(frame, 1.1))
