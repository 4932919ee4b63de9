"""CLEVR's camera as plain geometry: the directions that words mean, and the ray through each point of a frame.

A camera stands at c, looks at the origin and has z upwards. Frame coordinates are in [0, 1]: u from left to right, v
from top to bottom.

Shapes: N scene, P point.
"""

from __future__ import annotations

import math

import numpy as np

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
