"""House numbers: a digit that fills the frame, in paint on a wall, with the edges of its neighbours.

A stand-in for SVHN. Digits are those of the typefaces that matplotlib brings along, as outlines, turned, slanted and
stretched; what is around them is what makes SVHN hard: neighbours cut off by the frame, uneven light, little contrast,
blur, noise and the blocks of a JPEG. Each image is a function of its number and the seed.

Shapes: n image, F typeface, G side of a glyph, S side of the canvas, R side of the raster (``PER_PIXEL`` S).
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.fft import dctn, idctn
from scipy.ndimage import gaussian_filter

from ..base import randomness
from ..base.seeds import derive_seed
from .recipe import ImageRecipe, Images

GENERATOR_VERSION = 1
"""Increased when the pictures change: it is part of the fingerprint."""

TYPEFACES = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-BoldOblique", "DejaVuSansMono-Bold", "DejaVuSerif",
    "DejaVuSerif-BoldItalic", "STIXGeneral", "STIXGeneralBol", "STIXGeneralBolIta", "cmr10", "cmb10", "cmss10",
    "cmtt10",
)  # fmt: skip
GLYPH = 96
"""G. A glyph is as high as its square, and centred."""
PER_PIXEL = 2
"""Samples along each side of a pixel."""
BLOCK = 8
"""Side of the blocks of a JPEG, by which a canvas must be divisible."""
CONTRAST = 0.22
"""The least difference in luminance between a digit and its wall."""
LUMINANCE = np.array([0.299, 0.587, 0.114])
NEIGHBOUR = 0.55
"""How probable a digit is on either side, where the frame cuts it."""
_NUM_DRAWS = 34


@lru_cache(maxsize=1)
def glyphs() -> np.ndarray:
    """The digits of every typeface: Bool[F, 10, G, G]."""
    import matplotlib
    from matplotlib.font_manager import FontProperties
    from matplotlib.path import Path as Outline
    from matplotlib.textpath import TextPath

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    centres = (np.arange(GLYPH) + 0.5) / GLYPH - 0.5
    points = np.stack(np.meshgrid(centres, -centres), -1).reshape(-1, 2)
    made = np.zeros((len(TYPEFACES), 10, GLYPH * GLYPH), bool)
    for face, name in enumerate(TYPEFACES):
        properties = FontProperties(fname=str(folder / f"{name}.ttf"))
        for digit in range(10):
            outline = TextPath((0, 0), str(digit), size=100, prop=properties)
            low, high = outline.get_extents().get_points()
            for polygon in outline.to_polygons():
                unit = (polygon - (low + high) / 2) / (high[1] - low[1])
                # Of nested outlines the inner one is a hole.
                made[face, digit] ^= Outline(unit, closed=True).contains_points(points)
    table = made.reshape(len(TYPEFACES), 10, GLYPH, GLYPH)
    # Where two outlines touch, a single point may count as outside.
    table[..., 1:-1, 1:-1] |= (
        table[..., :-2, 1:-1] & table[..., 2:, 1:-1] & table[..., 1:-1, :-2] & table[..., 1:-1, 2:]
    )
    return table


@lru_cache(maxsize=1)
def widths() -> np.ndarray:
    """How wide each glyph is, in units of its height: Double[F, 10]."""
    wide: np.ndarray = glyphs().any(2).sum(2) / GLYPH
    return wide


@lru_cache(maxsize=1)
def glyphs_md5() -> str:
    """md5 of the glyphs: another version of matplotlib may have other typefaces."""
    return hashlib.md5(np.packbits(glyphs()).tobytes(), usedforsecurity=False).hexdigest()


class HouseNumbers(ImageRecipe):
    """House numbers 0 to ``num_images``.

    Args:
        num_images: How many; a smaller set is the beginning of a larger one.
        canvas: S, divisible by :data:`BLOCK`.
        seed: Seed of everything.
    """

    num_attributes = 1
    num_masks = 1

    def __init__(self, *, num_images: int, canvas: int, seed: int) -> None:
        self.num_images, self.canvas, self.seed = num_images, canvas, seed
        self.image_shape = (3, canvas, canvas)

    def describe(self) -> dict[str, Any]:
        """See :meth:`ImageRecipe.describe`."""
        return {
            "images": "house numbers",
            "generator": GENERATOR_VERSION,
            "num_images": self.num_images,
            "canvas": self.canvas,
            "seed": self.seed,
            "glyphs_md5": glyphs_md5(),
        }

    def make(self, start: int, stop: int) -> Images:
        """See :meth:`ImageRecipe.make`; with the typeface of each."""
        key = randomness.keys(derive_seed("house numbers", seed=self.seed), torch.arange(start, stop))
        draws = randomness.uniform(key, _NUM_DRAWS).numpy()
        noise_key = randomness.keys(derive_seed("house numbers noise", seed=self.seed), torch.arange(start, stop))
        made = [self._one(u, each) for u, each in zip(draws, noise_key[:, None], strict=True)]
        pixels, masks, digits, faces = zip(*made, strict=True)
        concepts = np.array(digits)[:, None]
        return Images(
            np.stack(pixels), concepts, np.stack(masks)[:, None], columns={"typeface": np.array(faces, np.int16)}
        )

    def _one(self, u: np.ndarray, noise_key: torch.Tensor) -> tuple[np.ndarray, np.ndarray, int, int]:
        """Pixels Byte[S, S, 3], mask Bool[S, S], digit and typeface."""
        digit, face = int(u[0] * 10), int(u[1] * len(TYPEFACES))
        x, y = self._in_glyph(u)
        own = _covered(glyphs()[face, digit], x, y)
        ink = own.copy()
        for way, there, which in ((-1, u[2], u[3]), (1, u[4], u[5])):
            if there < NEIGHBOUR:
                other = int(which * 10)
                away = (widths()[face, digit] + widths()[face, other]) / 2 + 0.06 + 0.1 * u[6]
                ink |= _covered(glyphs()[face, other], x - way * away, y)
        wall, paint = _colours(u[7:20])
        side = len(x)
        share = ink[..., None]
        if u[20] < 0.25:  # A shadow of the digits on the wall, below and beside them.
            shadow = np.roll(ink, (side // 20, side // 20), (0, 1))[..., None] & ~share
            wall = np.where(shadow, 0.6 * wall, wall)
        image = np.where(share, paint, wall)
        across, down = np.meshgrid(np.linspace(-0.5, 0.5, side), np.linspace(-0.5, 0.5, side))
        light = 1 + (u[21] - 0.5) * 0.7 * across + (u[22] - 0.5) * 0.7 * down
        image = image * light[..., None]
        blur = PER_PIXEL * (0.2 + 0.9 * u[23] ** 2) * self.canvas / 32
        image = gaussian_filter(image, (blur, blur, 0), mode="nearest", truncate=3.0)
        image = _smaller(image)
        image = image + (0.004 + 0.02 * u[24] ** 2) * _gaussian(noise_key, image.size).reshape(image.shape)
        image = blocky(np.clip(image, 0, 1), step=0.02 + 0.08 * u[25] ** 2)
        pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
        return pixels, _smaller(own[..., None])[..., 0] > 0.5, digit, face

    def _in_glyph(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where each sample of the raster is in the digit's own square, -0.5..0.5, x right and y down."""
        high, wide = 0.68 + 0.3 * u[28], 0.75 + 0.4 * u[29]
        turn, slant = np.radians(16 * (u[30] - 0.5)), 0.5 * (u[31] - 0.5)
        middle = 0.14 * (u[32] - 0.5), 0.1 * (u[33] - 0.5)
        side = self.canvas * PER_PIXEL
        line = (np.arange(side) + 0.5) / side - 0.5
        across, down = np.meshgrid(line - middle[0], line - middle[1])
        x, y = (
            (np.cos(turn) * across + np.sin(turn) * down) / high,
            (np.cos(turn) * down - np.sin(turn) * across) / high,
        )
        return (x + slant * y) / wide, y


