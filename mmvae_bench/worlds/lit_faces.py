"""Faces under one distant light: ``x = (n . l)_+ v r + b + noise``, with nothing of a renderer but this equation.

Each person is a height field, of which n are the normals by finite differences, and a map of albedo r; v is 0 where
another part of the face is in the way of the light (cast shadows), else 1, and b is a small constant. It is the model
that Siddharth et al. (2017, section 4.2) name for the photographs of Yale B, whose 64 directions these are.

x points right, y up and z to the camera; a face is looked at on the square -1..1. An azimuth is positive to the right.

Shapes: n image, P person, S side of the canvas in pixels, R side of the raster (``PER_PIXEL`` S).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from ..base import randomness
from ..base.seeds import derive_seed
from .recipe import ImageRecipe, Images

GENERATOR_VERSION = 1
"""Increased when the pictures change: it is part of the fingerprint."""

PER_PIXEL = 3
"""Samples along each side of a pixel."""
OFFSET, NOISE = 0.02, 0.01
"""b, and the standard deviation of the noise, in units of pixels in [0, 1]."""
SHADOW_STEP, SHADOW_REACH = 0.03, 1.2
"""Step and length of the search along a ray of light for what blocks it, in units of the square."""
CLEARANCE = 0.02
"""How much higher than the ray something must be to block it."""

_BESIDE = (
    (5, 10), (5, -10), (10, 0), (10, -20), (15, 20), (20, 10), (20, -10), (20, -40), (25, 0), (35, 15), (35, 40),
    (35, 65), (35, -20), (50, 0), (50, -40), (60, 20), (60, -20), (70, 0), (70, 45), (70, -35), (85, 20), (85, -20),
    (95, 0), (110, 15), (110, 40), (110, 65), (110, -20), (120, 0), (130, 20),
)  # fmt: skip
LIGHTS: tuple[tuple[int, int], ...] = (
    (0, 0), (0, 20), (0, -20), (0, 45), (0, -35), (0, 90),
    *_BESIDE, *((-azimuth, elevation) for azimuth, elevation in _BESIDE),
)  # fmt: skip
"""Azimuth and elevation of the 64 lights in degrees, those of the extended Yale Face Database B."""


def direction(azimuth: np.ndarray | float, elevation: np.ndarray | float) -> np.ndarray:
    """The unit vector to a light, Double[..., 3]: ``(cos E sin A, sin E, cos E cos A)``.

    Args:
        azimuth: A, in degrees.
        elevation: E, in degrees.

    >>> direction(90.0, 0.0).round(9).tolist(), direction(0.0, 90.0).round(9).tolist()
    ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    """
    a, e = np.radians(azimuth), np.radians(elevation)
    return np.stack(np.broadcast_arrays(np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)), -1)


@dataclass(frozen=True)
class Face:
    """What a person's images are made of, on the raster.

    Attributes:
        height: Double[R, R], z; of what is no face, the plane behind it.
        normals: Double[R, R, 3].
        albedo: Double[R, R] in [0, 1].
        mask: Bool[R, R], where the head is.
    """

    height: np.ndarray
    normals: np.ndarray
    albedo: np.ndarray
    mask: np.ndarray


@lru_cache(maxsize=8)
def face(person: int, *, canvas: int, seed: int) -> Face:
    """A person, by number and seed alone.

    Args:
        person: Its number, from 0.
        canvas: S.
        seed: Seed of all persons.
    """
    u = _Draws(person, seed)
    side = canvas * PER_PIXEL
    centres = (np.arange(side) + 0.5) / side * 2 - 1
    x, y = np.meshgrid(centres, -centres)

    wide, long, jaw = u(0.72, 0.9), u(0.92, 1.08), u(0.0, 0.28)
    across = x / (wide * (1 - jaw * np.clip(-y, 0, 1)))
    inside = 1 - np.abs(across) ** 2.4 - np.abs((y + 0.02) / long) ** 2.4
    mask = inside > 0
    height = u(0.6, 0.85) * np.sqrt(np.clip(inside, 0, None))

    eyes_y, eyes_x, mouth_y = u(0.14, 0.26), u(0.3, 0.42), u(-0.62, -0.5)
    nose_y, nose_wide = mouth_y + u(0.26, 0.34), u(0.07, 0.12)
    bumps = [
        (0.0, (eyes_y + nose_y) / 2, 0.055, (eyes_y - nose_y) / 1.7, u(0.06, 0.12)),  # bridge of the nose
        (0.0, nose_y, nose_wide, u(0.07, 0.11), u(0.14, 0.26)),  # its tip
        (0.0, -0.86, u(0.14, 0.24), 0.12, u(0.02, 0.12)),  # chin
        (0.0, mouth_y + 0.04, u(0.14, 0.2), 0.035, u(0.03, 0.06)),  # lips
        (0.0, mouth_y - 0.05, u(0.12, 0.18), 0.04, u(0.03, 0.07)),
        (0.0, mouth_y, u(0.15, 0.22), 0.012, -0.03),
        (0.0, eyes_y + 0.5, 0.5, 0.25, u(-0.03, 0.06)),  # forehead
    ]
    brows_y, socket, brow, cheek = eyes_y + u(0.15, 0.22), u(0.08, 0.17), u(0.04, 0.1), u(0.02, 0.1)
    eyeball, cheek_x = u(0.04, 0.07), u(0.36, 0.5)
    for way in (-1, 1):
        bumps += [
            (way * eyes_x, eyes_y, 0.14, 0.08, -socket),
            (way * eyes_x, eyes_y, 0.07, 0.045, eyeball),
            (way * eyes_x, brows_y, 0.2, 0.05, brow),
            (way * cheek_x, nose_y + 0.1, 0.16, 0.12, cheek),
            (way * nose_wide * 1.1, nose_y - 0.03, 0.05, 0.05, 0.06),  # nostrils
        ]
    for at_x, at_y, wide_x, wide_y, high in bumps:
        height = height + high * _bump(x, y, at_x, at_y, wide_x, wide_y) * mask
    height = np.where(mask, height, 0.0)

    skin, dark = u(0.5, 0.95), u(0.08, 0.4)
    albedo = np.full_like(x, skin)
    thick, arch, brow_dark = u(0.018, 0.05), u(-0.5, 0.5), u(0.3, 0.95)
    for way in (-1, 1):
        lifted = brows_y + 0.02 + arch * ((way * x - eyes_x) ** 2 - 0.02)
        brow_map = np.exp(-0.5 * (((way * x - eyes_x) / 0.15) ** 4 + ((y - lifted) / thick) ** 2))
        albedo = _blend(albedo, dark, brow_dark * brow_map)
        albedo = _blend(albedo, 0.95, 0.8 * _bump(way * x, y, eyes_x, eyes_y, 0.06, 0.024))
        albedo = _blend(albedo, 0.05, _bump(way * x, y, eyes_x, eyes_y, 0.026, 0.026))
    albedo = _blend(albedo, skin * u(0.45, 0.8), _bump(x, y, 0.0, mouth_y, u(0.14, 0.2), 0.05))
    moustache, beard = u.rarely(0.3), u.rarely(0.3)
    albedo = _blend(albedo, dark, moustache * _bump(x, y, 0.0, mouth_y + 0.12, 0.18, 0.035))
    low = 1 / (1 + np.exp((y - mouth_y - 0.02 - 0.9 * x**2) / 0.04))
    albedo = _blend(albedo, dark, beard * low * (1 - _bump(x, y, 0.0, mouth_y, 0.15, 0.05)))
    hairline, bend = u(0.5, 0.85), u(-0.9, 0.2)
    hair = 1 / (1 + np.exp(-(y - hairline - bend * x**2) / 0.03))
    albedo = _blend(albedo, dark, hair * u(0.7, 1.0))
    spots = [(u(-0.5, 0.5), u(-0.5, 0.45), u(0.02, 0.035)) for _ in range(2)]
    for at_x, at_y, size in spots:
        albedo = _blend(albedo, 0.3 * skin, _bump(x, y, at_x, at_y, size, size))
    albedo = np.where(mask, albedo, 0.25)
    return Face(height, normals_of(height, 2 / side), albedo, mask)


def normals_of(height: np.ndarray, step: float) -> np.ndarray:
    """The unit normals of a height field by central differences, Double[R, R] to Double[R, R, 3].

    Args:
        height: z, rows from the top down.
        step: Distance between neighbours.
    """
    down, right = np.gradient(height, step)
    normals: np.ndarray = np.stack([-right, down, np.ones_like(height)], -1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return normals


def lit(height: np.ndarray, light: np.ndarray, step: float) -> np.ndarray:
    """Where the light is not hidden by another part of the surface: Bool[R, R], looked for along the ray.

    Args:
        height: Double[R, R], rows from the top down.
        light: Double[3], the unit vector to the light.
        step: Distance between neighbours.
    """
    free = np.ones(height.shape, bool)
    along = np.hypot(light[0], light[1])
    if along < 1e-9:
        return free
    for distance in np.arange(SHADOW_STEP, SHADOW_REACH, SHADOW_STEP):
        down, right = (round(way / along * distance / step) for way in (-light[1], light[0]))
        here, there = _overlap(height.shape, down, right)
        # A little above: what is sampled between two points of the raster would shadow itself.
        free[here] &= height[there] <= height[here] + light[2] / along * distance + CLEARANCE
    return free


def _overlap(shape: tuple[int, ...], down: int, right: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Which points have a neighbour so far down and to the right, and these neighbours."""
    pairs = []
    for side, by in zip(shape, (down, right), strict=True):
        by = max(-side, min(side, by))
        pairs.append((slice(max(0, -by), side - max(0, by)), slice(max(0, by), side - max(0, -by))))
    (rows, rows_there), (columns, columns_there) = pairs
    return (rows, columns), (rows_there, columns_there)


