"""Intervals that hold what they promise."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats

from mmvae_bench.base.statistics import (
    mean_interval,
    normal_p_value,
    pair_errors,
    paired_difference,
    seeds_interval,
    seeds_interval_of_means,
    trend,
    unpaired_errors,
)

NAN = float("nan")


def scores(seed: int, size: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).beta(5, 2, size)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_of_a_mean_is_students(confidence: float) -> None:
    values = scores(0)
    oracle = scipy.stats.ttest_1samp(values, 0).confidence_interval(confidence)
    assert mean_interval(values, confidence=confidence) == pytest.approx(tuple(oracle), rel=1e-12)


def test_groups_count_once() -> None:
    """Repeats of a concept add nothing: the interval is that of the concepts' means."""
    means = scores(1, 12)
    noise = np.random.default_rng(2).normal(size=(12, 5))
    noise -= noise.mean(1, keepdims=True)
    repeated = (means[:, None] + noise).ravel()
    groups = np.repeat(np.arange(12) * 7, 5)
    assert mean_interval(repeated, groups=groups) == pytest.approx(mean_interval(means), rel=1e-9)


def test_the_interval_of_right_answers_is_wilsons() -> None:
    values = np.repeat([1.0, 0.0], [1900, 100])
    oracle = scipy.stats.binomtest(1900, 2000).proportion_ci(0.95, method="wilson")
    # The quantile is that of t with 1,999 degrees of freedom: 0.06 % more than the normal one.
    assert mean_interval(values, fraction=True) == pytest.approx(tuple(oracle), abs=2e-5)


def test_twenty_right_answers_are_not_certain() -> None:
    low, high = mean_interval(np.ones(20), fraction=True)
    assert (low, high) == pytest.approx((1 / (1 + scipy.stats.t.ppf(0.975, 19) ** 2 / 20), 1.0))
    assert mean_interval(np.zeros(20), fraction=True) == pytest.approx((0.0, 1 - low))


def test_nan_is_left_out_wherever_it_stands() -> None:
    values = scores(1)
    holed = np.insert(values, [0, 7, 30, 60], NAN)
    assert mean_interval(holed, fraction=True) == pytest.approx(mean_interval(values, fraction=True), rel=1e-12)


@pytest.mark.parametrize("values", [[], [NAN], [0.5], [0.5, NAN]])
def test_one_query_says_nothing_about_its_spread(values: list[float]) -> None:
    assert all(math.isnan(end) for end in mean_interval(values))
    assert all(math.isnan(end) for end in mean_interval([0.1, 0.9], groups=[3, 3]))


def test_seeds_and_queries_are_put_together_as_in_a_crossed_analysis_of_variance() -> None:
    generator = np.random.default_rng(3)
    table = generator.normal(0, 2, (4, 1)) + generator.normal(0, 3, (1, 10)) + generator.normal(0, 1, (4, 10))
    seeds, queries, mean = table.mean(1), table.mean(0), table.mean()
    within = ((table - seeds[:, None] - queries + mean) ** 2).sum() / 27
    between = 10 * ((seeds - mean) ** 2).sum() / 3
    arm = math.hypot(
        scipy.stats.t.ppf(0.975, 3) * math.sqrt((between - within) / 40),
        scipy.stats.t.ppf(0.975, 9) * queries.std(ddof=1) / math.sqrt(10),
    )
    assert seeds_interval(list(table)) == pytest.approx((mean - arm, mean + arm), rel=1e-9)
    assert seeds_interval([*table, np.full(10, NAN)]) == pytest.approx((mean - arm, mean + arm), rel=1e-9)


def covered(draw: Callable[[np.random.Generator], list[np.ndarray]], truth: float, *, fraction: bool) -> float:
    generator = np.random.default_rng(7)
    hits = 0
    for _ in range(600):
        low, high = seeds_interval(draw(generator), fraction=fraction)
        hits += low <= truth <= high
    return hits / 600


