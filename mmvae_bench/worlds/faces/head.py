"""Shoulders, neck, ears and the face itself, without features."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .canvas import Colour, darker, ellipse, fill, lighter, linear, mix, outline, radial
from .sitter import Sitter

if TYPE_CHECKING:
    import skia

BLUSH: Colour = (228, 72, 96)


def draw_shoulders(canvas: skia.Canvas, sitter: Sitter) -> None:
    """Clothes: broad square shoulders for men, narrow sloping ones with an open neck for women."""
    nuisance = sitter.nuisance
    clothes = (20 + 215 * nuisance.clothes_red, 20 + 215 * nuisance.clothes_green, 20 + 215 * nuisance.clothes_blue)
    height, reach = (24.0, 34.0) if sitter.traits.male else (27.0, 27.0)
    body = outline(
        (-reach, 48), [(-reach + 1, height + 2, -9, height), (9, height), (reach - 1, height + 2, reach, 48)]
    )
    canvas.drawPath(body, linear((0, height), (0, 36), (lighter(clothes, 0.08), darker(clothes, 0.25))))


def draw_neck(canvas: skia.Canvas, sitter: Sitter) -> None:
    """The neck, shaded under the chin, and the opening of the clothes."""
    palette, male = sitter.palette, sitter.traits.male
    width = 8.6 if male else 6.2
    depth = (29.0 if male else 33.0) + 3 * sitter.nuisance.collar
    neck = outline(
        (-width, 8), [(-width, 25), (-width * 0.4, depth, 0, depth), (width * 0.4, depth, width, 25), (width, 8)]
    )
    canvas.drawPath(neck, linear((0, 14), (0, 27), (palette.shade, mix(palette.skin, palette.shade, 0.25))))


def draw_face(canvas: skia.Canvas, sitter: Sitter) -> None:
    """Ears and face, lit from the side that the light comes from; blush under make-up, stubble on men."""
    palette, shape, nuisance, traits = sitter.palette, sitter.geometry, sitter.nuisance, sitter.traits
    for side in (-1, 1):
        ear = ellipse(side * shape.width + 0.3 * shape.yaw, 0.5, 2.3, 4.0)
        canvas.drawOval(ear, fill(mix(palette.skin, palette.shade, 0.35)))
    angle = math.radians(nuisance.light_angle)
    lit = (8 * math.cos(angle), -4 + 5 * math.sin(angle))
    face = shape.face()
    canvas.drawPath(face, radial(lit, 38, lighter(palette.skin, 0.08), palette.shade))
    if traits.heavy_makeup:
        for side in (-1, 1):
            x = side * 9.2 + shape.yaw
            canvas.drawOval(ellipse(x, 6.4, 4.4, 3.4), radial((x, 6.4), 4.6, BLUSH, BLUSH, opacities=(0.62, 0.0)))
    if traits.male:
        canvas.save()
        canvas.clipPath(face, True)
        opacity = 0.08 + 0.2 * nuisance.stubble
        canvas.drawOval(ellipse(0, 19, 13, 10), fill(mix(palette.brow, (70, 66, 64), 0.5), opacity))
        canvas.restore()
