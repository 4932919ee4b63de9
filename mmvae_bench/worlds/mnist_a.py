"""MNIST-A as batched tensor operations: rotate, shrink, place, binarise.

The recipe is that of Vedantam et al. (2018), Appendix A.2, and of their released code (google/joint_vae,
datasets/mnist_attributes): rotate with a box that expands, shrink, paste where the box is inside the canvas, draw
each pixel once as Bernoulli of its grey. They draw a location until it fits, 240 times on average; here the truncated
distribution is sampled directly.

Every picture is determined by (seed, source index, replica) alone. Vectorised kernels may differ from their scalar
tails in the last bit, so what depends on a transcendental function is computed in float64 on the CPU and rounded to a
fixed grid, and the sampling grid is made by separate elementwise products and sums.

Shapes: B picture, S side of the canvas in pixels, W side of the window in pixels. Lengths are in units of 1/64 canvas,
which are pixels at the published size; y points down; angles are counter-clockwise on the screen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

from ..base import randomness
from ..base.seeds import derive_seed

GENERATOR_VERSION = 1
"""Increased when the pictures change: it is part of the fingerprint."""

UNITS = 64
DIGIT = 28
SCALE_MEANS, SCALE_STD, SCALE_RANGE = (0.9, 0.6), 0.1, (0.4, 1.0)
ROTATION_MEANS, ROTATION_STD, ROTATION_RANGE = (-45.0, 0.0, 45.0), 10.0, (-90.0, 90.0)
NEAR, FAR, LOCATION_STD = 12.0, 52.0, 4.0
LARGEST_BOX = 2 * math.ceil(DIGIT / 2 * math.sqrt(2))


@dataclass(frozen=True)
class Geometry:
    """Where and how each digit is drawn; on the CPU.

    Attributes:
        concept: Long[B, 3], value indices of scale, orientation and location.
        scale: Double[B], factor by which the digit shrinks.
        rotation: Double[B], degrees counter-clockwise.
        full_side: Long[B], side of the box around the rotated digit.
        side: Long[B], side of that box after shrinking, in whole units.
        center: Long[B, 2], x and y of the location drawn; the box begins at ``center - side // 2 - 1``.
        key: Long[B], key of the pixels' random numbers.
    """

    concept: Tensor
    scale: Tensor
    rotation: Tensor
    full_side: Tensor
    side: Tensor
    center: Tensor
    key: Tensor

    def __len__(self) -> int:
        return len(self.key)

    @property
    def corner(self) -> Tensor:
        """Long[B, 2]: x and y of the box's top-left corner."""
        return self.center - self.side[:, None] // 2 - 1


def draw_geometry(source: Tensor, replica: Tensor, *, seed: int) -> Geometry:
    """Draws the attributes of each picture, and the numbers behind them.

    Scale, orientation and location are uniform. Given them, the shrink factor is N(0.9, 0.1) or N(0.6, 0.1) truncated
    to [0.4, 1], the rotation is 0 or N(-+45, 10) truncated to [-90, 90], and each coordinate of the location is
    N(12, 4) or N(52, 4), truncated to a whole number and to where the box is inside the canvas.

    Args:
        source: Long[B], index of the source digit.
        replica: Long[B].
        seed: Seed of the rendering.
    """
    key = randomness.keys(derive_seed("mnist_a geometry", seed=seed), source, replica)
    u = randomness.uniform(key, 7)
    concept = torch.stack([(u[:, 0] * 2).long(), (u[:, 1] * 3).long(), (u[:, 2] * 4).long()], 1)

    scale_mean = torch.tensor(SCALE_MEANS, dtype=torch.float64)[concept[:, 0]]
    scale = snap(truncated_normal(u[:, 3], scale_mean, SCALE_STD, *SCALE_RANGE)).clamp(*SCALE_RANGE)
    rotation_mean = torch.tensor(ROTATION_MEANS, dtype=torch.float64)[concept[:, 1]]
    tilted = truncated_normal(u[:, 4], rotation_mean, ROTATION_STD, *ROTATION_RANGE)
    rotation = torch.where(concept[:, 1] == 1, 0.0, snap(tilted))

    angle = rotation.deg2rad()
    half = snap(DIGIT / 2 * (angle.cos().abs() + angle.sin().abs()))
    full_side = 2 * half.ceil().long()
    side = (full_side * scale).long()

    low, high = location_range(side)
    mean = torch.stack([torch.where(concept[:, 2] % 2 == 0, NEAR, FAR), torch.where(concept[:, 2] < 2, NEAR, FAR)], 1)
    drawn = truncated_normal(u[:, 5:7], mean.double(), LOCATION_STD, low.double()[:, None], high.double()[:, None] + 1)
    center = drawn.long().clamp(low[:, None], high[:, None])
    pixels = randomness.keys(derive_seed("mnist_a pixels", seed=seed), source, replica)
    return Geometry(concept, scale, rotation, full_side, side, center, pixels)


