from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats

from mmvae_bench.base import statistics
from mmvae_bench.base.statistics import bootstrap_interval, hierarchical_interval, paired_difference, slope

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
    monkeypatch.setattr("mmvae_bench.base.statistics._INDICES_AT_ONCE", 200)
    low, high = bootstrap_interval(scores(2), seed=0)
    assert (low, high) == pytest.approx(whole, abs=0.01)
    assert low < high


def test_too_little_to_resample() -> None:
    assert bootstrap_interval([0.5], seed=0) == (0.5, 0.5)
    nothing = [bootstrap_interval([], seed=0), bootstrap_interval([NAN, NAN], seed=0)]
    nothing += [hierarchical_interval([], seed=0), hierarchical_interval([[NAN], [NAN]], seed=0)]
    for low, high in nothing:
        assert math.isnan(low)
        assert math.isnan(high)
    assert all(math.isnan(each) for each in paired_difference([1.0, NAN], [NAN, 1.0], seed=0))


def hierarchical_by_loop(per_seed: list[np.ndarray], groups: list[int], num_resamples: int) -> np.ndarray:
    """Seeds and groups of queries drawn apart from each other, the groups once for all the seeds of a resample."""
    generator = np.random.default_rng(99)
    members = [[i for i, group in enumerate(groups) if group == each] for each in sorted(set(groups))]
    means = []
    for _ in range(num_resamples):
        queries = [i for each in generator.integers(len(members), size=len(members)) for i in members[each]]
        drawn = [per_seed[each] for each in generator.integers(len(per_seed), size=len(per_seed))]
        means.append(np.mean([np.nanmean(each[queries]) for each in drawn]))
    return np.array(means)


@pytest.mark.parametrize("grouped", [False, True])
def test_hierarchical_agrees_with_a_plain_loop(grouped: bool) -> None:
    groups = [i % 13 for i in range(30)] if grouped else list(range(30))
    shift = 0.3 * np.random.default_rng(5).standard_normal(13)[[i % 13 for i in range(30)]]
    per_seed = [scores(seed, 30) + shift + 0.1 * seed for seed in range(4)]
    per_seed[1][[2, 7]] = NAN
    means = hierarchical_by_loop(per_seed, groups, 8000)
    found = hierarchical_interval(
        per_seed, groups=groups if grouped else None, num_resamples=20_000, confidence=0.9, seed=0
    )
    # At the 5 % tail of 8,000 and 20,000 normal draws the standard errors add to 0.028 standard deviations.
    assert found == pytest.approx(np.quantile(means, [0.05, 0.95]).tolist(), abs=4 * 0.028 * means.std())


def coverage_of(draw: Callable[[np.random.Generator], tuple[tuple[float, float], float]], times: int = 400) -> float:
    """How often an interval holds the truth."""
    held = 0
    for each in range(times):
        (low, high), truth = draw(np.random.default_rng(each))
        held += low <= truth <= high
    return held / times


@pytest.mark.parametrize("num_seeds", [5, 10])
def test_more_seeds_do_not_hide_that_the_queries_are_the_same(num_seeds: int) -> None:
    """Query effects of .2, seed effects of .01: queries resampled for each seed apart held the truth half the time."""

    def draw(generator: np.random.Generator) -> tuple[tuple[float, float], float]:
        queries, seeds = 0.2 * generator.standard_normal(60), 0.01 * generator.standard_normal(num_seeds)
        return hierarchical_interval([queries + each for each in seeds], num_resamples=300, seed=1), 0.0

    assert 0.9 <= coverage_of(draw) <= 0.98


@pytest.mark.parametrize("grouped", [False, True])
def test_repeats_of_a_question_are_one_question(grouped: bool) -> None:
    """Forty concepts asked twice: resampled one by one the interval is too narrow by the square root of two."""
    groups = [i % 40 for i in range(80)]

    def draw(generator: np.random.Generator) -> tuple[tuple[float, float], float]:
        values = np.tile(generator.beta(6, 2, 40), 2)
        return bootstrap_interval(values, groups=groups if grouped else None, num_resamples=300, seed=1), 0.75

    found = coverage_of(draw)
    assert 0.9 <= found <= 0.98 if grouped else found < 0.88


def test_groups_are_one_number_a_query() -> None:
    with pytest.raises(ValueError, match=r"groups must have one number per query, got shape \(1,\) for 2 queries"):
        bootstrap_interval([0.0, 1.0], groups=[0], seed=0)
    with pytest.raises(ValueError, match=r"all seeds need the same queries, got \[2, 1\] scores"):
        hierarchical_interval([[0.0, 1.0], [0.0]], seed=0)


def test_hierarchical_with_one_seed_is_the_interval_over_queries_and_seeds_that_differ_widen_it() -> None:
    values = scores(4)
    low, high = hierarchical_interval([values], num_resamples=20_000, seed=0)
    assert (low, high) == pytest.approx(bootstrap_interval(values, num_resamples=20_000, seed=1), abs=2e-3)
    wide = hierarchical_interval([values - 0.3, values, values + 0.3], seed=0)
    assert wide[1] - wide[0] > 3 * (high - low)


def test_hierarchical_weighs_seeds_alike_and_skips_those_without_a_score() -> None:
    """Two seeds resample to means 0, 1/2, 1/2, 1: a quarter in each tail."""
    per_seed = [np.zeros(200), np.append(np.ones(199), NAN), np.full(200, NAN)]
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
    with pytest.raises(ValueError, match="num_resamples must be at least 1, got 0"):
        bootstrap_interval([1.0], num_resamples=0, seed=0)
    with pytest.raises(ValueError, match="confidence must be between 0 and 1, got 95"):
        hierarchical_interval([[1.0]], confidence=95, seed=0)
    with pytest.raises(ValueError, match="both sides of a pair need the same queries"):
        paired_difference([1.0, 2.0], [1.0], seed=0)
    with pytest.raises(ValueError, match="flat lists of equal length"):
        slope([1, 2, 3], [1.0, 2.0])


def test_a_draw_that_another_thread_forgets_at_once_is_still_given(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(dict[Any, Any]):
        """A memory that another thread clears whenever something was put into it."""

        def __setitem__(self, key: object, value: object) -> None:
            self.clear()

    expected = hierarchical_interval([[0.0, 1.0, 0.5], [1.0, 0.25, 0.0]], seed=0)
    monkeypatch.setattr(statistics, "_last_drawn", Forgetful())
    assert hierarchical_interval([[0.0, 1.0, 0.5], [1.0, 0.25, 0.0]], seed=0) == expected
