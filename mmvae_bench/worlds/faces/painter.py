"""Paints pictures of people, one after the other, each with the mask of the person.

Shapes: n face, S side of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from . import accessories, features, hair, hairline, head, scene
from .person import Nuisance, traits
from .sitter import Sitter

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
        ImportError: where skia, or a library that it needs, is missing.
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
            nuisance: Of each face.

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
        canvas = self._picture.getCanvas()
        canvas.save()
        canvas.scale(scale, scale)
        scene.draw_background(canvas, nuisance)
        canvas.restore()
        canvas.drawImage(self._person.makeImageSnapshot(), 0, 0)
        canvas.save()
        canvas.scale(scale, scale)
        scene.draw_light(canvas, nuisance)
        canvas.restore()


def draw_person(canvas: skia.Canvas, sitter: Sitter) -> None:
    """Everything that belongs to a person, from back to front, around the origin."""
    head.draw_shoulders(canvas, sitter)
    hair.draw_hair_behind(canvas, sitter)
    head.draw_neck(canvas, sitter)
    head.draw_face(canvas, sitter)
    features.draw_eyes(canvas, sitter)
    features.draw_eyebrows(canvas, sitter)
    features.draw_nose(canvas, sitter)
    features.draw_mouth(canvas, sitter)
    if sitter.traits.mustache:
        features.draw_mustache(canvas, sitter)
    if sitter.traits.bald:
        hairline.draw_bald_head(canvas, sitter)
    hair.draw_hair(canvas, sitter)
    if sitter.traits.bangs:
        hairline.draw_bangs(canvas, sitter)
    if sitter.traits.wearing_hat:
        accessories.draw_hat(canvas, sitter)
    if sitter.traits.eyeglasses:
        accessories.draw_eyeglasses(canvas, sitter)


def _surface(pixels: np.ndarray) -> skia.Surface:
    """A surface that draws straight into Byte[S, S, 4]."""
    import skia

    info = skia.ImageInfo.Make(
        pixels.shape[1], pixels.shape[0], skia.ColorType.kRGBA_8888_ColorType, skia.AlphaType.kPremul_AlphaType
    )
    return skia.Surface.MakeRasterDirect(info, pixels)
