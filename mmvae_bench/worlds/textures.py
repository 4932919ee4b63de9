"""Textures for a background: differences from its shade, drawn by formulas or cut from the user's pictures.

An image's texture is a function of (seed, number), like the rest of it. Its differences are within about ``CONTRAST``
(:func:`_centred` may move them by a few of 256 shades) and their mean is zero to the nearest shade, so that a light
background is as light as a plain one. Where a dark one would fall below black it is clipped: its mean rises, by up to
0.051 of [0, 1]. Rounding as in :mod:`~mmvae_bench.worlds.sprites`.

Shapes: B image, S side of the canvas in pixels, T texture.
"""

from __future__ import annotations

import math
from typing import Protocol, Self

import torch
from torch import Tensor

from ..base import randomness
from ..base.seeds import derive_seed
from .mnist_a import snap

GENERATOR_VERSION = 1
"""Increased when the pictures change: it is part of the fingerprint."""

CONTRAST = 0.1
"""Of pixels in [0, 1]: as much as a shade itself varies."""
CYCLES = (2.0, 6.0)
"""The fewest and the most periods of a wave across the canvas."""
GRAINS = 16
"""Grains along each side of the canvas."""
ZOOM = 2
"""A picture is kept at this many times the canvas; a texture is a part of it at its own scale, or all of it shrunk."""


class Textures(Protocol):
    """Draws textures on one device."""

    def draw(self, number: Tensor) -> Tensor:
        """The texture of each image, Long[B] on the device to Short[B, S, S]: differences from a shade of 256."""

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""


class Procedural:
    """Stripes, checks, waves or grain, one for each image, in any direction.

    With a wave w = cos(2 pi f.p + phase) and another, w', at right angles to it: the sign of w, the sign of w w',
    (w + w') / 2, or uniform noise in square grains.

    Args:
        seed: Seed of the textures.
        canvas: S.
    """

    def __init__(self, *, seed: int, canvas: int) -> None:
        self.seed, self.canvas = seed, canvas

    def to(self, device: torch.device | str) -> Procedural:
        """Itself: it draws where the numbers are."""
        return self

    def draw(self, number: Tensor) -> Tensor:
        """See :class:`Textures`."""
        key = randomness.keys(derive_seed("texture", seed=self.seed), number)
        u = randomness.uniform(key, 5)
        kind = (4 * u[:, 0]).long()
        shown = torch.empty(len(number), self.canvas, self.canvas, device=number.device)
        for k in range(4):
            rows = (kind == k).nonzero()[:, 0]
            shown[rows] = self._grain(key[rows]) if k == 3 else self._pattern(k, u[rows])
        return _centred((shown * (255 * CONTRAST)).round().to(torch.int16))

    def _pattern(self, kind: int, u: Tensor) -> Tensor:
        """Stripes, checks or waves: Double[B, 5] in (0, 1) to Float[B, S, S] in [-1, 1]."""
        cycles, angle = CYCLES[0] + (CYCLES[1] - CYCLES[0]) * u[:, 1], math.pi * u[:, 2]
        across, down, phases = cycles * angle.cos(), cycles * angle.sin(), u[:, 3:5]
        first = self._wave(across, down, phases[:, 0])
        if kind == 0:
            return _sign(first)
        second = self._wave(-down, across, phases[:, 1])
        return _sign(first * second) if kind == 1 else (first + second) / 2

    def _wave(self, across: Tensor, down: Tensor, phase: Tensor) -> Tensor:
        """cos(2 pi (across x + down y + phase)), by the sum formula: Double[B] each to Float[B, S, S]."""
        points = (torch.arange(self.canvas, dtype=torch.float64, device=phase.device) + 0.5) / self.canvas
        x = 2 * math.pi * (across[:, None] * points + phase[:, None])
        y = 2 * math.pi * down[:, None] * points
        x_cos, x_sin, y_cos, y_sin = (snap(part, 20).float() for part in (x.cos(), x.sin(), y.cos(), y.sin()))
        return x_cos[:, None, :] * y_cos[:, :, None] - x_sin[:, None, :] * y_sin[:, :, None]

    def _grain(self, key: Tensor) -> Tensor:
        """Long[B] to Float[B, S, S] in [-1, 1]."""
        place = torch.arange(self.canvas, device=key.device) * GRAINS // self.canvas
        values = randomness.uniform16(randomness.keys(1, key), GRAINS**2).view(-1, GRAINS, GRAINS)
        return values[:, place[:, None], place].float() / 2**15


class Swatches:
    """Parts of the user's pictures, in grey.

    Args:
        pictures: Byte[T, 2 S, 2 S], on the device.
        seed: Seed of the choice.
    """

    def __init__(self, pictures: Tensor, *, seed: int) -> None:
        self.pictures, self.seed, self.canvas = pictures, seed, pictures.shape[-1] // ZOOM

    def to(self, device: torch.device | str) -> Swatches:
        """The same pictures on another device."""
        return Swatches(self.pictures.to(device), seed=self.seed)

    def draw(self, number: Tensor) -> Tensor:
        """See :class:`Textures`. The largest difference is CONTRAST, however strong that of the picture is."""
        u = randomness.uniform(randomness.keys(derive_seed("swatch", seed=self.seed), number), 4)
        sizes = torch.tensor([len(self.pictures), self.canvas + 1, self.canvas + 1], device=number.device)
        picture, top, left = (u[:, :3] * sizes).long().unbind(1)
        whole = self.pictures[picture].to(torch.int16)
        shrunk = whole.unflatten(1, (-1, ZOOM)).sum(2).unflatten(2, (-1, ZOOM)).sum(3)
        size = torch.arange(self.canvas, device=number.device)
        rows, columns = (top[:, None] + size)[:, :, None], (left[:, None] + size)[:, None, :]
        part = ZOOM**2 * whole[torch.arange(len(number), device=number.device)[:, None, None], rows, columns]
        grey = torch.where((u[:, 3] < 0.5)[:, None, None], shrunk, part).double()
        grey -= grey.mean((1, 2), keepdim=True)
        largest = grey.abs().amax((1, 2), keepdim=True).clamp(min=1)
        return _centred((grey * (255 * CONTRAST) / largest).round().to(torch.int16))


def _sign(wave: Tensor) -> Tensor:
    return torch.where(wave < 0, -1.0, 1.0)


def _centred(texture: Tensor) -> Tensor:
    """Short[B, S, S] less the mean of each, which is rounded."""
    mean = texture.sum((1, 2), dtype=torch.int64, keepdim=True).double() / texture.shape[1:].numel()
    return texture - mean.round().to(torch.int16)