def shading(one: Face, light: np.ndarray) -> np.ndarray:
    """``(n . l)_+ v``: Double[R, R] in [0, 1].

    Args:
        one: The person.
        light: Double[3], the unit vector to the light.
    """
    facing = np.clip(one.normals @ light, 0, None)
    shade: np.ndarray = facing * lit(one.height, light, 2 / len(one.height))
    return shade


def smaller(raster: np.ndarray) -> np.ndarray:
    """The mean over the samples of each pixel: [..., R, R] to Double[..., S, S]."""
    side = raster.shape[-1] // PER_PIXEL
    mean: np.ndarray = raster.reshape(*raster.shape[:-2], side, PER_PIXEL, side, PER_PIXEL).mean((-3, -1))
    return mean


class LitFaces(ImageRecipe):
    """Every person under every light, person by person.

    Args:
        num_people: P.
        canvas: S.
        seed: Seed of the persons and of the noise.
        bins: The centres of azimuth and of elevation, degrees.
    """

    num_attributes = 3
    num_masks = 1

    def __init__(
        self, *, num_people: int, canvas: int, seed: int, bins: tuple[tuple[int, ...], tuple[int, ...]]
    ) -> None:
        self.num_people, self.canvas, self.seed, self.bins = num_people, canvas, seed, bins
        self.num_images = num_people * len(LIGHTS)
        self.image_shape = (1, canvas, canvas)

    def describe(self) -> dict[str, Any]:
        """See :meth:`ImageRecipe.describe`."""
        return {
            "images": "lit faces",
            "generator": GENERATOR_VERSION,
            "people": self.num_people,
            "canvas": self.canvas,
            "seed": self.seed,
            "bins": [list(centres) for centres in self.bins],
        }

    def make(self, start: int, stop: int) -> Images:
        """See :meth:`ImageRecipe.make`; with the light of each image, and the person's number."""
        number = np.arange(start, stop)
        person, which = np.divmod(number, len(LIGHTS))
        angles = np.array(LIGHTS)[which]
        light = direction(angles[:, 0], angles[:, 1])
        made = [self._one(*each) for each in zip(person.tolist(), light, strict=True)]
        noise = gaussian(torch.from_numpy(number), self.canvas**2, seed=self.seed).reshape(-1, self.canvas, self.canvas)
        pixels = np.clip(np.stack([grey for grey, _ in made]) + OFFSET + NOISE * noise, 0, 1)
        masks = np.stack([mask for _, mask in made])[:, None]
        concepts = np.column_stack([person, binned(angles, self.bins)])
        return Images(
            np.rint(pixels * 255).astype(np.uint8)[..., None], concepts, masks, columns=light_columns(angles, light)
        )

    def _one(self, person: int, light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        one = face(person, canvas=self.canvas, seed=self.seed)
        return smaller(shading(one, light) * one.albedo), smaller(one.mask) > 0.5


def light_columns(angles: np.ndarray, light: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of a light: its angles in degrees, Integer[n, 2], and its direction, Double[n, 3]."""
    named = {"azimuth": angles[:, 0].astype(np.int16), "elevation": angles[:, 1].astype(np.int16)}
    return named | {f"light_{axis}": light[:, k].astype(np.float32) for k, axis in enumerate("xyz")}


def binned(angles: np.ndarray, bins: tuple[tuple[int, ...], tuple[int, ...]]) -> np.ndarray:
    """The nearest of the centres of azimuth and elevation, degrees: [n, 2] to Long[n, 2]. The first of two equal.

    >>> binned(np.array([[-130, 20]]), ((-100, 0, 100), (-25, 10, 55))).tolist()
    [[0, 1]]
    """
    nearest = [np.abs(angles[:, k, None] - np.array(centres)).argmin(1) for k, centres in enumerate(bins)]
    return np.stack(nearest, 1)


def gaussian(number: torch.Tensor, num: int, *, seed: int) -> np.ndarray:
    """Standard normal noise of each image: Double[n, num], by Box and Muller's transform of counter-based draws."""
    u = randomness.uniform(randomness.keys(derive_seed("lit faces noise", seed=seed), number), 2 * num).numpy()
    noise: np.ndarray = np.sqrt(-2 * np.log(u[:, :num])) * np.cos(2 * np.pi * u[:, num:])
    return noise


class _Draws:
    """A person's parameters, one after the other: uniform between two numbers."""

    def __init__(self, person: int, seed: int) -> None:
        key = randomness.keys(derive_seed("lit faces people", seed=seed), torch.tensor([person]))
        self._left: Iterator[float] = iter(randomness.uniform(key, 64)[0].tolist())

    def __call__(self, low: float, high: float) -> float:
        return low + (high - low) * next(self._left)

    def rarely(self, share: float) -> float:
        """Between 0.5 and 0.9 with that probability, else 0."""
        there, much = next(self._left), next(self._left)
        return (0.5 + 0.4 * much) * (there < share)


def _bump(x: np.ndarray, y: np.ndarray, at_x: float, at_y: float, wide_x: float, wide_y: float) -> np.ndarray:
    bump: np.ndarray = np.exp(-0.5 * (((x - at_x) / wide_x) ** 2 + ((y - at_y) / wide_y) ** 2))
    return bump


def _blend(under: np.ndarray, over: float, share: np.ndarray) -> np.ndarray:
    over_it: np.ndarray = under + (over - under) * np.clip(share, 0, 1)
    return over_it
