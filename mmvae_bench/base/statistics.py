"""Intervals, paired differences and trends: how far a number can be trusted. numpy, and quantiles of scipy.

Scores are one number per query, nan where a query has no score; queries without a score are left out. Repeats of one
concept are not independent queries: they fail together. ``groups`` says which queries belong together; without it every
query is a group of its own. ``docs/statistics.md`` has the simulations behind every choice made here.

What is random: the queries, drawn from all that could have been asked, and the training seeds. With one seed an
interval is about one trained model; with several it is about the objective.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

# What moved to a file of its own can still be imported from here.
from .multiple_comparisons import _factor as _factor
from .multiple_comparisons import _mean_variances as _mean_variances
from .multiple_comparisons import holm as holm
from .multiple_comparisons import told_apart as told_apart

Scores = NDArray[np.float64]
Interval = tuple[float, float]

_UNKNOWN: Interval = (math.nan, math.nan)
_LEAST_DEGREES = 2.0
"""A spread seen in the scores of very few groups is trusted like that of three values."""
_MOST_ANSWERS = 6.0
"""A group counts for at most this many independent answers: where few differ, their spread may be understated."""
_ROUNDING = 1e-6


class Difference(NamedTuple):
    """A mean difference, its interval, and the two-sided p-value of its being zero; all nan if there is none."""

    value: float
    low: float
    high: float
    p: float


class Trend(NamedTuple):
    """A least-squares line: its slope in units of the values per step, the standard error, and the interval."""

    slope: float
    standard_error: float
    low: float
    high: float


def mean_interval(
    values: ArrayLike, *, groups: ArrayLike | None = None, fraction: bool = False, confidence: float = 0.95
) -> Interval:
    """The interval of the mean over queries, of which these are a sample.

    Student's t with the variance between groups. For fractions Wilson's score interval with the number of independent
    answers m (1 - m) / v, where m is the mean and v its estimated variance, and a t quantile (Korn and Graubard 1998
    for survey proportions): the variance of a fraction shrinks towards 0 and 1, so an interval near them is lopsided,
    and is not empty where all answers are right. The degrees of freedom are 2 / Var(log of that number), by the
    jackknife (Satterthwaite), since a few groups may be all that is known of the spread. No group counts for more than
    six answers.

    Args:
        values: One score per query; nan is left out.
        groups: The group number of each query; None: each query is its own group.
        fraction: Whether each score is a fraction of answers that are right, in [0, 1].
        confidence: Probability inside the interval, between 0 and 1.

    Returns:
        (low, high); (nan, nan) if fewer than two groups have a score.

    Raises:
        ValueError: if the values or the groups are not a flat list, a fraction is outside [0, 1], or ``confidence`` is
            out of range.

    >>> [round(end, 3) for end in mean_interval([0.0, 1.0, 2.0])]
    [-1.484, 3.484]
    >>> [round(end, 3) for end in mean_interval([1.0] * 20, fraction=True)]
    [0.82, 1.0]
    """
    return seeds_interval([values], groups=groups, fraction=fraction, confidence=confidence)


def seeds_interval(
    values_per_seed: Sequence[ArrayLike],
    *,
    groups: ArrayLike | None = None,
    fraction: bool = False,
    confidence: float = 0.95,
) -> Interval:
    """The interval of the mean over training seeds that are scored on the same queries, for other seeds and queries.

    Seeds and queries are crossed: a query that is hard is hard for every seed. The interval of :func:`mean_interval`
    for the mean over seeds of each query, and Student's t for the mean over queries of each seed, less the part of
    their variance that the queries explain already, are put together in quadrature (MOVER, Zou and Donner 2008). With
    two seeds the quantile is 12.7: two seeds say little.

    Args:
        values_per_seed: For each training seed one score per query, the same queries in the same order; nan is left
            out, and so is a seed without any score. With one seed it says nothing about other seeds.
        groups: The group number of each query; None: each query is its own group.
        fraction: Whether each score is a fraction of answers that are right, in [0, 1].
        confidence: Probability inside the interval, between 0 and 1.

    Returns:
        (low, high); (nan, nan) if fewer than two groups have a score.

    Raises:
        ValueError: as :func:`mean_interval`, or if the seeds differ in their number of queries.

    >>> low, high = seeds_interval([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    >>> round(low, 3), round(high, 3)
    (-1.484, 3.484)
    """
    scores = _scored(values_per_seed, fraction)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    if not scores:
        return _UNKNOWN
    sums, counts = _grouped(scores, groups)
    num_seeds, num_groups = sums.shape
    if num_groups < 2:
        return _UNKNOWN
    upper = (1 + confidence) / 2
    means = sums.sum(1) / counts.sum(1)
    mean = float(means.mean())
    below, above = _arms_over_groups(sums.mean(0), counts.mean(0), upper, fraction=fraction)
    if num_seeds > 1:
        arm = float(stdtrit(num_seeds - 1, upper)) * _error_over_seeds(sums, counts)
        below, above = math.hypot(below, arm), math.hypot(above, arm)
    low, high = mean - below, mean + above
    return (max(low, 0.0), min(high, 1.0)) if fraction else (low, high)


def seeds_interval_of_means(
    values: ArrayLike, intervals: Sequence[Interval], *, fraction: bool = False, confidence: float = 0.95
) -> Interval:
    """:func:`seeds_interval` where the scores per query are not known, only the interval of each seed over its queries.

    How alike the seeds answer is not known either. The error over queries of their mean is at most the mean of their
    errors, reached where a query that is hard for one is as hard for all. So the mean arms of the seeds' own intervals
    and Student's t over seeds, nothing taken off it, are put together in quadrature: of nats an interval that is too
    wide rather than too narrow. Wilson's arms are no standard errors: of shares over few concepts it may be narrower
    than from the scores per query.

    Args:
        values: The mean over queries of each training seed.
        intervals: (low, high) of each over queries, of the same confidence; nan: unknown, left out of the mean arms.
        fraction: Whether the ends are cut off at 0 and 1.
        confidence: Probability inside the interval, between 0 and 1.

    Returns:
        (low, high); (nan, nan) with fewer than two seeds.

    Raises:
        ValueError: if there is not one interval per value, or ``confidence`` is out of range.

    >>> low, high = seeds_interval_of_means([0.4, 0.5, 0.6], [(0.3, 0.5), (0.4, 0.6), (0.5, 0.7)])
    >>> round(low, 3), round(high, 3)
    (0.232, 0.768)
    """
    means, ends = _flat(values, "values"), np.asarray(intervals, dtype=np.float64).reshape(-1, 2)
    if len(means) != len(ends):
        raise ValueError(f"every seed needs one interval, got {len(means)} values and {len(ends)} intervals")
    low, high = mean_interval(means, confidence=confidence)
    if len(means) < 2:
        return _UNKNOWN
    known = ~np.isnan(ends).any(1)
    if known.any():
        mean = float(means.mean())
        below, above = (float(np.abs(means[known] - ends[known, side]).mean()) for side in (0, 1))
        low, high = mean - math.hypot(mean - low, below), mean + math.hypot(high - mean, above)
    return (max(low, 0.0), min(high, 1.0)) if fraction else (low, high)


def paired_difference(
    a: Sequence[ArrayLike], b: Sequence[ArrayLike], *, groups: ArrayLike | None = None, confidence: float = 0.95
) -> Difference:
    """The mean difference a - b over what is scored in both, query by query and seed by seed, with its interval.

    What makes a query hard is common to both and cancels, so the interval is narrower than two separate ones suggest.

    Args:
        a: For each training seed one score per query; nan if there is none.
        b: The other scores of the same seeds and queries, in the same order.
        groups: The group number of each query; None: each query is its own group.
        confidence: Probability inside the interval, between 0 and 1.

    Raises:
        ValueError: if the two differ in shape, or as :func:`seeds_interval`.

    >>> paired_difference([[0.5, 0.75, 1.0]], [[0.25, 0.5, 0.75]])
    Difference(value=0.25, low=0.25, high=0.25, p=0.0)
    """
    first, second = ([_flat(values, name) for values in given] for name, given in (("a", a), ("b", b)))
    if [values.shape for values in first] != [values.shape for values in second]:
        raise ValueError(
            "both sides of a pair need the same queries, got "
            f"{[len(values) for values in first]} and {[len(values) for values in second]} scores"
        )
    differences = [one - other for one, other in zip(first, second, strict=True)]
    known = [values for values in differences if not np.isnan(values).all()]
    if not known:
        return Difference(math.nan, math.nan, math.nan, math.nan)
    value = math.fsum(float(np.nanmean(values)) for values in known) / len(known)
    low, high = seeds_interval(differences, groups=groups, confidence=confidence)
    return Difference(value, low, high, _p_value(known, groups, value))


def pair_errors(scores: Sequence[Sequence[ArrayLike]], *, groups: ArrayLike | None = None) -> Scores:
    """The standard error over queries of the difference between every two objectives, and its degrees of freedom.

    Args:
        scores: For each objective and training seed one score per query, the same queries in the same order.
        groups: The group number of each query; None: each query is its own group.

    Returns:
        Float[objective, objective, 2]; nan with fewer than two groups.
    """
    influences = [_influences(*_sums_of(each, groups)).mean(0) for each in scores]
    num_groups = len(influences[0]) if influences else 0
    if num_groups < 2:
        return np.full((len(scores), len(scores), 2), np.nan)
    stacked = np.stack(influences)
    squares = num_groups / (num_groups - 1) * ((stacked[:, None] - stacked[None]) ** 2).sum(-1)
    return np.stack([np.sqrt(squares), np.full_like(squares, num_groups - 1)], -1)


def unpaired_errors(arms: Sequence[Sequence[float]], num_groups: Sequence[int]) -> Scores:
    """:func:`pair_errors` where the scores per query are not known, only the interval of each seed over its queries.

    The squared errors of the two are added, as if what is hard for one objective were no harder for the other: where
    it is, the error is smaller than this.

    Args:
        arms: For each objective and training seed how far its 95 % interval reaches, the longer way; nan: unknown,
            left out.
        num_groups: How many groups of queries each objective was asked, at least.

    Returns:
        Float[objective, objective, 2]: standard error and degrees of freedom; nan where either is unknown.
    """
    errors, degrees = np.full((2, len(arms)), np.nan)
    for place, (each, number) in enumerate(zip(arms, num_groups, strict=True)):
        known = [arm for arm in each if not math.isnan(arm)]
        if number > 1 and known:
            errors[place] = math.fsum(known) / len(known) / stdtrit(number - 1, 0.975)
            degrees[place] = number - 1
    return np.stack([np.hypot(errors[:, None], errors[None]), np.minimum(degrees[:, None], degrees[None])], -1)


def trend(steps: ArrayLike, values: ArrayLike, *, confidence: float = 0.95) -> Trend:
    """The least-squares line through values over steps, with an interval that allows for autocorrelation.

    slope = sum (t - mean t)(v - mean v) / sum (t - mean t)^2, with standard error
    sqrt(f * sum of squared residuals / (n - 2) / sum (t - mean t)^2). Neighbouring validations share their weights:
    f = (1 + r) / (1 - r), where r is the correlation of neighbouring residuals plus (3 + 4 r) / n for its bias in a
    short series, and the quantile is Student's with n / f - 2 degrees of freedom, at least 1.

    Args:
        steps: Training steps.
        values: What was measured at each, such as the validation ELBO in nats; a point with nan is left out.
        confidence: Probability inside the interval.

    Returns:
        nan where there are too few points: two distinct steps for the slope, three points for the rest.

    Raises:
        ValueError: if the two are not flat lists of one length.

    >>> trend([0, 100, 200], [1.0, 2.0, 3.0])
    Trend(slope=0.01, standard_error=0.0, low=0.01, high=0.01)
    """
    t, v = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if t.ndim != 1 or t.shape != v.shape:
        raise ValueError(f"steps and values must be flat lists of equal length, got shapes {t.shape} and {v.shape}")
    known = ~(np.isnan(t) | np.isnan(v))
    t, v = t[known], v[known]
    num = len(t)
    if len(np.unique(t)) < 2:
        return Trend(math.nan, math.nan, math.nan, math.nan)
    t, v = t - t.mean(), v - v.mean()
    spread = float(t @ t)
    slope = float(t @ v) / spread
    residuals = v - slope * t
    if num < 3:
        return Trend(slope, math.nan, math.nan, math.nan)
    squares = float(residuals @ residuals)
    # With three points two residuals determine the third: their correlation says nothing.
    correlation = float(residuals[1:] @ residuals[:-1]) / squares if num > 3 and squares else 0.0
    correlation = min(max(correlation + (3 + 4 * correlation) / num, 0.0), 0.95) if num > 3 and squares else 0.0
    inflation = (1 + correlation) / (1 - correlation)
    error = math.sqrt(inflation * squares / (num - 2) / spread)
    arm = float(stdtrit(max(num / inflation - 2, 1.0), (1 + confidence) / 2)) * error
    return Trend(slope, error, slope - arm, slope + arm)


def trend_at_end(steps: Sequence[int], values: Sequence[float]) -> tuple[Trend, int]:
    """The :func:`trend` of the last third of a curve, at least three points of it, and how many steps that is."""
    tail = max(3, math.ceil(len(steps) / 3))
    return trend(steps[-tail:], values[-tail:]), steps[-1] - steps[-tail]


def _flat(values: ArrayLike, name: str) -> Scores:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1:
        raise ValueError(f"{name} must be a flat list with one score per query, got shape {scores.shape}")
    return scores


def _scored(values_per_seed: Sequence[ArrayLike], fraction: bool) -> list[Scores]:
    """The seeds with any score."""
    scores = [_flat(values, f"values_per_seed[{index}]") for index, values in enumerate(values_per_seed)]
    if len({len(each) for each in scores}) > 1:
        raise ValueError(f"all seeds need the same queries, got {[len(each) for each in scores]} scores")
    scores = [each for each in scores if not np.isnan(each).all()]
    if not fraction:
        return scores
    for each in scores:
        if ((each < -_ROUNDING) | (each > 1 + _ROUNDING)).any():
            raise ValueError(f"fractions must be in [0, 1], got {np.nanmin(each)} to {np.nanmax(each)}")
    return [np.clip(each, 0.0, 1.0) for each in scores]


def _grouped(scores: Sequence[Scores], groups: ArrayLike | None) -> tuple[Scores, Scores]:
    """:func:`_sums_of`, groups without any score left out."""
    sums, counts = _sums_of(scores, groups)
    kept = counts.any(0)
    return sums[:, kept], counts[:, kept]


def _sums_of(scores: Sequence[ArrayLike], groups: ArrayLike | None) -> tuple[Scores, Scores]:
    """Float[seed, group] twice: the sum of each group's scores, and how many there are."""
    values = np.stack([np.asarray(each, dtype=np.float64) for each in scores])
    scored = ~np.isnan(values)
    if groups is None:
        members = np.arange(values.shape[1])
    else:
        members = np.asarray(groups)
        if members.shape != values.shape[1:]:
            raise ValueError(
                f"groups must have one number per query, got shape {members.shape} for {values.shape[1]} queries"
            )
        members = np.unique(members, return_inverse=True)[1]
    num_groups = int(members.max(initial=-1)) + 1
    sums, counts = np.zeros((2, len(values), num_groups))
    for row, (each, known) in enumerate(zip(values, scored, strict=True)):
        np.add.at(sums[row], members[known], each[known])
        np.add.at(counts[row], members[known], 1.0)
    return sums, counts


def _variance(sums: Scores, counts: Scores) -> float:
    """The variance of a ratio of sums over groups: G / (G - 1) sum (s - m c)^2 / (sum c)^2."""
    total = float(counts.sum())
    deviations = sums - float(sums.sum()) / total * counts
    variance = len(sums) / (len(sums) - 1) * float(deviations @ deviations) / total**2
    return variance if variance > 1e-24 else 0.0


def _error_over_seeds(sums: Scores, counts: Scores) -> float:
    """The standard error of the mean over seeds, less what queries explain already."""
    means = sums.sum(1) / counts.sum(1)
    return math.sqrt(max(float(means.var(ddof=1)) / len(means) - _interaction(sums, counts), 0.0))


def _interaction(sums: Scores, counts: Scores) -> float:
    """What the variation of queries within seeds adds to the variance of the mean over seeds."""
    num_seeds, num_groups = sums.shape
    influences = _influences(sums, counts)
    residuals = influences - influences.mean(0)
    squares = float((residuals**2).sum())
    return float(num_groups * squares / ((num_groups - 1) * (num_seeds - 1) * num_seeds))


def _influences(sums: Scores, counts: Scores) -> Scores:
    """Float[seed, group]: what each group contributes to the deviation of a seed's mean from the truth."""
    totals = counts.sum(1, keepdims=True)
    influences: Scores = (sums - sums.sum(1, keepdims=True) / totals * counts) / totals
    return influences


def _arms_over_groups(sums: Scores, counts: Scores, upper: float, *, fraction: bool) -> Interval:
    """How far the interval reaches below and above the mean, as far as the choice of queries is concerned."""
    num_groups = len(sums)
    mean, variance = float(sums.sum() / counts.sum()), _variance(sums, counts)
    if not fraction:
        arm = float(stdtrit(num_groups - 1, upper)) * math.sqrt(variance)
        return arm, arm
    answers = mean * (1 - mean) / variance if variance else float(num_groups)
    answers = min(answers, _MOST_ANSWERS * num_groups)
    t = float(stdtrit(min(_degrees(sums, counts, answers), num_groups - 1), upper))
    center = (mean + t * t / (2 * answers)) / (1 + t * t / answers)
    arm = t / (1 + t * t / answers) * math.sqrt(mean * (1 - mean) / answers + t * t / (4 * answers**2))
    return mean - (center - arm), center + arm - mean


def _degrees(sums: Scores, counts: Scores, answers: float) -> float:
    """Degrees of freedom of the estimated number of answers per group, by leaving out each group in turn."""
    num = len(sums)
    if num < 3:
        return float(num - 1)
    total, left = sums.sum() - sums, counts.sum() - counts
    mean = total / left
    squares = float(sums @ sums) - sums**2
    mixed = float(sums @ counts) - sums * counts
    weights = float(counts @ counts) - counts**2
    variance = (num - 1) / (num - 2) * (squares - 2 * mean * mixed + mean**2 * weights) / left**2
    known = variance > 1e-12 / num
    found = np.where(known, mean * (1 - mean) / np.where(known, variance, 1.0), num - 1)
    logs = np.log(np.maximum(found, 1e-9) / (num - 1))
    spread = (num - 1) / num * float(((logs - logs.mean()) ** 2).sum())
    return max(2 / spread, _LEAST_DEGREES) if spread > 0 and math.isfinite(answers) else math.inf


def _p_value(differences: Sequence[Scores], groups: ArrayLike | None, value: float) -> float:
    """Where the interval would just touch zero: found by bisection, since two quantiles are put together in it."""
    sums, counts = _grouped(differences, groups)
    num_seeds, num_groups = sums.shape
    if num_groups < 2:
        return math.nan
    over_queries = math.sqrt(_variance(sums.mean(0), counts.mean(0)))
    over_seeds = _error_over_seeds(sums, counts) if num_seeds > 1 else 0.0
    if over_queries == over_seeds == 0:
        return 0.0 if value else 1.0
    if over_seeds == 0:
        return float(2 * stdtr(num_groups - 1, -abs(value) / over_queries))
    low, high = -700.0, 0.0  # Of the logarithm of p.
    for _ in range(60):
        middle = (low + high) / 2
        tail = math.exp(middle) / 2
        arm = math.hypot(
            _quantile(num_groups - 1, tail) * over_queries,
            _quantile(num_seeds - 1, tail) * over_seeds if over_seeds else 0.0,
        )
        low, high = (low, middle) if arm < abs(value) else (middle, high)
    return math.exp(high)


def _quantile(degrees: float, tail: float) -> float:
    return -float(stdtrit(degrees, tail))


def normal_p_value(value: float, low: float, high: float) -> float:
    """The two-sided p-value of a difference with a 95 % interval, by the arm that points to zero; normal.

    >>> round(normal_p_value(1.959964, 0.0, 3.0), 4)
    0.05
    """
    arm = high - value if value < 0 else value - low
    if math.isnan(arm + value):
        return math.nan
    return math.erfc(1.959964 * abs(value) / arm / math.sqrt(2)) if arm > 0 else float(value == 0)
