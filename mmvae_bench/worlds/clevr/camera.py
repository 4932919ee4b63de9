"""CLEVR's camera as plain geometry: what direction words mean, the ray through each point, where each object is seen.

A camera is at c, looks at the origin and has z upwards. Frame coordinates are in [0, 1]: u from left to right, v from
top to bottom.

Silhouettes come from rays against spheres, boxes and cylinders in closed form. The path tracer's meshes have slightly
rounded edges and are fine enough to differ from these shapes by a fraction of a pixel. The closed form needs no
renderer, so masks and the rule of 200 visible pixels are the same for every variant.

Shapes: N scene, P point or ray, O object, H and W sides of a box of pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from einops import reduce

FIELD_OF_VIEW = 49.134
"""Horizontal, in degrees."""


def axes(camera: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors forward, right and up of cameras: [..., 3] to three of [..., 3]."""
    forward = -camera / np.sqrt((camera * camera).sum(-1, keepdims=True))
    x, y, z = (forward[..., axis] for axis in range(3))
    level = np.sqrt(x * x + y * y)
    # forward x (0, 0, 1), and right x forward.
    right = np.stack([y, -x, 0 * x], -1) / level[..., None]
    return forward, right, np.stack([-x * z, -y * z, level * level], -1) / level[..., None]


def ground_directions(camera: np.ndarray) -> np.ndarray:
    """Unit vectors on the ground of left, right, front and behind, in this order: [N, 3] to [N, 4, 2].

    "Behind" is the view direction on the ground, "left" the camera's -x on it.
    """
    _, right, _ = axes(camera)
    behind = np.stack([-right[..., 1], right[..., 0]], -1)
    sideways = right[..., :2]  # Horizontal already, and of unit length: the camera does not roll.
    return np.stack([-sideways, sideways, -behind, behind], -2)


def rays(camera: np.ndarray, u: np.ndarray, v: np.ndarray, *, aspect: float) -> np.ndarray:
    """Directions of the rays through points of a frame, not normalised.

    Args:
        camera: [3].
        u: [P], v: [P], frame coordinates.
        aspect: Width of the frame over its height; pixels are square.

    Returns:
        [P, 3].
    """
    forward, right, up = axes(camera)
    half = math.tan(math.radians(FIELD_OF_VIEW) / 2)
    across, above = half * (2 * u - 1), half / aspect * (1 - 2 * v)
    return np.asarray(forward + across[:, None] * right + above[:, None] * up)


def project(camera: np.ndarray, points: np.ndarray, *, aspect: float) -> tuple[np.ndarray, np.ndarray]:
    """Frame coordinates u and v at which points in front of the camera are seen: [P, 3] to two of [P].

    Args:
        camera: [3].
        points: [P, 3].
        aspect: As in :func:`rays`, whose inverse this is.
    """
    forward, right, up = axes(camera)
    offset = points - camera
    half, depth = math.tan(math.radians(FIELD_OF_VIEW) / 2), offset @ forward
    return (1 + offset @ right / (depth * half)) / 2, (1 - offset @ up * aspect / (depth * half)) / 2


CUBE, SPHERE, CYLINDER = range(3)  # Positions in scene.SHAPES.
SUBSAMPLES = 4
"""Rays along each side of a pixel of a mask."""

_CORNERS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)


@dataclass(frozen=True)
class Solids:
    """Everything that determines the silhouettes of one scene.

    Attributes:
        shape: Integer[O], CUBE, SPHERE or CYLINDER.
        center: [O, 3].
        half_extent: [O].
        turn: [O], rotation about the vertical in radians.
        camera: [3].
    """

    shape: np.ndarray
    center: np.ndarray
    half_extent: np.ndarray
    turn: np.ndarray
    camera: np.ndarray


@dataclass(frozen=True)
class _Box:
    """Pixels of a frame that can show an object."""

    top: int
    bottom: int
    left: int
    right: int

    def meets(self, other: _Box) -> bool:
        return (
            max(self.top, other.top) < min(self.bottom, other.bottom)
            and max(self.left, other.left) < min(self.right, other.right)
        )  # fmt: skip


def num_visible(solids: Solids, width: int, height: int) -> np.ndarray:
    """Integer[O]: pixels of a frame whose centre shows each object."""
    seen = _seen(solids, width, height, aspect=width / height)
    return np.array([mask.sum() for _, mask in seen])