def blocky(image: np.ndarray, *, step: float) -> np.ndarray:
    """What a JPEG leaves of an image: each cosine of each block of eight pixels rounded to a multiple of a step, which
    grows with its frequency: Double[S, S, C] to the same.

    Args:
        image: In [0, 1].
        step: That of the lowest frequencies.
    """
    side, _, channels = image.shape
    shape = (side // BLOCK, BLOCK, side // BLOCK, BLOCK, channels)
    cosines = dctn(image.reshape(shape), axes=(1, 3), norm="ortho")
    frequency = np.add.outer(np.arange(BLOCK), np.arange(BLOCK))
    steps = (step * (1 + frequency))[None, :, None, :, None]
    whole: np.ndarray = idctn(np.rint(cosines / steps) * steps, axes=(1, 3), norm="ortho").reshape(image.shape)
    return whole


def _colours(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The colours of wall and paint, at least :data:`CONTRAST` apart in luminance."""
    wall = 0.1 + 0.8 * (0.55 * u[0] + 0.45 * u[1:4])
    paint = 0.05 + 0.9 * (0.55 * u[4] + 0.45 * u[5:8])
    gap = float(LUMINANCE @ (paint - wall))
    if abs(gap) < CONTRAST:
        # Away from the wall, to where there is room.
        lighter = float(LUMINANCE @ wall) < 0.5
        wanted = CONTRAST * (1 + u[8]) if lighter else -CONTRAST * (1 + u[8])
        paint = np.clip(paint + wanted - gap, 0, 1)
    return wall, paint


def _covered(glyph: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    column, row = (np.floor((each + 0.5) * GLYPH).astype(int) for each in (x, y))
    there = (row >= 0) & (row < GLYPH) & (column >= 0) & (column < GLYPH)
    covered: np.ndarray = glyph[row.clip(0, GLYPH - 1), column.clip(0, GLYPH - 1)] & there
    return covered


def _smaller(raster: np.ndarray) -> np.ndarray:
    side = len(raster) // PER_PIXEL
    mean: np.ndarray = raster.reshape(side, PER_PIXEL, side, PER_PIXEL, -1).mean((1, 3))
    return mean


def _gaussian(key: torch.Tensor, num: int) -> np.ndarray:
    u = randomness.uniform(key, 2 * num)[0].numpy()
    noise: np.ndarray = np.sqrt(-2 * np.log(u[:num])) * np.cos(2 * np.pi * u[num:])
    return noise