@pytest.mark.parametrize("num_seeds", [1, 2, 3, 5])
@pytest.mark.parametrize(("num_queries", "spread"), [(12, 0.0), (24, 2.0), (240, 5.0)])
def test_an_interval_over_seeds_and_queries_holds_the_truth(num_seeds: int, num_queries: int, spread: float) -> None:
    """The bootstrap held it in 81, 85 and 92 % with 2, 3 and 5 seeds of standard deviation 2, and 62 to 86 % with 5."""
    spread = spread if num_seeds > 1 else 0.0

    def draw(generator: np.random.Generator) -> list[np.ndarray]:
        own, hard = generator.normal(0, spread, num_seeds), generator.normal(0, 5, num_queries)
        return [hard + each + generator.normal(0, 3, num_queries) for each in own]

    assert covered(draw, 0.0, fraction=False) > 0.93 - 0.02  # Standard error 0.009.


def own_intervals(table: list[np.ndarray]) -> list[tuple[float, float]]:
    return [mean_interval(each) for each in table]


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
@pytest.mark.parametrize(("num_queries", "spread"), [(12, 0.0), (240, 0.0), (24, 1.0), (240, 2.0)])
def test_an_interval_from_the_seeds_own_holds_the_truth(num_seeds: int, num_queries: int, spread: float) -> None:
    """Student's t over seeds alone held it in 87, 70 and 48 % with 2, 3 and 5 seeds that are alike."""
    generator = np.random.default_rng(7)
    hits = 0
    for _ in range(600):
        own, hard = generator.normal(0, spread, num_seeds), generator.normal(0, 5, num_queries)
        table = [hard + each + generator.normal(0, 3, num_queries) for each in own]
        low, high = seeds_interval_of_means([each.mean() for each in table], own_intervals(table))
        hits += low <= 0 <= high
    assert hits / 600 > 0.93 - 0.02  # Standard error 0.009.


def test_seeds_that_answer_alike_have_the_interval_of_one() -> None:
    values = scores(5)
    low, high = mean_interval(values, fraction=True)
    assert seeds_interval_of_means([values.mean()] * 3, [(low, high)] * 3) == pytest.approx((low, high), rel=1e-9)


def test_arms_over_seeds_and_queries_are_put_together_on_each_side() -> None:
    """With a hand calculation: seeds 0.96 and 1.0, t = 12.7062 and standard error 0.02."""
    low, high = seeds_interval_of_means([0.96, 1.0], [(0.90, 0.98), (0.94, 1.0)])
    arm = 12.706205 * 0.02
    assert (low, high) == pytest.approx((0.98 - math.hypot(arm, 0.06), 0.98 + math.hypot(arm, 0.01)), rel=1e-6)
    assert seeds_interval_of_means([0.96, 1.0], [(0.90, 0.98), (0.94, 1.0)], fraction=True) == pytest.approx((low, 1.0))
    # A seed whose own interval is not known takes no part in the arms over queries.
    assert seeds_interval_of_means([0.96, 1.0], [(0.90, 0.98), (NAN, NAN)]) == pytest.approx(
        (0.98 - math.hypot(arm, 0.06), 0.98 + math.hypot(arm, 0.02)), rel=1e-6
    )
    assert seeds_interval_of_means([0.96, 1.0], [(NAN, NAN)] * 2) == pytest.approx((0.98 - arm, 0.98 + arm), rel=1e-6)
    assert all(math.isnan(end) for end in seeds_interval_of_means([0.5], [(0.4, 0.6)]))