def location_range(side: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest and largest whole coordinate c with ``1 <= c - (side // 2 + 1)`` and ``c + side // 2 + 1 <= 64``."""
    margin = side // 2 + 1
    return 1 + margin, UNITS - margin


def truncated_normal(u: Tensor, mean: Tensor, std: float, low: Tensor | float, high: Tensor | float) -> Tensor:
    """A normal draw conditioned on [low, high], by the inverse of its distribution function.

    With Phi the standard normal's: ``mean + std Phi^-1(Phi(a) + u (Phi(b) - Phi(a)))``, where a and b are the bounds in
    standard units.

    Args:
        u: Double[...] in (0, 1).
        mean: Double[...].
        std: Positive.
        low: Smallest value.
        high: Largest value.
    """
    start, end = (torch.special.ndtr((bound - mean) / std) for bound in (low, high))
    value: Tensor = mean + std * torch.special.ndtri(start + u * (end - start))
    return value.maximum(torch.as_tensor(low)).minimum(torch.as_tensor(high))


def snap(value: Tensor, bits: int = 16) -> Tensor:
    """Rounds to a multiple of 2^-bits, so that a difference in the last bit of a float64 disappears."""
    return (value * 2.0**bits).round() * 2.0**-bits


@dataclass(frozen=True)
class Window:
    """The part of each canvas that a digit can touch.

    Attributes:
        grey: Float[B, W, W] in [0, 1].
        corner: Long[B, 2], x and y of its top-left pixel.
    """

    grey: Tensor
    corner: Tensor

    def paste(self, pixels: Tensor, canvas: int) -> Tensor:
        """[B, W, W] into black canvases: [B, S, S], of the type of ``pixels``."""
        size = torch.arange(pixels.shape[-1], device=pixels.device)
        rows, columns = self.corner[:, 1, None] + size, self.corner[:, 0, None] + size
        places = (rows[:, :, None] * canvas + columns[:, None, :]).flatten(1)
        canvases = pixels.new_zeros(len(pixels), canvas * canvas).scatter_(1, places, pixels.flatten(1))
        return canvases.view(-1, canvas, canvas)


def render_window(digits: Tensor, geometry: Geometry, *, canvas: int = UNITS) -> Window:
    """Draws digits in grey, antialiased, on windows of the canvas.

    The digit is interpolated with a bicubic kernel at a grid of points in each pixel, dense enough that neighbours are
    never more than 1.27 pixels of the digit apart, and their mean is taken.

    Args:
        digits: Byte[B, 28, 28], on the device to draw on.
        geometry: Geometry of the B pictures.
        canvas: S.
    """
    device, per_pixel = digits.device, math.ceil(2 * UNITS / canvas)
    window = min(canvas, math.ceil(LARGEST_BOX * canvas / UNITS) + 1)
    corner = (geometry.corner * canvas // UNITS).clamp(max=canvas - window)
    points = (torch.arange(window * per_pixel, dtype=torch.float64) + 0.5) / per_pixel
    middle = geometry.corner + geometry.side[:, None] / 2
    offset = (corner[:, :, None] + points) * UNITS / canvas - middle[:, :, None]

    # From a point on the canvas back to the digit, whose half side is 1 for grid_sample.
    angle, half = geometry.rotation.deg2rad(), DIGIT / 2 * geometry.side / geometry.full_side
    cos, sin = snap(angle.cos() / half, 20)[:, None], snap(angle.sin() / half, 20)[:, None]
    (x, y) = offset.unbind(1)
    x_cos, x_sin, y_cos, y_sin = (part.float().to(device) for part in (cos * x, sin * x, cos * y, sin * y))
    grid = torch.stack([x_cos[:, None, :] - y_sin[:, :, None], x_sin[:, None, :] + y_cos[:, :, None]], -1)
    source = digits[:, None].float() / 255
    grey = grid_sample(source, grid, mode="bicubic", padding_mode="zeros", align_corners=False)
    if per_pixel > 1:
        grey = avg_pool2d(grey, per_pixel)
    return Window(grey[:, 0].clamp(0, 1), corner.to(device))


def render(digits: Tensor, geometry: Geometry, *, canvas: int = UNITS) -> Tensor:
    """The pictures: Bool[B, S, S], each pixel drawn once as Bernoulli of its grey, in steps of 2^-16.

    Arguments as :func:`render_window`.
    """
    window = render_window(digits, geometry, canvas=canvas)
    grey = window.grey
    return window.paste(randomness.bits(geometry.key.to(grey.device), grey), canvas)
