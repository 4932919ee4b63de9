"""Sprites that are images of dSprites (Matthey et al. 2017), of which CdSprites+ is made too (Sejnova et al. 2022).

Nothing is interpolated: at 64 pixels a sprite is an image of the grid as it is, at 32 each pixel is the mean of 2 x 2.
What an attribute leaves open is drawn as for other sprites (:mod:`.sprites`), then the image of the grid is taken that
is nearest: one of two scales for each size, one of seven orientations up to 28 degrees from the first, and the place
where the middle of a square is nearest. CdSprites+ takes any orientation, one scale for each size and more places, has
pink where white is here, and textures on shapes too.

Shapes: B image, N bitmap, K byte (S x S pixels, eight in each), S side of the canvas in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import embedding

from .dsprites import SIDE, SIZES
from .sprites import HALF_EXTENTS, PER_PIXEL, Geometry

GENERATOR_VERSION = 1
"""Increased when the same bitmaps give other pictures: it is part of the fingerprint."""

CANVASES = (SIDE // 2, SIDE)
SCALES = (0, 1, 4, 5)
"""Places of the scales in the grid: two for a small sprite, two for a big one."""
MOST_TURNS = 3
"""Orientations on each side of the first."""
PLACES = (*range(8), *range(12, 20), *range(24, 32))
"""Places of x in the grid, and of y: those near the middles of the quadrants and the middle of the canvas, and one or
two beyond, since where the middle of a sprite is at a place is the file's to say. The same from both ends, since y may
count from the top or from the bottom."""

_TURN = 2 * math.pi / (SIZES[2] - 1)
_CUTS = (HALF_EXTENTS[0], sum(HALF_EXTENTS) / 2, HALF_EXTENTS[1])
"""Half-extents between one scale and the next."""


def bitmap_numbers() -> Tensor:
    """Which images of the grid are needed, shape by shape, then scale, orientation, x and y: Long[N], ascending but for
    the orientations, of which those before the first are the last of the grid."""
    shapes, _, turns, *_ = SIZES
    # The last orientation of the grid is the first again.
    orientations = [turn % (turns - 1) for turn in range(-MOST_TURNS, MOST_TURNS + 1)]
    chosen = (range(shapes), SCALES, orientations, PLACES, PLACES)
    number = torch.zeros(1, dtype=torch.long)
    for size, values in zip(SIZES, chosen, strict=True):
        number = (number[:, None] * size + torch.tensor(list(values))).flatten()
    return number


class Bitmaps:
    """The images of dSprites that are used as sprites, on one device.

    Args:
        packed: Byte[N, K], those of :func:`bitmap_numbers` in its order, packed as numpy.packbits does.
        middles: Where the middle of a square is at each of ``PLACES``, in pixels from the left edge of the image and
            from the upper one: Double[2, 24].

    Raises:
        ValueError: if their shapes are others.
    """

    def __init__(self, packed: Tensor, middles: Tensor) -> None:
        num = SIZES[0] * len(SCALES) * (2 * MOST_TURNS + 1) * len(PLACES) ** 2
        if packed.shape != (num, SIDE**2 // 8) or middles.shape != (2, len(PLACES)):
            raise ValueError(f"expected {num} bitmaps of {SIDE} pixels and {len(PLACES)} places along x and y")
        self._packed, self._middles = packed, middles
        bits = torch.arange(256, device=packed.device)[:, None] >> torch.arange(7, -1, -1, device=packed.device)
        self._pixels_of_byte = (bits & 1).float()

    def to(self, device: torch.device | str) -> Bitmaps:
        """The same on another device."""
        return Bitmaps(self._packed.to(device), self._middles.to(device))

    def coverage(self, geometry: Geometry, *, canvas: int) -> Tensor:
        """How many quarters of each pixel are in the sprite: Byte[B, S, S], from 0 to 4.

        Raises:
            ValueError: if S is not one of ``CANVASES``.
        """
        if canvas not in CANVASES:
            raise ValueError(f"canvas {canvas}: expected one of {CANVASES}")
        pixels = embedding(self._packed[self._number(geometry)].int(), self._pixels_of_byte)
        image = rearrange(pixels.byte(), "b (h k) bit -> b h (k bit)", h=SIDE)
        if canvas == SIDE:
            return image * PER_PIXEL**2
        quarters = rearrange(image, "b (h i) (w j) -> (i j) b h w", i=PER_PIXEL, j=PER_PIXEL)
        return quarters.sum(0, dtype=torch.uint8)

    def _number(self, geometry: Geometry) -> Tensor:
        """Which bitmap is nearest to each sprite: Long[B]."""
        cuts = torch.tensor(_CUTS, dtype=geometry.half_extent.dtype, device=geometry.half_extent.device)
        turn = (geometry.angle / _TURN).round().long().clamp(-MOST_TURNS, MOST_TURNS) + MOST_TURNS
        away = geometry.centre[:, :, None] * SIDE - self._middles
        x, y = away.abs().argmin(2).unbind(1)
        parts: Sequence[tuple[int, Tensor]] = (
            (len(SCALES), torch.bucketize(geometry.half_extent, cuts, right=True)),
            (2 * MOST_TURNS + 1, turn),
            (len(PLACES), x),
            (len(PLACES), y),
        )
        number = geometry.shape
        for size, part in parts:
            number = number * size + part
        return number
