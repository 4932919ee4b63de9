from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats

from mmvae_bench.statistics import bootstrap_interval, hierarchical_interval, paired_difference, slope

NAN = float("nan")


def scores(seed: int, size: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).beta(5, 2, size)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_agrees_with_scipy(confidence: float) -> None:
    values = scores(0)
    oracle = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=40_000, confidence_level=confidence, method="percentile", rng=1
    )
    low, high = bootstrap_interval(values, num_resamples=40_000, confidence=confidence, seed=2)
    # A quantile of 40,000 normal draws at the 2.5 % tail has a standard error of 0.013 standard deviations.
    tolerance = 4 * 0.02 * oracle.standard_error
    assert low == pytest.approx(oracle.confidence_interval.low, abs=tolerance)
    assert high == pytest.approx(oracle.confidence_interval.high, abs=tolerance)
    assert high - low > 10 * tolerance


def test_the_interval_of_three_queries_equals_the_enumeration_of_all_resamples() -> None:
    """All 27 resamples of three values: with many draws the quantiles are those of the exact distribution."""
    values = [0.0, 0.3, 1.0]
    means = [sum(each) / 3 for each in itertools.product(values, repeat=3)]
    expected = np.quantile(means, [0.1, 0.9], method="inverted_cdf")
    interval = bootstrap_interval(values, num_resamples=20_000, confidence=0.8, seed=0)
    assert interval == pytest.approx(tuple(expected), abs=1e-12)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    hits = 0
    for trial in range(300):
        low, high = bootstrap_interval(generator.normal(size=50), num_resamples=400, confidence=0.9, seed=trial)
        hits += low <= 0 <= high
    assert 0.83 < hits / 300 < 0.95  # 0.9 less a little for a percentile bootstrap of 50; standard error 0.017


def test_nan_is_left_out_wherever_it_stands() -> None:
    values = scores(1)
    holed = np.insert(values, [0, 7, 30, 60], NAN)
    assert bootstrap_interval(holed, seed=3) == bootstrap_interval(values, seed=3)


@pytest.mark.parametrize(
    "interval",
    [
        lambda seed: bootstrap_interval(scores(2), seed=seed),
        lambda seed: hierarchical_interval([scores(2), scores(3), scores(4)], seed=seed),
        lambda seed: paired_difference(scores(2), scores(3), seed=seed),
    ],
)
def test_the_seed_decides(interval: Callable[[int], tuple[float, ...]]) -> None:
    assert interval(0) == interval(0)
    assert interval(0) != interval(1)


def test_drawing_in_parts_is_drawing_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bootstrap_interval(scores(2), seed=0)
    monkeypatch.setattr("mmvae_bench.statistics._INDICES_AT_ONCE", 200)
    low, high = bootstrap_interval(scores(2), seed=0)
    assert (low, high) == pytest.approx(whole, abs=0.01)
    assert low < high


def test_too_little_to_resample() -> None:
    assert bootstrap_interval([0.5], seed=0) == (0.5, 0.5)
    nothing = [bootstrap_interval([], seed=0), bootstrap_interval([NAN, NAN], seed=0)]
    nothing += [hierarchical_interval([], seed=0), hierarchical_interval([[NAN], []], seed=0)]
    for low, high in nothing:
        assert math.isnan(low)
        assert math.isnan(high)
    assert all(math.isnan(each) for each in paired_difference([1.0, NAN], [NAN, 1.0], seed=0))


def hierarchical_by_loop(per_seed: list[np.ndarray], num_resamples: int) -> np.ndarray:
    generator = np.random.default_rng(99)
    means = []
    for _ in range(num_resamples):
        drawn = [per_seed[generator.integers(len(per_seed))] for _ in per_seed]
        means.append(np.mean([np.mean(generator.choice(each, len(each))) for each in drawn]))
    return np.array(means)


def test_hierarchical_agrees_with_a_plain_loop() -> None:
    per_seed = [scores(0, 30), scores(1, 50) - 0.2, scores(2, 40) + 0.1, scores(3, 20)]
    means = hierarchical_by_loop(per_seed, 8000)
    low, high = hierarchical_interval(per_seed, num_resamples=20_000, confidence=0.9, seed=0)
    # At the 5 % tail of 8,000 and 20,000 normal draws the standard errors add to 0.028 standard deviations.
    tolerance = 4 * 0.028 * means.std()
    assert low == pytest.approx(np.quantile(means, 0.05), abs=tolerance)
    assert high == pytest.approx(np.quantile(means, 0.95), abs=tolerance)