@pytest.mark.parametrize(
    ("num_groups", "rate", "concentration", "num_draws"),
    [(12, 0.7, 4, 10), (24, 0.9, 0.5, 10), (240, 0.99, 2, 10), (20, 0.95, 1e6, 1), (12, 0.95, 10, 10)],
)
def test_an_interval_of_fractions_holds_the_truth(
    num_groups: int, rate: float, concentration: float, num_draws: int
) -> None:
    """12 concepts held it in 90 %, 24 in 93 %, 20 images at a rate of 0.95 in 63 %."""

    def draw(generator: np.random.Generator) -> list[np.ndarray]:
        hard = generator.beta(rate * concentration, (1 - rate) * concentration, num_groups)
        return [generator.binomial(num_draws, hard) / num_draws]

    assert covered(draw, rate, fraction=True) > 0.93 - 0.02


def test_a_paired_difference_is_the_mean_of_differences() -> None:
    a, b = scores(2), scores(3)
    a[3] = b[8] = NAN
    both = ~np.isnan(a - b)
    found = paired_difference([a], [b], confidence=0.9)
    oracle = scipy.stats.ttest_rel(a[both], b[both])
    assert found.value == pytest.approx(np.mean(a[both] - b[both]))
    assert (found.low, found.high) == pytest.approx(tuple(oracle.confidence_interval(0.9)), rel=1e-9)
    assert found.p == pytest.approx(oracle.pvalue, rel=1e-9)
    assert all(math.isnan(each) for each in paired_difference([[1.0, NAN]], [[NAN, 1.0]]))


def test_the_p_value_over_seeds_is_where_the_interval_touches_zero() -> None:
    generator = np.random.default_rng(4)
    a = list(0.6 + generator.normal(0, 0.2, (3, 1)) + generator.normal(0, 1, (3, 30)))
    b = [np.zeros(30)] * 3
    p = paired_difference(a, b).p
    assert 1e-4 < p < 0.9
    found = paired_difference(a, b, confidence=1 - p)
    assert min(abs(found.low), abs(found.high)) == pytest.approx(0.0, abs=1e-6)
    assert paired_difference([[0.5, 0.5]] * 2, [[0.0, 0.0]] * 2).p == 0.0


def test_pairing_cancels_what_is_hard_for_both() -> None:
    hard = scores(8)
    found = paired_difference([hard + 0.02 + 0.01 * scores(9)], [hard])
    low, high = mean_interval(hard)
    assert found.low > 0
    assert found.high - found.low < 0.2 * (high - low)


def test_errors_of_pairs_are_those_of_their_differences() -> None:
    one, other = [scores(1, 24), scores(2, 24)], [scores(3, 24), scores(4, 24)]
    groups = np.repeat(np.arange(8), 3)
    difference = np.mean(one, 0) - np.mean(other, 0)
    per_group = difference.reshape(8, 3).mean(1)
    errors = pair_errors([one, other], groups=groups)
    assert errors[0, 1] == pytest.approx((scipy.stats.sem(per_group), 7))
    assert errors[1, 0] == pytest.approx(errors[0, 1])
    assert errors[0, 0, 0] == 0
    assert np.isnan(pair_errors([one, other], groups=np.zeros(24))).all()


def test_errors_without_scores_per_query_are_those_of_pairs_that_have_nothing_in_common() -> None:
    """Exactly so where deviations are orthogonal; larger where what is hard for one is hard for the other too."""
    one, other = np.array([3.0, -3.0, 1.0, -1.0]) + 5, np.array([1.0, 1.0, -1.0, -1.0]) + 7
    errors, paired = unpaired_errors(arms_of(one, other), [4, 4]), pair_errors([[one], [other]])
    assert errors[0, 1] == pytest.approx(paired[0, 1], rel=1e-9)
    assert errors[1, 0] == pytest.approx(errors[0, 1])
    hard = np.array([4.0, -4.0, 2.0, -2.0])
    larger = unpaired_errors(arms_of(one + hard, other + hard), [4, 4])
    assert larger[0, 1, 0] > pair_errors([[one + hard], [other + hard]])[0, 1, 0] + 1
    unknown = unpaired_errors([[0.1, NAN], [0.1], [0.1], [], [NAN]], [4, 30, 9, 0, 7])
    assert np.isfinite(unknown[:3, :3]).all()
    assert unknown[1, 2, 1] == 8
    assert unknown[0, 0, 0] == pytest.approx(math.sqrt(2) * 0.1 / scipy.stats.t.ppf(0.975, 3))
    assert np.isnan(unknown[3:]).all()


