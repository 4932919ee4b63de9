"""Cube, sphere and cylinder as one grid of triangles, so that a scene changes shapes by moving vertices.

The grid is that of a cube's surface. Each shape bends it, with slightly rounded edges as CLEVR's models have, to
half-extent one around 0. Vertices carry the exact normals of the rounded shape.

Shapes: V vertex, F face.
"""

from __future__ import annotations

from functools import cache

import numpy as np

BEVEL = 0.08
"""Radius of the rounded edges, over the half-extent."""
_BEVEL_STEPS, _FLAT_STEPS = 3, 10
STEPS = 2 * _BEVEL_STEPS + _FLAT_STEPS
"""Quads along an edge of the cube."""


@cache
def faces() -> np.ndarray:
    """Integer[F, 3]: the triangles' vertices, counter-clockwise seen from outside; the same for every shape."""
    side = STEPS + 1
    quads = []
    for number in range(6):
        corner = np.arange(side * side).reshape(side, side) + number * side * side
        quad = np.stack([corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]], -1).reshape(-1, 4)
        # Even faces lie at +1 on their axis: the two other axes, in cyclic order, make a right-handed frame with it.
        quads.append(quad if number % 2 == 0 else quad[:, ::-1])
    quad = np.concatenate(quads)
    return np.concatenate([quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]]).astype(np.uint32)


@cache
def unit_mesh(shape: str) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and unit normals of a cube, sphere or cylinder: two of [V, 3]."""
    if shape == "sphere":
        bent = np.tan(_grid(np.linspace(-1, 1, STEPS + 1)) * np.pi / 4)
        points = bent / np.linalg.norm(bent, axis=1, keepdims=True)
        return points, points
    rounded, normals = _rounded_box(_grid(_edge()))
    if shape == "cube":
        return rounded, normals
    if shape == "cylinder":
        return _cylinder(_grid(_edge()))
    raise ValueError(f"no shape is called {shape!r}: cube, sphere, cylinder")


def _edge() -> np.ndarray:
    """Coordinates of the vertices along an edge: [STEPS + 1], dense where it is rounded."""
    # The grid's corner regions are pulled onto the rounding along rays from its axis: equal angles there.
    bevel = 1 - BEVEL + BEVEL * np.tan(np.linspace(0, np.pi / 4, _BEVEL_STEPS + 1))
    flat = np.linspace(BEVEL - 1, 1 - BEVEL, _FLAT_STEPS + 1)
    return np.concatenate([-bevel[:0:-1], flat, bevel[1:]])


def _grid(edge: np.ndarray) -> np.ndarray:
    """The surface of the cube as six square grids: [V, 3]."""
    a, b = (part.ravel() for part in np.meshgrid(edge, edge, indexing="ij"))
    points = []
    for axis in range(3):
        for sign in (1.0, -1.0):
            face = np.empty((len(a), 3))
            face[:, axis], face[:, (axis + 1) % 3], face[:, (axis + 2) % 3] = sign, a, b
            points.append(face)
    return np.concatenate(points)


def _rounded_box(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pulls points on the surface of a box (any dimension) onto that of the box with rounded edges; adds normals."""
    core = points.clip(BEVEL - 1, 1 - BEVEL)
    normals = points - core
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return core + BEVEL * normals, normals


def _cylinder(cube: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bends the cube's surface: squares around the axis to circles, the profile (radius, height) to a rounded box."""
    x, y, z = cube.T
    radius = np.maximum(np.abs(x), np.abs(y))
    with np.errstate(invalid="ignore", divide="ignore"):
        along_x = np.pi / 4 * y / x + np.pi * (x < 0)
        along_y = np.pi / 2 - np.pi / 4 * x / y + np.pi * (y < 0)
    angle = np.where(radius == 0, 0.0, np.where(np.abs(x) >= np.abs(y), along_x, along_y))
    profile, normal = _rounded_box(np.stack([radius, z], 1))
    around = np.stack([np.cos(angle), np.sin(angle)], 1)
    return tuple(np.concatenate([part[:, :1] * around, part[:, 1:]], 1) for part in (profile, normal))  # type: ignore[return-value]
