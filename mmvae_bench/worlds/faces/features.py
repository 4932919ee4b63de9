"""Eyes, eyebrows, nose, mouth and moustache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .canvas import WHITE, Colour, curve, darker, ellipse, fill, mix, outline, stroke
from .sitter import Sitter

if TYPE_CHECKING:
    import skia

IRISES: tuple[Colour, ...] = ((78, 48, 28), (58, 92, 134), (74, 112, 80), (40, 28, 20))
EYESHADOWS: tuple[Colour, ...] = ((112, 62, 134), (66, 70, 112), (40, 104, 112))
LASH: Colour = (18, 12, 12)
TEETH: Colour = (248, 244, 238)
THROAT: Colour = (66, 14, 20)
BRISTLE: Colour = (36, 20, 12)
"""Towards this thick eyebrows and moustaches are darkened, or light ones would be lost on light skin."""


def draw_eyes(canvas: skia.Canvas, sitter: Sitter) -> None:
    """Under make-up with coloured lids and heavy lashes."""
    shape, nuisance = sitter.geometry, sitter.nuisance
    made_up, y, height = sitter.traits.heavy_makeup, sitter.geometry.eye_y, sitter.geometry.eye_height
    iris = IRISES[int(4 * nuisance.iris)]
    shadow = EYESHADOWS[int(3 * nuisance.makeup_hue)]
    lash = LASH if made_up else mix(sitter.palette.skin, (36, 20, 16), 0.75)
    for side in (-1, 1):
        x = side * shape.eye_x + shape.yaw
        if made_up:
            canvas.drawOval(ellipse(x, y - 1.2, 4.2, 2.9), fill(shadow, 0.72))
        canvas.drawOval(ellipse(x, y, 3.3, height), fill((246, 244, 240)))
        looks = x + 0.8 * nuisance.gaze
        canvas.drawOval(ellipse(looks, y, 1.45, min(1.45, height)), fill(iris))
        canvas.drawOval(ellipse(looks, y, 0.7, 0.7), fill((10, 10, 12)))
        canvas.drawOval(ellipse(looks + 0.5, y - 0.5, 0.35, 0.35), fill(WHITE))
        lid = curve((x - 3.4, y + 0.2), (x, y - 2 * height, x + 3.4, y + 0.2))
        canvas.drawPath(lid, stroke(lash, 1.3 if made_up else 0.6))


def draw_eyebrows(canvas: skia.Canvas, sitter: Sitter) -> None:
    """Bushy ones are thick and lie low; others are a thin line."""
    shape, bushy = sitter.geometry, sitter.traits.bushy_eyebrows
    width = 2.4 if bushy else 0.8
    arch = 0.8 + 0.8 * sitter.nuisance.brow_shape
    colour = mix(sitter.palette.brow, BRISTLE, 0.55) if bushy else sitter.palette.brow
    y = shape.brow_y - (0.1 if bushy else 0.0)
    for side in (-1, 1):
        x = side * shape.eye_x + shape.yaw
        brow = curve((x - side * 3.3, y + 0.8), (x + side * 0.4, y - arch, x + side * 4.1, y + 0.9))
        canvas.drawPath(brow, stroke(colour, width, 0.95))


def draw_nose(canvas: skia.Canvas, sitter: Sitter) -> None:
    """One line along the bridge and under the tip, on the side to which the head turns."""
    shape = sitter.geometry
    yaw, tip = 1.5 * shape.yaw, shape.nose_y
    side = 1 if yaw >= 0 else -1
    bridge = curve(
        (yaw * 0.85 - side * 0.4, shape.eye_y + 1.5),
        (yaw + side * 1.6, tip - 2, yaw + side * 2.1, tip),
        (yaw, tip + 1.3, yaw - side * 2.1, tip + 0.2),
    )
    canvas.drawPath(bridge, stroke(sitter.palette.shade, 0.9, 0.9))


def draw_mouth(canvas: skia.Canvas, sitter: Sitter) -> None:
    """Smiling turns the corners up and folds the cheeks; open shows teeth and throat between the lips."""
    palette, shape, nuisance, traits = sitter.palette, sitter.geometry, sitter.nuisance, sitter.traits
    x, y, width = 1.1 * shape.yaw, shape.mouth_y, shape.mouth_width
    bend = 3.0 + nuisance.mouth_curve if traits.smiling else -0.8 + 0.8 * nuisance.mouth_curve
    corner = y - (2.0 if traits.smiling else 0.0)
    left, right = (x - width, corner), (x + width, corner)
    if traits.mouth_open:
        gap = 3.2 + 1.0 * nuisance.mouth_gap
        opening = outline(left, [(x, y + 0.45 * bend - 0.6, *right), (x, y + bend + 1.5 * gap, *left)])
        canvas.drawPath(opening, fill(THROAT))
        inner = 0.82 * width
        teeth = outline(
            (x - inner, corner + 0.4),
            [
                (x, y + 0.45 * bend - 0.3, x + inner, corner + 0.4),
                (x, y + 0.6 * bend + 2.0, x - inner, corner + 0.4),
            ],
        )
        canvas.drawPath(teeth, fill(TEETH))
        canvas.drawPath(opening, stroke(palette.lip, 1.3))
    else:
        upper = [(x - 1.5, y - 1.5 + 0.2 * bend, x, y - 0.9 + 0.45 * bend), (x + 1.5, y - 1.5 + 0.2 * bend, *right)]
        canvas.drawPath(outline(left, [*upper, (x, y + bend + 2.6, *left)]), fill(palette.lip))
        canvas.drawPath(curve(left, (x, y + bend, *right)), stroke(mix(palette.lip, (40, 0, 0), 0.7), 1.0))
    if traits.smiling:
        for side in (-1, 1):
            edge = x + side * (width + 0.2)
            fold = curve(
                (edge + side * 0.6, corner - 1.8), (edge + side * 1.9, corner, edge + side * 0.9, corner + 1.6)
            )
            canvas.drawPath(fold, stroke(darker(palette.shade, 0.35), 0.9, 0.9))


def draw_mustache(canvas: skia.Canvas, sitter: Sitter) -> None:
    """Between nose and mouth, in the colour of bushy eyebrows."""
    shape = sitter.geometry
    x, top = 1.1 * shape.yaw, shape.nose_y + 1.5
    low, wide = shape.mouth_y - 0.7, 5.6 + 1.6 * sitter.nuisance.mustache_width
    bristles = outline(
        (x, top),
        [
            (x - 0.7 * wide, top - 0.5, x - wide, low + 0.8),
            (x - 0.4 * wide, low + 0.2, x, low),
            (x + 0.4 * wide, low + 0.2, x + wide, low + 0.8),
            (x + 0.7 * wide, top - 0.5, x, top),
        ],
    )
    colour = mix(sitter.palette.brow, BRISTLE, 0.55)
    canvas.drawPath(bristles, fill(colour))
    canvas.drawPath(bristles, stroke(darker(colour, 0.5), 0.6))
