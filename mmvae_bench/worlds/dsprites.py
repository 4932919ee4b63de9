"""The factor grid of dSprites (Matthey et al. 2017): every image of it, drawn from 720 sprites.

A sprite is a shape in one of 6 scales and 40 orientations; an image shows it at one of 32 x 32 places, which are whole
pixels apart. So the grid is made of 720 bitmaps, each shifted. Shapes, directions and sizes in pixels are this
project's; factors, their values and their order are those of dSprites.

With u and v in units of 16 pixels times the scale, turned with the sprite, v pointing down, a sprite is where

    square   max(|u|, |v|) < 0.66
    ellipse  (u / 0.94)^2 + (v / 0.47)^2 < 1
    heart    (a^2 + b^2 - 0.6)^3 < 1.6 a^2 b^3,   a = 1.2 u,  b = 0.15 - 1.2 v

and a pixel is white where at least half of its 4 x 4 samples are in the sprite. The orientations are k times 360 / 39
degrees, k from 0 to 39, clockwise on the screen. The last is the first: 702 of the 720 sprites differ as sets of
points, as 39 shares no factor with the 2 and 4 quarter turns that leave an ellipse and a square as they are. As
bitmaps a few more are equal, where a turn of 2.3 degrees moves no sample over an edge.

Shapes: B image, W side of a bitmap, S side of an image in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from .mnist_a import snap

GENERATOR_VERSION = 1
"""Increased when the pictures change: it is part of the fingerprint."""

SIZES = (3, 6, 40, 32, 32)
"""Values of shape, scale, orientation, x and y; the last changes fastest from one image to the next."""
SIDE = 64
NUM_PLACES = 32
MARGIN = (SIDE - NUM_PLACES) // 2
"""A sprite reaches this far from its pixel, and its place is at least as far from the edges: none is cut."""
WINDOW = 2 * MARGIN + 1
SCALES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
PER_PIXEL = 4


def factors(number: Tensor, sizes: Sequence[int] = SIZES) -> Tensor:
    """The place of each image in the grid: Long[B] to Long[B, 5]."""
    columns = []
    for size in reversed(sizes):
        columns.append(number % size)
        number = number // size
    return torch.stack(columns[::-1], -1)


def draw_sprite(shape: int, scale: float, angle: Tensor) -> Tensor:
    """A shape in some orientations: Bool[B, W, W], the middle of the sprite in the middle of the middle pixel.

    Args:
        shape: 0 square, 1 ellipse, 2 heart.
        scale: From 0.5 to 1.
        angle: Double[B], radians clockwise.
    """
    points = (torch.arange(WINDOW * PER_PIXEL, dtype=torch.float64) + 0.5) / PER_PIXEL - WINDOW / 2
    x, y = points[None, None, :], points[None, :, None]
    cos, sin = (snap(part / (MARGIN * scale), 20)[:, None, None] for part in (angle.cos(), angle.sin()))
    u, v = cos * x + sin * y, cos * y - sin * x
    if shape == 0:
        inside = torch.maximum(u.abs(), v.abs()) < 0.66
    elif shape == 1:
        inside = (u / 0.94).square() + (v / 0.47).square() < 1
    else:
        a, b = (1.2 * u).square(), 0.15 - 1.2 * v
        s = a + b * b - 0.6
        inside = s * s * s < 1.6 * a * (b * b * b)
    counts: Tensor = inside.unflatten(2, (WINDOW, PER_PIXEL)).sum(3).unflatten(1, (WINDOW, PER_PIXEL)).sum(2)
    return counts >= PER_PIXEL**2 // 2


@cache
def sprites() -> Tensor:
    """Every sprite, in the order of the grid: Bool[720, W, W]. Drawn once."""
    shapes, _, turns, *_ = SIZES
    angle = torch.arange(turns, dtype=torch.float64) * (2 * math.pi / (turns - 1))
    return torch.cat([draw_sprite(shape, scale, angle) for shape in range(shapes) for scale in SCALES])


@cache
def same_sprite() -> Tensor:
    """The number of the first sprite with the same bitmap, of each: Long[720]."""
    rows = sprites().flatten(1)
    group = rows.unique(dim=0, return_inverse=True)[1]
    first = torch.full((len(rows),), len(rows)).scatter_reduce(0, group, torch.arange(len(rows)), "amin")
    return first[group]


class Shifts:
    """Draws images of the grid on one device.

    Args:
        device: The device.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        # Every 64x64 part of a sprite in a wide black frame is one of its places: a view, not a copy.
        frame = NUM_PLACES - 1
        framed = torch.nn.functional.pad(sprites().to(device).byte(), (frame, frame, frame, frame))
        self._places = framed.unfold(1, SIDE, 1).unfold(2, SIDE, 1)

    def draw(self, number: Tensor) -> Tensor:
        """Long[B], on the device, to Byte[B, S, S] of 0 and 1."""
        *_, x, y = factors(number).unbind(-1)
        sprite, last = number // NUM_PLACES**2, NUM_PLACES - 1
        return self._places[sprite, last - y, last - x]
