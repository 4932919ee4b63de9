"""Probes and scores of disentanglement: representations whose scores are known, and each score by its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mmvae_bench.metrics.functional.representations import (
    _Sharing,
    factor_vae_score,
    higgins_score,
    linear_probe,
    mutual_information_gaps,
)

SIZES = (2, 3, 4, 5)
RANDOM = np.random.default_rng(0)
FACTORS = RANDOM.integers(0, SIZES, (3000, 4))
NOISE = RANDOM.normal(size=(3000, 4))
ROTATION = np.linalg.qr(RANDOM.normal(size=(4, 4)))[0]
FEW = {"num_train": 2000, "num_test": 1000}


def scores(codes: NDArray[Any]) -> tuple[float, float, float]:
    gaps = mutual_information_gaps(codes, FACTORS)
    return higgins_score(codes, FACTORS, seed=1, **FEW), factor_vae_score(codes, FACTORS, seed=1, **FEW), gaps.mean()


def test_factors_along_the_axes_score_one_and_more_than_rotated_ones_and_noise_scores_by_chance() -> None:
    axes = scores(FACTORS[:, [2, 0, 3, 1]] * np.array([3.0, -1.0, 0.2, 1.0]))
    assert axes[:2] == (1.0, 1.0)
    assert axes[2] == pytest.approx(1, abs=0.01)
    rotated = scores(FACTORS @ ROTATION)
    assert rotated[0] > 0.8
    assert rotated[1] < 0.9
    assert rotated[2] < 0.3
    noise = scores(NOISE)
    # Of 1,000 examples: within four standard errors of 1 / K.
    assert noise[0] == pytest.approx(0.25, abs=0.055)
    assert noise[1] == pytest.approx(0.25, abs=0.055)
    assert noise[2] == pytest.approx(0, abs=0.01)


def test_a_dimension_twice_has_no_gap_and_is_as_good_for_the_others() -> None:
    codes = np.concatenate([FACTORS, FACTORS], 1).astype(float)
    higgins, factor_vae, mig = scores(codes)
    assert (higgins, factor_vae, mig) == (1.0, 1.0, 0.0)


def test_the_gap_is_that_of_two_entropies() -> None:
    """One dimension tells the factor, another one whether it is 0: I = H(v), and the entropy of that bit."""
    factor = np.repeat([0, 1, 2, 3], [400, 300, 200, 100])
    codes = np.stack([factor, factor == 0, np.zeros(1000)], 1).astype(float)
    p = np.array([0.4, 0.3, 0.2, 0.1])
    entropy, told = -(p * np.log(p)).sum(), -(0.4 * np.log(0.4) + 0.6 * np.log(0.6))
    gaps = mutual_information_gaps(codes, np.stack([factor, np.zeros(1000, dtype=int)], 1))
    assert gaps[0] == pytest.approx((entropy - told) / entropy)
    assert np.isnan(gaps[1])
    (alone,) = mutual_information_gaps(codes[:, 1:2], factor[:, None])
    assert alone == pytest.approx(told / entropy)


def test_dimensions_that_hardly_vary_are_not_counted_by_factor_vae() -> None:
    """One that never varies would otherwise always vary least."""
    codes = np.concatenate([FACTORS.astype(float), np.zeros((3000, 1)), 0.04 * NOISE[:, :1]], 1)
    assert factor_vae_score(codes, FACTORS, seed=0, **FEW) == 1.0
    assert factor_vae_score(codes[:, 4:], FACTORS, seed=0, **FEW) == 0.0


def test_partners_share_the_value_and_are_drawn_from_all_that_do() -> None:
    values = np.array([5, 1, 5, 9, 5, 1])
    sharing, random = _Sharing(values), np.random.default_rng(0)
    rows = random.integers(6, size=6000)
    alike = sharing.draw(rows, random)
    assert (values[alike] == values[rows]).all()
    frequency = np.bincount(alike[values[rows] == 5], minlength=6) / (values[rows] == 5).sum()
    assert frequency[[0, 2, 4]] == pytest.approx(1 / 3, abs=0.04)
    partners = sharing.partner(rows, random)
    assert (values[partners] == values[rows]).all()
    assert (partners != rows)[rows != 3].all()
    assert (partners[rows == 3] == 3).all(), "9 has no other"
    for row, others in ((0, (2, 4)), (2, (0, 4)), (4, (0, 2))):
        frequency = np.bincount(partners[rows == row], minlength=6) / (rows == row).sum()
        assert frequency[list(others)] == pytest.approx(0.5, abs=0.065)


def test_noise_scores_by_chance_where_many_values_have_few_images_each() -> None:
    """An image compared with itself has no difference: that alone would tell factors with many values from others."""
    random = np.random.default_rng(4)
    factors, noise = random.integers(0, (3, 6, 40, 32, 32), (1500, 5)), random.normal(size=(1500, 10))
    # Of 4,000 examples: within four standard errors of 1 / K.
    assert higgins_score(noise, factors, seed=0, num_train=5000, num_test=4000) == pytest.approx(0.2, abs=0.026)


def test_a_probe_reads_what_is_there_and_no_more() -> None:
    train, test = slice(0, 2000), slice(2000, 3000)
    one_hot = np.concatenate([np.eye(size)[FACTORS[:, k]] for k, size in enumerate(SIZES)], 1)
    for k, size in enumerate(SIZES):
        truth = FACTORS[:, k]

        def accuracy(codes: NDArray[Any], truth: NDArray[Any] = truth) -> float:
            return float((linear_probe(codes[train], truth[train], codes[test]) == truth[test]).mean())

        assert accuracy(one_hot) == 1.0
        assert accuracy(NOISE) == pytest.approx(1 / size, abs=0.06)
        # Inputs are standardised: no scale hides them from the penalty.
        assert accuracy(1e-6 * one_hot + 100) == 1.0
    rare = (RANDOM.random(3000) < 0.1).astype(int)
    read = linear_probe(NOISE[train], rare[train], NOISE[test])
    assert (read == rare[test]).mean() == pytest.approx(1 - rare[test].mean(), abs=0.01)
    assert linear_probe(NOISE[:5], np.full(5, 3), NOISE[:2]).tolist() == [3, 3]