def masks(solids: Solids, canvas: int, *, aspect: float) -> np.ndarray:
    """Where each object is seen: Bool[O, canvas, canvas], more than half of the pixel's rays meeting it first.

    Args:
        solids: The scene.
        canvas: Height and width of the image into which the frame is squashed.
        aspect: Width of the frame over its height.
    """
    fine = canvas * SUBSAMPLES
    out = np.zeros((len(solids.shape), fine, fine), bool)
    for mask, (box, part) in zip(out, _seen(solids, fine, fine, aspect=aspect), strict=True):
        mask[box.top : box.bottom, box.left : box.right] = part
    counts = reduce(out, "o (h a) (w b) -> o h w", "sum", a=SUBSAMPLES, b=SUBSAMPLES)
    return np.asarray(2 * counts > SUBSAMPLES**2)


def _seen(solids: Solids, width: int, height: int, *, aspect: float) -> list[tuple[_Box, np.ndarray]]:
    """For each object the pixels that can show it, and which of them do: Bool[H, W] of the box."""
    camera, centers, extents = solids.camera, solids.center, solids.half_extent
    turned = [rotation(turn) for turn in solids.turn.tolist()]
    boxes = []
    for center, extent, matrix in zip(centers, extents, turned, strict=True):
        u, v = project(camera, center + extent * _CORNERS @ matrix.T, aspect=aspect)
        boxes.append(_Box(*_pixel_range(v, height), *_pixel_range(u, width)))
    found = []
    for number, box in enumerate(boxes):
        columns = (np.arange(box.left, box.right) + 0.5) / width
        rows = (np.arange(box.top, box.bottom) + 0.5) / height
        directions = rays(camera, np.tile(columns, len(rows)), np.repeat(rows, len(columns)), aspect=aspect)

        def depth(other: int, directions: np.ndarray = directions) -> np.ndarray:
            size, matrix = extents[other], turned[other]
            origin = (camera - centers[other]) / size
            return _depth(solids.shape[other], origin @ matrix, directions / size @ matrix)

        mine = depth(number)
        shown = np.isfinite(mine)
        for other in range(len(boxes)):
            if other != number and box.meets(boxes[other]):
                shown &= mine <= depth(other)
        found.append((box, shown.reshape(len(rows), len(columns))))
    return found


def _pixel_range(coordinates: np.ndarray, size: int) -> tuple[int, int]:
    """Range of pixels that contains frame coordinates and all between them, cut at the frame."""
    low, high = np.floor(coordinates.min() * size), np.ceil(coordinates.max() * size)
    return int(np.clip(low, 0, size)), int(np.clip(high, 0, size))


def rotation(turn: float) -> np.ndarray:
    """The matrix of a rotation about the vertical, counter-clockwise seen from above: [3, 3]."""
    cos, sin = np.cos(turn), np.sin(turn)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def _depth(shape: int, o: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Parameters t at which rays o + t d first meet a shape of half-extent one around 0, infinite for none: [P].

    Every shape is an intersection of convex sets, and so is the part of a ray inside of it.
    """
    if shape == SPHERE:
        near, far = _ball(o, d)
    elif shape == CUBE:
        near, far = _both(_slab(o[0], d[:, 0]), _slab(o[1], d[:, 1]), _slab(o[2], d[:, 2]))
    else:
        near, far = _both(_ball(o[:2], d[:, :2]), _slab(o[2], d[:, 2]))
    return np.where(near < far, near, np.inf)


def _ball(o: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where rays o + t d enter and leave the unit ball (two dimensions: disc)."""
    a, b, c = (d * d).sum(1), d @ o, o @ o - 1
    discriminant = b * b - a * c
    root = np.sqrt(np.maximum(discriminant, 0.0))
    missed = discriminant < 0
    return np.where(missed, np.inf, (-b - root) / a), np.where(missed, -np.inf, (-b + root) / a)


def _slab(o: float, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where rays enter and leave -1 <= coordinate <= 1. A ray parallel to the slab is tilted by a negligible amount."""
    d = np.where(np.abs(d) < 1e-12, 1e-12, d)
    ends = (-1 - o) / d, (1 - o) / d
    return np.minimum(*ends), np.maximum(*ends)


def _both(*parts: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The part of each ray that is in every set."""
    return np.max([near for near, _ in parts], axis=0), np.min([far for _, far in parts], axis=0)
