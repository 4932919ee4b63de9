"""Paints pictures of people, one after the other, each with the mask of the person.

Shapes: n face, S side of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from . import face, hair
from .canvas import Colour, ellipse, linear, mix, radial
from .person import Nuisance, Sitter, traits

if TYPE_CHECKING:
    import skia

CANVAS = 64.0
"""The canvas that lengths refer to."""
PLACE = (32.0, 36.0)
"""The middle of a head on the canvas."""


class Painter:
    """Two surfaces: the person alone, whose opacity is the mask, and the picture.

    Args:
        size: S, height and width of the pictures in pixels.

    Raises:
        ImportError: if skia, or a library that it needs, is missing.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._person_pixels = np.zeros((size, size, 4), np.uint8)
        self._picture_pixels = np.zeros((size, size, 4), np.uint8)
        self._person = _surface(self._person_pixels)
        self._picture = _surface(self._picture_pixels)

    def paint(self, rows: np.ndarray, nuisance: Sequence[Nuisance]) -> tuple[np.ndarray, np.ndarray]:
        """The pictures of some people, and where each person is.

        Args:
            rows: Byte[n, 18], attributes in the schema's order.
            nuisance: Nuisance factors of each face.

        Returns:
            Byte[n, S, S, 3] and Bool[n, S, S].
        """
        pictures = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        masks = np.empty((len(rows), self.size, self.size), bool)
        for number, (row, factors) in enumerate(zip(rows.tolist(), nuisance, strict=True)):
            self._paint_one(Sitter.of(traits(row), factors))
            pictures[number] = self._picture_pixels[..., :3]
            masks[number] = self._person_pixels[..., 3] >= 128
        return pictures, masks

    def backgrounds(self, nuisance: Sequence[Nuisance]) -> np.ndarray:
        """The same pictures without the people: background and light, Byte[n, S, S, 3]."""
        pictures = np.empty((len(nuisance), self.size, self.size, 3), np.uint8)
        for number, factors in enumerate(nuisance):
            self._paint_picture(factors, person=None)
            pictures[number] = self._picture_pixels[..., :3]
        return pictures

    def _paint_one(self, sitter: Sitter) -> None:
        nuisance, scale = sitter.nuisance, self.size / CANVAS
        canvas = self._person.getCanvas()
        canvas.clear(0)
        canvas.save()
        canvas.scale(scale, scale)
        canvas.translate(PLACE[0] + nuisance.place_x, PLACE[1] + nuisance.place_y)
        canvas.rotate(nuisance.roll)
        canvas.scale(nuisance.scale, nuisance.scale)
        draw_person(canvas, sitter)
        canvas.restore()
        self._paint_picture(nuisance, person=self._person.makeImageSnapshot())

    def _paint_picture(self, nuisance: Nuisance, *, person: skia.Image | None) -> None:
        canvas, scale = self._picture.getCanvas(), self.size / CANVAS
        canvas.save()
        canvas.scale(scale, scale)
        draw_background(canvas, nuisance)
        canvas.restore()
        if person is not None:
            canvas.drawImage(person, 0, 0)
        canvas.save()
        canvas.scale(scale, scale)
        draw_light(canvas, nuisance)
        canvas.restore()


def draw_person(canvas: skia.Canvas, sitter: Sitter) -> None:
    """Everything that belongs to a person, from back to front, around the origin."""
    face.draw_shoulders(canvas, sitter)
    hair.draw_hair_behind(canvas, sitter)
    face.draw_neck(canvas, sitter)
    face.draw_face(canvas, sitter)
    face.draw_eyes(canvas, sitter)
    face.draw_eyebrows(canvas, sitter)
    face.draw_nose(canvas, sitter)
    face.draw_mouth(canvas, sitter)
    if sitter.traits.mustache:
        face.draw_mustache(canvas, sitter)
    if sitter.traits.bald:
        hair.draw_bald_head(canvas, sitter)
    hair.draw_hair(canvas, sitter)
    if sitter.traits.bangs:
        hair.draw_bangs(canvas, sitter)
    if sitter.traits.wearing_hat:
        face.draw_hat(canvas, sitter)
    if sitter.traits.eyeglasses:
        face.draw_eyeglasses(canvas, sitter)


def _surface(pixels: np.ndarray) -> skia.Surface:
    """A surface that draws straight into Byte[S, S, 4]."""
    import skia

    info = skia.ImageInfo.Make(
        pixels.shape[1], pixels.shape[0], skia.ColorType.kRGBA_8888_ColorType, skia.AlphaType.kPremul_AlphaType
    )
    return skia.Surface.MakeRasterDirect(info, pixels)


CENTRE = 32.0


def draw_background(canvas: skia.Canvas, nuisance: Nuisance) -> None:
    """Two colours that run into each other, and a blurred spot."""
    base = _colour(nuisance.background_red, nuisance.background_green, nuisance.background_blue)
    other = mix(
        base,
        (255, 255, 255) if nuisance.background_contrast > 0 else (0, 0, 0),
        abs(nuisance.background_contrast) * 0.6,
    )
    canvas.drawPaint(_across(nuisance.background_angle, (base, other), (1.0, 1.0)))
    spot = mix(other, _colour(nuisance.blur_lightness, nuisance.background_red, nuisance.background_green), 0.6)
    x, y, size = nuisance.blur_x, nuisance.blur_y, nuisance.blur_size
    canvas.drawOval(ellipse(x, y, size, size), radial((x, y), size, spot, spot, opacities=(0.7, 0.0)))


def draw_light(canvas: skia.Canvas, nuisance: Nuisance) -> None:
    """Warm light from one side, shadow on the other, over the whole picture."""
    strength = nuisance.light_strength
    colours = ((255.0, 246.0, 228.0), (0.0, 0.0, 20.0))
    canvas.drawPaint(_across(nuisance.light_angle, colours, (0.16 * strength, 0.26 * strength)))


def _across(degrees: float, colours: tuple[Colour, Colour], opacities: tuple[float, float]) -> skia.Paint:
    """Paint from one edge of the canvas to the other, in a direction."""
    x, y = CENTRE * math.cos(math.radians(degrees)), CENTRE * math.sin(math.radians(degrees))
    return linear((CENTRE + x, CENTRE + y), (CENTRE - x, CENTRE - y), colours, opacities)


def _colour(red: float, green: float, blue: float) -> Colour:
    """A muted colour from three numbers between 0 and 1, neither black nor white."""
    grey = (red + green + blue) / 3
    parts = (0.45 * grey + 0.55 * part for part in (red, green, blue))
    red, green, blue = (25 + 205 * part for part in parts)
    return (red, green, blue)