def test_errors_of_differences_with_groups_are_those_of_leaving_out_each_group() -> None:
    """The jackknife over concepts, which knows nothing of influences: exact for means where groups are of one size."""
    groups = np.tile(np.arange(9), 4)[np.random.default_rng(0).permutation(36)]
    one, other = ([scores(place, 36) + 2 * scores(place, 9)[groups] for place in seeds] for seeds in ((1, 2), (3, 4)))

    def left_out(values: np.ndarray) -> float:
        means = np.array([values[groups != group].mean() for group in range(9)])
        return math.sqrt(8 / 9 * ((means - means.mean()) ** 2).sum())

    difference = np.mean(one, 0) - np.mean(other, 0)
    assert pair_errors([one, other], groups=groups)[0, 1] == pytest.approx((left_out(difference), 8), rel=1e-9)
    single = paired_difference(one[:1], other[:1], groups=groups)
    arm = scipy.stats.t.ppf(0.975, 8) * left_out(one[0] - other[0])
    assert (single.high - single.value, single.value - single.low) == pytest.approx((arm, arm), rel=1e-9)
    assert single.p == pytest.approx(2 * scipy.stats.t.sf(abs(single.value) / left_out(one[0] - other[0]), 8), rel=1e-6)
    arms = [[mean_interval(each, groups=groups)[1] - each.mean() for each in seeds] for seeds in (one, other)]
    expected = math.hypot(*(np.mean([left_out(each) for each in seeds]) for seeds in (one, other)))
    assert unpaired_errors(arms, [9, 9])[0, 1] == pytest.approx((expected, 8), rel=1e-9)
    assert unpaired_errors(arms, [36, 36])[0, 1, 0] > expected * 1.1, "the quantile is that of the groups"


def test_errors_of_differences_with_groups_of_unequal_sizes_are_robust_to_clusters() -> None:
    """The sandwich of a regression on a constant, with its correction G / (G - 1), in loops; gaps are left out."""
    groups = np.repeat(np.arange(7), [1, 5, 2, 3, 1, 4, 2])
    one, other = scores(5, 18) + 2 * scores(5, 7)[groups], scores(6, 18)
    one[4] = other[4] = NAN
    difference, known = one - other, ~np.isnan(one)
    mean, squares = float(np.nanmean(difference)), 0.0
    for group in range(7):
        squares += sum(float(difference[i]) - mean for i in range(18) if groups[i] == group and known[i]) ** 2
    error = math.sqrt(7 / 6 * squares) / known.sum()
    assert pair_errors([[one], [other]], groups=groups)[0, 1] == pytest.approx((error, 6), rel=1e-9)
    found = paired_difference([one], [other], groups=groups)
    assert (found.high - found.low) / 2 == pytest.approx(scipy.stats.t.ppf(0.975, 6) * error, rel=1e-9)


def test_errors_that_know_of_groups_hold_the_truth_and_others_do_not() -> None:
    """Concepts asked three times, which one objective likes and the other does not; nothing is hard for both."""
    generator, groups = np.random.default_rng(11), np.repeat(np.arange(12), 3)
    held = np.zeros((2, 2))
    for _ in range(400):
        pair = [np.repeat(generator.normal(0, 2, 12), 3) + generator.normal(size=36) for _ in range(2)]
        away = abs(float(pair[0].mean() - pair[1].mean()))
        for place, known in enumerate((groups, None)):
            arms = [[mean_interval(each, groups=known)[1] - float(each.mean())] for each in pair]
            number = 36 if known is None else 12
            for kind, found in enumerate((pair_errors([pair[:1], pair[1:]], groups=known),
                                          unpaired_errors(arms, [number, number]))):  # fmt: skip
                error, degrees = found[0, 1]
                held[kind, place] += away <= scipy.stats.t.ppf(0.975, degrees) * error
    assert (held[:, 0] / 400 > 0.93).all()
    assert (held[:, 1] / 400 < 0.85).all()


