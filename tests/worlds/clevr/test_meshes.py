"""Meshes against the volumes and the definitions of their shapes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmvae_bench.worlds.clevr.renderer import BEVEL, faces, unit_mesh

VOLUMES = {"cube": 8.0, "sphere": 4 * math.pi / 3, "cylinder": 2 * math.pi}


@pytest.mark.parametrize("shape", VOLUMES)
def test_closed_outward_and_of_the_right_volume(shape: str) -> None:
    points, normals = unit_mesh(shape)
    corners = points[faces()]
    # The divergence theorem: right only where every triangle faces outwards and none is missing.
    volume = np.einsum("fk,fk->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert volume == pytest.approx(VOLUMES[shape], rel=0.01)
    np.testing.assert_allclose(points.max(0), 1, atol=1e-12)
    np.testing.assert_allclose(points.min(0), -1, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-12)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    large = np.linalg.norm(across, axis=1) > 1e-4
    cosines = np.einsum("fk,fvk->fv", across, normals[faces()]) / np.linalg.norm(across, axis=1, keepdims=True)
    assert cosines[large].min() > 0.95


def test_flat_faces_are_flat_and_edges_round() -> None:
    points, normals = unit_mesh("cube")
    top = (points[:, 2] == 1) & (np.abs(points[:, :2]) < 1 - BEVEL).all(1)
    np.testing.assert_allclose(normals[top], np.tile([0.0, 0.0, 1.0], (top.sum(), 1)), atol=1e-12)
    core = points.clip(BEVEL - 1, 1 - BEVEL)
    np.testing.assert_allclose(np.linalg.norm(points - core, axis=1), BEVEL, atol=1e-12)
    points, normals = unit_mesh("cylinder")
    side = np.abs(points[:, 2]) < 1 - BEVEL
    np.testing.assert_allclose(np.hypot(*points[side, :2].T), 1, atol=1e-12)
    np.testing.assert_allclose(normals[side, :2], points[side, :2], atol=1e-12)


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="cone"):
        unit_mesh("cone")
