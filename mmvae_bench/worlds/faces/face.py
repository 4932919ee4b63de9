"""Shoulders, neck and face; eyes, eyebrows, nose, mouth and moustache; hats and eyeglasses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .canvas import WHITE, Colour, curve, darker, ellipse, fill, lighter, linear, mix, outline, radial, rounded, stroke
from .person import Nuisance, Sitter

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


IRISES: tuple[Colour, ...] = ((78, 48, 28), (58, 92, 134), (74, 112, 80), (40, 28, 20))
EYESHADOWS: tuple[Colour, ...] = ((112, 62, 134), (66, 70, 112), (40, 104, 112))
LASH: Colour = (18, 12, 12)
TEETH: Colour = (248, 244, 238)
THROAT: Colour = (66, 14, 20)
BRISTLE: Colour = (36, 20, 12)
"""Towards this thick eyebrows and moustaches are darkened, or light ones would be lost on light skin."""


def draw_eyes(canvas: skia.Canvas, sitter: Sitter) -> None:
    """Eyes; under make-up with coloured lids and heavy lashes."""
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
    """Eyebrows; bushy ones are thick and low, others are a thin line."""
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


def mouth_bend(smiling: bool, nuisance: Nuisance) -> float:
    """How far the middle of the mouth hangs below its corners."""
    return 3.0 + nuisance.mouth_curve if smiling else -0.8 + 0.8 * nuisance.mouth_curve


def mouth_gap(is_open: bool, nuisance: Nuisance) -> float:
    """How far the lips are apart."""
    return 3.2 + 1.0 * nuisance.mouth_gap if is_open else 0.0


def mustache_width(present: bool, nuisance: Nuisance) -> float:
    """Half the width of the moustache."""
    return 5.6 + 1.6 * nuisance.mustache_width if present else 0.0


def draw_mouth(canvas: skia.Canvas, sitter: Sitter) -> None:
    """Smiling turns the corners up and folds the cheeks; open shows teeth and throat between the lips."""
    palette, shape, nuisance, traits = sitter.palette, sitter.geometry, sitter.nuisance, sitter.traits
    x, y, width = 1.1 * shape.yaw, shape.mouth_y, shape.mouth_width
    bend = mouth_bend(traits.smiling, nuisance)
    corner = y - (2.0 if traits.smiling else 0.0)
    left, right = (x - width, corner), (x + width, corner)
    if traits.mouth_open:
        gap = mouth_gap(traits.mouth_open, nuisance)
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
    """A moustache between nose and mouth, in the colour of bushy eyebrows."""
    shape = sitter.geometry
    x, top = 1.1 * shape.yaw, shape.nose_y + 1.5
    low, wide = shape.mouth_y - 0.7, mustache_width(True, sitter.nuisance)
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
