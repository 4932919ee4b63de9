"""The drawn numbers against the distributions of PROTOCOL, computed by scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from mmvae_bench.worlds.mnist_a import Geometry, draw_geometry, location_range

NUM = 60_000


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return draw_geometry(torch.arange(NUM) // 10, torch.arange(NUM) % 10, seed=0)


def test_attributes_are_uniform_and_independent(geometry: Geometry) -> None:
    scale, orientation, location = geometry.concept.unbind(1)
    counts = (scale * 12 + orientation * 4 + location).bincount(minlength=24)
    assert scipy.stats.chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize(("value", "mean"), [(0, 0.9), (1, 0.6)])
def test_scale_is_a_truncated_normal(geometry: Geometry, value: int, mean: float) -> None:
    drawn = geometry.scale[geometry.concept[:, 0] == value].numpy()
    expected = scipy.stats.truncnorm((0.4 - mean) / 0.1, (1.0 - mean) / 0.1, mean, 0.1)
    assert scipy.stats.kstest(drawn, expected.cdf).pvalue > 1e-3
    assert drawn.min() >= 0.4
    assert drawn.max() <= 1.0


@pytest.mark.parametrize(("value", "mean"), [(0, -45), (2, 45)])
def test_rotation_is_a_truncated_normal(geometry: Geometry, value: int, mean: float) -> None:
    drawn = geometry.rotation[geometry.concept[:, 1] == value].numpy()
    expected = scipy.stats.truncnorm((-90 - mean) / 10, (90 - mean) / 10, mean, 10)
    assert scipy.stats.kstest(drawn, expected.cdf).pvalue > 1e-3


def test_upright_is_not_rotated_at_all(geometry: Geometry) -> None:
    assert (geometry.rotation[geometry.concept[:, 1] == 1] == 0).all()


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("far", [False, True])
def test_location_has_the_exact_probabilities_of_rejection(geometry: Geometry, axis: int, far: bool) -> None:
    """int(N(12 or 52, 4)) given the box rule: the probability of every whole coordinate, side by side."""
    is_far = geometry.concept[:, 2] % 2 == 1 if axis == 0 else geometry.concept[:, 2] >= 2
    chosen = is_far == far
    center, side = geometry.center[chosen, axis].numpy(), geometry.side[chosen].numpy()
    mean, values = 52 if far else 12, np.arange(65)
    expected = np.zeros(65)
    for one_side, number in zip(*np.unique(side, return_counts=True), strict=True):
        half = one_side // 2 + 1
        allowed = (values - half >= 1) & (values + half <= 64)
        # Truncation to int is floor here: no allowed coordinate is below 2.
        probability = allowed * (scipy.stats.norm.cdf(values + 1, mean, 4) - scipy.stats.norm.cdf(values, mean, 4))
        expected += number * probability / probability.sum()
    observed = np.bincount(center, minlength=65)
    assert observed[expected == 0].sum() == 0
    often = expected > 10
    pooled_observed, pooled_expected = (np.append(x[often], x[~often].sum()) for x in (observed, expected))
    assert scipy.stats.chisquare(pooled_observed, pooled_expected).pvalue > 1e-3


def test_location_agrees_with_plain_rejection(geometry: Geometry) -> None:
    """A small box upright at the top left, where the published loop is quick enough to run."""
    chosen = (geometry.side == 16) & (geometry.concept[:, 2] == 0)
    drawn = geometry.center[chosen, 0].numpy()
    tried = np.trunc(np.random.default_rng(0).normal(12, 4, 200_000)).astype(int)
    kept = tried[(tried - 9 >= 1) & (tried + 9 <= 64)]
    assert len(drawn) > 400
    assert abs(drawn.mean() - kept.mean()) < 4 * kept.std() / len(drawn) ** 0.5
    assert drawn.min() == kept.min() == 10


def test_coordinates_are_independent_given_the_box(geometry: Geometry) -> None:
    chosen = (geometry.side == 16) & (geometry.concept[:, 2] == 3)
    x, y = geometry.center[chosen].double().unbind(1)
    assert abs(torch.corrcoef(torch.stack([x, y]))[0, 1]) < 4 / len(x) ** 0.5


@pytest.mark.parametrize("seed", [0, 1])
def test_the_box_never_leaves_the_canvas(seed: int) -> None:
    geometry = draw_geometry(torch.arange(200_000), torch.zeros(200_000, dtype=torch.long), seed=seed)
    half = geometry.side[:, None] // 2 + 1
    assert (geometry.center - half >= 1).all()
    assert (geometry.center + half <= 64).all()
    assert (geometry.corner + geometry.side[:, None] <= 64).all()
    assert geometry.side.max() <= 40
    low, high = location_range(torch.arange(1, 41))
    assert (low <= high).all()


def test_numbers_do_not_depend_on_the_batch(geometry: Geometry) -> None:
    order = torch.randperm(NUM, generator=torch.Generator().manual_seed(0))[:257]
    for rows in (order, *order.split(1)[:40], *order.split(64)):
        again = draw_geometry(rows // 10, rows % 10, seed=0)
        for name in ("concept", "scale", "rotation", "full_side", "side", "center", "key"):
            assert torch.equal(getattr(again, name), getattr(geometry, name)[rows]), name


def test_seeds_make_different_pictures(geometry: Geometry) -> None:
    other = draw_geometry(torch.arange(1000) // 10, torch.arange(1000) % 10, seed=1)
    assert not (other.scale == geometry.scale[:1000]).any()
    assert not (other.key == geometry.key[:1000]).any()
