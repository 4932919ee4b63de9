"""Sprites as batched tensor operations: one square, ellipse or heart in a colour, on a plain background.

The attributes are those of CdSprites+ (Sejnova et al. 2022), which grow from level to level. Every image is a function
of (seed, number, concept): nothing is stored, and the same number may be drawn with another concept. What depends on a
transcendental function is rounded to a fixed grid, products and sums are separate elementwise operations, and colours
are mixed as whole numbers; so an image does not depend on its batch, and should not depend on the device.

A sprite is the set of points (u, v), in units of its half-extent and turned with it, v pointing down, where

    square   max(|u|, |v|) < 0.85
    ellipse  (u / 1.25)^2 + (v / 0.62)^2 < 1
    heart    (a^2 + b^2 - 0.9)^3 < 1.6 a^2 b^3,   a = 1.15 u,  b = 0.1 - 1.15 v

Shapes: B image, L level, S side of the canvas in pixels, P sample on a line (2 S). Lengths are in units of the canvas;
x points right, y down; angles are clockwise on the screen.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from ..base import randomness
from ..base.seeds import derive_seed
from .mnist_a import snap

GENERATOR_VERSION = 1
"""Increased when the pictures change: it is part of the fingerprint."""

NUM_VALUES = (3, 2, 5, 4, 2)
"""Values of shape, size, colour, location and background."""
ABSENT = (0, 1, 4, 4, 0)
"""What a level without an attribute shows: a big white sprite in the middle of a dark background."""

HALF_EXTENTS = (0.15, 0.24)
COLOURS = ((0.9, 0.1, 0.1), (0.1, 0.8, 0.2), (0.15, 0.3, 0.95), (0.95, 0.85, 0.1), (0.95, 0.95, 0.95))
CENTRES = ((0.29, 0.29), (0.71, 0.29), (0.29, 0.71), (0.71, 0.71), (0.5, 0.5))
"""x and y of the four quadrants, and of the middle."""
BACKGROUNDS = (0.1, 0.65)
EXTENT_JITTER, ANGLE_JITTER, CENTRE_JITTER, BACKGROUND_JITTER, COLOUR_JITTER = 0.12, 0.5, 0.04, 0.1, 0.1
"""Half-widths of uniform distributions: of a factor of the half-extent, of an angle in radians, of a coordinate, of a
shade, and of a factor of each colour channel."""

_SCALES = ((1 / 0.85, 1 / 0.85), (1 / 1.25, 1 / 0.62), (1.15, -1.15))
_SHIFTS = (0.0, 0.0, 0.1)
"""From u and v to the coordinates in which a shape has its formula: a factor of each, and what is added to v."""
PER_PIXEL = 2
"""Samples along each side of a pixel: four in all, so that a mean is a shift."""
CHUNK = 64
"""Images drawn at a time: the fastest number measured."""


@dataclass(frozen=True)
class Geometry:
    """Where and how each sprite is drawn.

    Attributes:
        shape: Long[B].
        half_extent: Double[B].
        angle: Double[B], radians.
        centre: Double[B, 2], x and y.
        colour: Short[B, 3], 0 to 255.
        background: Short[B], 0 to 255.
    """

    shape: Tensor
    half_extent: Tensor
    angle: Tensor
    centre: Tensor
    colour: Tensor
    background: Tensor

    def __getitem__(self, part: slice | Tensor) -> Geometry:
        return Geometry(
            self.shape[part],
            self.half_extent[part],
            self.angle[part],
            self.centre[part],
            self.colour[part],
            self.background[part],
        )

    def __len__(self) -> int:
        return len(self.shape)


def draw_concepts(number: Tensor, *, level: int, seed: int) -> Tensor:
    """The concept of each image, uniform over all combinations: Long[B] to Long[B, L]."""
    u = randomness.uniform(randomness.keys(derive_seed("sprites concept", seed=seed), number), level)
    return (u * torch.tensor(NUM_VALUES[:level], dtype=torch.float64, device=u.device)).long()


def draw_geometry(number: Tensor, concept: Tensor, *, seed: int) -> Geometry:
    """What a concept leaves open, drawn for each image.

    Args:
        number: Long[B].
        concept: Long[B, L], fully specified, on the same device.
        seed: Seed of the drawing.
    """
    absent = torch.tensor(ABSENT[concept.shape[1] :], dtype=torch.long, device=concept.device).expand(len(concept), -1)
    shape, size, colour, location, background = torch.cat([concept, absent], 1).unbind(1)
    key = randomness.keys(derive_seed("sprites", seed=seed), number)
    spread = 2 * randomness.uniform(key, 8) - 1

    def of(table: object, value: Tensor) -> Tensor:
        return torch.tensor(table, dtype=torch.float64, device=value.device)[value]

    return Geometry(
        shape,
        of(HALF_EXTENTS, size) * (1 + EXTENT_JITTER * spread[:, 0]),
        ANGLE_JITTER * spread[:, 1],
        of(CENTRES, location) + CENTRE_JITTER * spread[:, 2:4],
        _shade(of(COLOURS, colour) * (1 + COLOUR_JITTER * spread[:, 5:8])),
        _shade(of(BACKGROUNDS, background) + BACKGROUND_JITTER * spread[:, 4]),
    )


class Shapes(Protocol):
    """Says what sprites cover, where it is not the formulas above."""

    def coverage(self, geometry: Geometry, *, canvas: int) -> Tensor:
        """See :func:`coverage`."""


def render(
    geometry: Geometry, *, canvas: int, texture: Tensor | None = None, shapes: Shapes | None = None
) -> tuple[Tensor, Tensor]:
    """The images and the masks of sprites.

    A pixel is the mean of its samples, rounded to a grey level; it belongs to the mask if at least half of them are
    inside the sprite.

    Args:
        geometry: Of B sprites; they are drawn on its device.
        canvas: S.
        texture: Short[B, S, S], what is added to the shade of the background; None: nothing.
        shapes: On the same device; None: the formulas.

    Returns:
        Byte[B, 3, S, S] and Bool[B, 1, S, S].
    """
    chunks = [slice(start, start + CHUNK) for start in range(0, max(len(geometry), 1), CHUNK)]  # One of none.
    parts = [_render(geometry[chunk], canvas, None if texture is None else texture[chunk], shapes) for chunk in chunks]
    pixels, masks = zip(*parts, strict=True)
    return torch.cat(pixels), torch.cat(masks)


def render_backgrounds(geometry: Geometry, *, canvas: int, texture: Tensor | None = None) -> Tensor:
    """The same images without the sprites: Byte[B, 3, S, S]."""
    shade = geometry.background[:, None, None, None].expand(-1, 3, canvas, canvas)
    return (shade if texture is None else (shade + texture[:, None]).clamp(0, 255)).to(torch.uint8)


def _render(geometry: Geometry, canvas: int, texture: Tensor | None, shapes: Shapes | None) -> tuple[Tensor, Tensor]:
    covered = coverage(geometry, canvas=canvas) if shapes is None else shapes.coverage(geometry, canvas=canvas)
    k = covered[:, None].to(torch.int16)
    background = geometry.background[:, None, None, None]
    if texture is not None:
        background = (background + texture[:, None]).clamp_(0, 255)
    contrast = geometry.colour[:, :, None, None] - background
    pixels = (k * contrast).add_(4 * background + 2).bitwise_right_shift_(2)
    return pixels.to(torch.uint8), k >= 2


def coverage(geometry: Geometry, *, canvas: int) -> Tensor:
    """How many of the samples of each pixel are inside the sprite: Byte[B, S, S], from 0 to 4."""
    order = geometry.shape.argsort(stable=True)
    across, down, shift = _lines(geometry[order], canvas)
    cuts = [0, *geometry.shape.bincount(minlength=len(_SCALES)).cumsum(0).tolist()]
    inside = torch.empty(len(geometry), across.shape[-1], across.shape[-1], dtype=torch.bool, device=across.device)
    for test, (start, stop) in zip((_in_square, _in_ellipse, _in_heart), pairwise(cuts), strict=True):
        (x_a, x_b), (y_a, y_b) = across[:, start:stop, None, :], down[:, start:stop, :, None]
        inside[order[start:stop]] = test(x_a + y_a, x_b + (y_b + shift[start:stop, None, None]))
    return _count(inside)


def _lines(geometry: Geometry, canvas: int) -> tuple[Tensor, Tensor, Tensor]:
    """The coordinates of a shape's formula are sums of a function of x and one of y: Float[2, B, P] each, and Float[B],
    which is added to the second."""
    device = geometry.shape.device
    points = (torch.arange(canvas * PER_PIXEL, dtype=torch.float64, device=device) + 0.5) / (canvas * PER_PIXEL)
    x, y = (points - geometry.centre[:, :, None]).unbind(1)
    cos, sin = (snap(part / geometry.half_extent, 20) for part in (geometry.angle.cos(), geometry.angle.sin()))
    scale_a, scale_b = torch.tensor(_SCALES, dtype=torch.float64, device=device)[geometry.shape].unbind(1)
    shift = torch.tensor(_SHIFTS, dtype=torch.float64, device=device)[geometry.shape]
    across = torch.stack([(cos * scale_a)[:, None] * x, (-sin * scale_b)[:, None] * x])
    down = torch.stack([(sin * scale_a)[:, None] * y, (cos * scale_b)[:, None] * y])
    return across.float(), down.float(), shift.float()


def _in_square(a: Tensor, b: Tensor) -> Tensor:
    return torch.maximum(a.abs_(), b.abs_()) < 1


def _in_ellipse(a: Tensor, b: Tensor) -> Tensor:
    return a.square_().add_(b.square_()) < 1


def _in_heart(a: Tensor, b: Tensor) -> Tensor:
    a, b_squared = a.square_(), b * b
    right = b.mul_(b_squared).mul_(a).mul_(1.6)
    s = a.add_(b_squared).sub_(0.9)
    return (s * s).mul_(s) < right


def _count(inside: Tensor) -> Tensor:
    """Bool[B, P, P] to Byte[B, S, S]: added line by line, several times as fast as one reduction."""
    bits = inside.view(torch.uint8)
    rows = torch.stack([bits[:, i::PER_PIXEL] for i in range(PER_PIXEL)]).sum(0, dtype=torch.uint8)
    return torch.stack([rows[:, :, i::PER_PIXEL] for i in range(PER_PIXEL)]).sum(0, dtype=torch.uint8)


def _shade(value: Tensor) -> Tensor:
    """Double[...] in [0, 1] to the nearest of 256 shades, Short[...]; values outside are cut."""
    return (value.clamp(0, 1) * 255).round().to(torch.int16)