def test_hierarchical_variance_is_that_of_seeds_plus_that_of_queries() -> None:
    """The interval of n seeds is the square root of (variance between seeds + mean variance within / queries) / n."""
    per_seed = [scores(seed, 40) + 0.1 * seed for seed in range(6)]
    between = np.var([each.mean() for each in per_seed])
    within = np.mean([np.var(each) / 40 for each in per_seed])
    low, high = hierarchical_interval(per_seed, num_resamples=20_000, confidence=0.6827, seed=1)
    assert (high - low) / 2 == pytest.approx(math.sqrt((between + within) / 6), rel=0.04)


def test_hierarchical_with_one_seed_is_the_interval_over_queries_and_seeds_that_differ_widen_it() -> None:
    values = scores(4)
    low, high = hierarchical_interval([values], num_resamples=20_000, seed=0)
    assert (low, high) == pytest.approx(bootstrap_interval(values, num_resamples=20_000, seed=1), abs=2e-3)
    wide = hierarchical_interval([values - 0.3, values, values + 0.3], seed=0)
    assert wide[1] - wide[0] > 3 * (high - low)


def test_hierarchical_weighs_seeds_alike_and_skips_those_without_a_score() -> None:
    """Two seeds resample to means 0, 1/2, 1/2, 1: a quarter in each tail."""
    per_seed = [np.zeros(1000), np.ones(2), [NAN]]
    assert hierarchical_interval(per_seed, confidence=0.4, seed=0) == (0.5, 0.5)
    assert hierarchical_interval(per_seed, confidence=0.6, seed=0) == (0.0, 1.0)


def test_paired_difference_is_the_interval_of_the_differences() -> None:
    a, b = scores(6), scores(7)
    a[3], b[8] = NAN, NAN
    both = [i for i in range(60) if i not in (3, 8)]
    difference, low, high = paired_difference(a, b, confidence=0.9, seed=4)
    assert difference == pytest.approx(float(np.mean(a[both] - b[both])), abs=1e-15)
    assert (low, high) == bootstrap_interval(a[both] - b[both], confidence=0.9, seed=4)
    oracle = scipy.stats.bootstrap(
        (a[both], b[both]), lambda x, y, axis: (x - y).mean(axis), paired=True, method="percentile",
        confidence_level=0.9, n_resamples=20_000, rng=0,
    )  # fmt: skip
    assert low == pytest.approx(oracle.confidence_interval.low, abs=0.15 * oracle.standard_error)
    assert high == pytest.approx(oracle.confidence_interval.high, abs=0.15 * oracle.standard_error)


def test_pairing_sees_what_separate_intervals_hide() -> None:
    hard = scores(8)
    difference, low, high = paired_difference(hard + 0.02 + 0.01 * scores(9), hard, seed=0)
    assert 0 < low < difference < high
    separate = bootstrap_interval(hard, seed=0)
    assert separate[1] - separate[0] > 10 * (high - low)


@pytest.mark.parametrize("seed", range(3))
def test_slope_equals_linear_regression(seed: int) -> None:
    generator = np.random.default_rng(seed)
    steps = np.sort(generator.integers(0, 100_000, 12)).astype(float)
    values = -95.0 + 2e-5 * steps + generator.normal(size=12)
    oracle = scipy.stats.linregress(steps, values)
    assert slope(steps, values) == pytest.approx((oracle.slope, oracle.stderr), rel=1e-9)
    holed = np.insert(values, 4, NAN)
    assert slope(np.insert(steps, 4, 7.0), holed) == pytest.approx((oracle.slope, oracle.stderr), rel=1e-9)


def test_slope_of_too_few_points() -> None:
    assert all(math.isnan(each) for each in slope([], []))
    assert all(math.isnan(each) for each in slope([10, 10], [1.0, 2.0]))
    gradient, error = slope([0, 10], [1.0, 2.0])
    assert gradient == pytest.approx(0.1)
    assert math.isnan(error)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"values must be a flat list .* shape \(2, 2\)"):
        bootstrap_interval([[0.0, 1.0], [0.0, 1.0]], seed=0)
    with pytest.raises(ValueError, match=r"values_per_seed\[1\] must be a flat list"):
        hierarchical_interval([[0.0], [[1.0]]], seed=0)
    with pytest.raises(ValueError, match="num_resamples must be 1 or more, got 0"):
        bootstrap_interval([1.0], num_resamples=0, seed=0)
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1, got 95"):
        hierarchical_interval([[1.0]], confidence=95, seed=0)
    with pytest.raises(ValueError, match="same queries on both sides"):
        paired_difference([1.0, 2.0], [1.0], seed=0)
    with pytest.raises(ValueError, match="flat and of one length"):
        slope([1, 2, 3], [1.0, 2.0])
