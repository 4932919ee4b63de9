"""Spearman's rank correlation against scipy, and what its bootstrap covers."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from scipy.stats import bootstrap, spearmanr

from mmvae_bench.base.ranks import rank_correlation


@pytest.mark.parametrize("seed", range(6))
def test_equals_scipy_with_and_without_ties(seed: int) -> None:
    random = np.random.default_rng(seed)
    first, second = random.normal(size=13), random.integers(4, size=13)
    second[0] += 9  # never all tied
    found = rank_correlation(first, second, seed=0)
    assert found.value == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)
    assert found.number == 13


def test_the_interval_is_that_of_scipys_bootstrap() -> None:
    random = np.random.default_rng(0)
    first = random.normal(size=15)
    second = -first + random.normal(size=15)
    theirs = bootstrap(
        (first, second), lambda a, b: spearmanr(a, b).statistic, n_resamples=1000, paired=True, vectorized=False,
        method="percentile", rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    found = rank_correlation(first, second, seed=3)
    assert found.low == pytest.approx(theirs.low, abs=0.05)
    assert found.high == pytest.approx(theirs.high, abs=0.07)
    assert found.low < found.value < found.high
    assert found == rank_correlation(first, second, seed=3) != rank_correlation(first, second, seed=4)


def test_only_the_order_counts_and_gaps_are_left_out() -> None:
    first = [1.0, 2.0, 3.0, 4.0, 5.0, math.nan]
    found = rank_correlation(first, [-math.exp(value) for value in first], seed=0)
    assert (found.value, found.number) == (pytest.approx(-1), 5)
    assert (found.low, found.high) == (pytest.approx(-1), pytest.approx(-1))


@pytest.mark.parametrize("second", [[1.0, 2.0, 3.0], [2.0, 2.0, 2.0, 2.0, 2.0]])
def test_where_there_is_none(second: list[float]) -> None:
    found = rank_correlation(range(len(second)), second, seed=0)
    assert math.isnan(found.value)
    assert math.isnan(found.low)
    assert found.number == len(second)


def test_many_things_need_little_memory() -> None:
    """A sweep has hundreds of objectives: comparing each with each in every resample would take gigabytes."""
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, 100))
    tracemalloc.start()
    try:
        rank_correlation(first, second, seed=0)
        assert tracemalloc.get_traced_memory()[1] < 80e6
    finally:
        tracemalloc.stop()