def arms_of(*scores: np.ndarray) -> list[list[float]]:
    return [[mean_interval(each)[1] - float(each.mean())] for each in scores]


def test_the_p_value_of_two_separate_intervals() -> None:
    for sign in (1, -1):
        assert normal_p_value(sign * 1.0, *sorted((sign * 0.0, sign * 2.5))) == pytest.approx(0.05, abs=1e-6)
    assert normal_p_value(2.0, 1.0, 3.0) == pytest.approx(2 * scipy.stats.norm.sf(2 * 1.959964), rel=1e-6)
    assert math.isnan(normal_p_value(1.0, NAN, NAN))


def test_the_slope_agrees_with_scipy() -> None:
    steps = np.arange(0, 1000, 100.0)
    # Residuals that alternate have a negative correlation, which is taken to be none.
    values = 3 + 0.02 * steps + 0.5 * (-1.0) ** np.arange(10)
    oracle = scipy.stats.linregress(steps, values)
    found = trend(steps, values)
    assert (found.slope, found.standard_error) == pytest.approx((oracle.slope, oracle.stderr), rel=1e-9)
    arm = scipy.stats.t.ppf(0.975, 8) * oracle.stderr
    assert (found.low, found.high) == pytest.approx((oracle.slope - arm, oracle.slope + arm), rel=1e-9)
    holed = np.insert(values, 4, NAN)
    assert trend(np.insert(steps, 4, 7.0), holed) == pytest.approx(found, rel=1e-9)


def test_a_slope_of_too_few_points() -> None:
    assert all(math.isnan(each) for each in trend([], []))
    assert all(math.isnan(each) for each in trend([10, 10], [1.0, 2.0]))
    found = trend([0, 10], [1.0, 2.0])
    assert found.slope == pytest.approx(0.1)
    assert math.isnan(found.standard_error)


@pytest.mark.parametrize(("correlation", "most"), [(0.0, 0.05), (0.5, 0.10), (0.8, 0.15)])
@pytest.mark.parametrize("num", [3, 5, 7, 17])
def test_noise_rarely_has_a_trend(correlation: float, most: float, num: int) -> None:
    """Two standard errors called a trend in 9 to 29 % of independent, 28 to 41 % of correlated noise."""
    generator = np.random.default_rng(15)
    claims = 0
    for _ in range(500):
        noise = np.zeros(num + 40)
        for place, each in enumerate(generator.normal(size=num + 39), 1):
            noise[place] = correlation * noise[place - 1] + each
        found = trend(np.arange(num), noise[40:])
        claims += found.low > 0 or found.high < 0
    assert claims / 500 <= most + 0.03


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([[0.0, 1.0], [0.0, 1.0]]), "flat list"),
        (lambda: seeds_interval([[0.0], [[1.0]]]), "flat list"),
        (lambda: seeds_interval([[0.0, 1.0], [0.0]]), "same queries"),
        (lambda: mean_interval([0.0, 1.0], groups=[0]), "one number per query"),
        (lambda: mean_interval([0.5, 1.5], fraction=True), r"in \[0, 1\]"),
        (lambda: mean_interval([1.0, 2.0], confidence=95), "confidence"),
        (lambda: paired_difference([[1.0, 2.0]], [[1.0]]), "same queries"),
        (lambda: seeds_interval_of_means([1.0, 2.0], [(0.0, 3.0)]), "one interval, got 2 values and 1"),
        (lambda: trend([1, 2, 3], [1.0, 2.0]), "equal length"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
