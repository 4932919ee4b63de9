"""Silhouettes against rays that are marched in small steps through points inside or outside of each shape."""

from __future__ import annotations

import numpy as np
import pytest

from mmvae_bench.specs.built_in.datasets import SHAPES
from mmvae_bench.worlds.clevr.camera import CUBE, CYLINDER, SPHERE, Solids, axes, masks, num_visible, project, rays
from mmvae_bench.worlds.clevr.scene import Scenes, sample_pairs


def inside(solids: Solids, number: int, points: np.ndarray) -> np.ndarray:
    """Whether points lie in a shape: the definition of a cube, a ball, a cylinder."""
    offset = (points - solids.center[number]) / solids.half_extent[number]
    turn = solids.turn[number]
    x = np.cos(turn) * offset[..., 0] + np.sin(turn) * offset[..., 1]
    y = np.cos(turn) * offset[..., 1] - np.sin(turn) * offset[..., 0]
    z = offset[..., 2]
    return {
        "cube": (np.abs(x) < 1) & (np.abs(y) < 1) & (np.abs(z) < 1),
        "sphere": x * x + y * y + z * z < 1,
        "cylinder": (x * x + y * y < 1) & (np.abs(z) < 1),
    }[SHAPES[solids.shape[number]]]


def marched(solids: Solids, width: int, height: int) -> np.ndarray:
    """Integer[height, width]: the object first met, -1 for none; pinhole camera written out as a matrix."""
    forward = -solids.camera / np.linalg.norm(solids.camera)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(right, forward), forward], 1)
    focal = width / 2 / np.tan(np.radians(49.134 / 2))
    x, y = np.meshgrid(np.arange(width) + 0.5 - width / 2, height / 2 - 0.5 - np.arange(height))
    directions = np.stack([x / focal, y / focal, np.ones_like(x)], -1) @ rotation.T
    seen = np.full((height, width), -1)
    for depth in np.arange(5, 16, 0.02):
        points = solids.camera + depth * directions
        for number in range(len(solids.shape)):
            seen[(seen < 0) & inside(solids, number, points)] = number
    return seen


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return sample_pairs(3, np.arange(400))


def test_shapes_are_numbered_as_in_the_schema() -> None:
    assert (SHAPES[CUBE], SHAPES[SPHERE], SHAPES[CYLINDER]) == ("cube", "sphere", "cylinder")


def test_counts_agree_with_marched_rays(scenes: Scenes) -> None:
    width, height = 48, 36
    overlapping = [row for row in range(400) if hides(scenes.solids(row))][:4]
    for row in [0, 1, 2, *overlapping]:
        solids = scenes.solids(row)
        expected = marched(solids, width, height)
        # Steps of 0.02 miss rays that graze an edge: a pixel or two.
        counts = [(expected == number).sum() for number in range(2)]
        np.testing.assert_allclose(num_visible(solids, width, height), counts, atol=2)
    assert len(overlapping) == 4


def hides(solids: Solids) -> bool:
    """Whether either object loses pixels by the other."""
    both = num_visible(solids, 160, 120)
    alone = [
        num_visible(Solids(*(part[[number]] for part in parts(solids)), solids.camera), 160, 120)[0]
        for number in range(2)
    ]
    return bool((both < alone).any())


def parts(solids: Solids) -> list[np.ndarray]:
    return [solids.shape, solids.center, solids.half_extent, solids.turn]


def test_every_object_shows_200_pixels_and_the_rule_binds(scenes: Scenes) -> None:
    counts = np.array([num_visible(scenes.solids(row), 320, 240) for row in range(len(scenes))])
    assert counts.min() >= 200
    assert counts.min() < 260


def test_masks_are_disjoint_and_centred_on_what_they_show(scenes: Scenes) -> None:
    canvas, aspect, num = 112, 150 / 112, 0
    for row in range(60):
        solids = scenes.solids(row)
        seen = masks(solids, canvas, aspect=aspect)
        assert not (seen[0] & seen[1]).any()
        u, v = project(solids.camera, solids.center, aspect=aspect)
        for number in range(2):
            ys, xs = seen[number].nonzero()
            at_edge = min(xs.min(), ys.min()) == 0 or max(xs.max(), ys.max()) == canvas - 1
            if not at_edge and not hides(solids):
                found = (xs.mean() + 0.5, ys.mean() + 0.5)
                assert found == pytest.approx((u[number] * canvas, v[number] * canvas), abs=1.5)
                num += 1
    assert num > 60


def test_project_is_the_inverse_of_rays(scenes: Scenes) -> None:
    u, v = np.array([0.1, 0.5, 0.93]), np.array([0.8, 0.5, 0.07])
    for camera in scenes.camera[:5]:
        points = camera + rays(camera, u, v, aspect=1.3) * np.array([[3.0], [7.0], [11.0]])
        np.testing.assert_allclose(project(camera, points, aspect=1.3), (u, v), atol=1e-12)
        frame = np.stack(axes(camera))
        np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(np.cross(frame[1], frame[2]), -frame[0], atol=1e-12)
