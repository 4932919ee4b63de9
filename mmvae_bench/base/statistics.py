"""Bootstrap intervals, paired differences and slopes: how far a number can be trusted. numpy only.

Scores are one number per query, nan where a query has no score; queries without a score are left out before anything is
drawn. Intervals are percentile bootstraps (Efron 1979): resample with replacement, compute the statistic of each
resample, cut its distribution at (1 - confidence) / 2 on both sides. The same seed gives the same interval.

Repeats of one concept are not independent queries: they fail together. ``groups`` says which queries belong together,
and whole groups are resampled; without it every query is its own group.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Scores = NDArray[np.float64]

# Bounds the memory of a resample: at most this many indices are drawn at once.
_INDICES_AT_ONCE = 2**22


def bootstrap_interval(
    values: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    num_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int,
) -> tuple[float, float]:
    """The interval of the mean over queries, resampling queries, or groups of them.

    Args:
        values: One score per query; nan is left out.
        groups: The group number of each query; None: each query is its own group.
        num_resamples: Number of resamples.
        confidence: Probability inside the interval, between 0 and 1.
        seed: Seed of the resamples.

    Returns:
        (low, high); (nan, nan) if no query has a score.

    Raises:
        ValueError: if the values or the groups are not a flat list, or ``num_resamples`` or ``confidence`` is out of
            range.

    >>> bootstrap_interval([1.0, 1.0, float("nan")], seed=0)
    (1.0, 1.0)
    >>> bootstrap_interval([0.0, 1.0, 0.0, 1.0], groups=[7, 7, 8, 8], seed=0)
    (0.5, 0.5)
    """
    generator = _generator(num_resamples, confidence, seed)
    sums, counts = _grouped([_flat(values, "values")], groups)
    return _percentiles(_resampled_means(sums, counts, num_resamples, generator)[:, 0], confidence)


def hierarchical_interval(
    values_per_seed: Sequence[ArrayLike],
    *,
    groups: ArrayLike | None = None,
    num_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int,
) -> tuple[float, float]:
    """The interval of the mean over training seeds scored on the same queries, resampling seeds and queries.

    The statistic is the mean over seeds of the mean over queries. The two are crossed: a query that is hard is hard
    for every seed. So one resample of the queries is shared by all the seeds of a resample; drawing queries separately
    for each seed would divide the queries' variance by the number of seeds. With few seeds the interval is too narrow:
    a resample of n seeds underestimates their variance by (n - 1) / n.

    Args:
        values_per_seed: For each training seed one score per query, the same queries in the same order; nan is left
            out, and so is a seed without any score.
        groups: The group number of each query; None: each query is its own group.
        num_resamples: Number of resamples.
        confidence: Probability inside the interval, between 0 and 1.
        seed: Seed of the resamples.

    Returns:
        (low, high); (nan, nan) if no query of any seed has a score.

    Raises:
        ValueError: if a seed's values are not a flat list, the seeds differ in their number of queries, or
            ``num_resamples`` or ``confidence`` is out of range.

    >>> hierarchical_interval([[0.0, 0.0], [1.0, 1.0]], seed=0)
    (0.0, 1.0)
    """
    generator = _generator(num_resamples, confidence, seed)
    scores = [_flat(values, f"values_per_seed[{index}]") for index, values in enumerate(values_per_seed)]
    if len({len(each) for each in scores}) > 1:
        raise ValueError(f"all seeds need the same queries, got {[len(each) for each in scores]} scores")
    scores = [each for each in scores if not np.isnan(each).all()]
    if not scores:
        return float("nan"), float("nan")
    means = _resampled_means(*_grouped(scores, groups), num_resamples, generator)
    drawn = generator.integers(len(scores), size=(num_resamples, len(scores)))
    with warnings.catch_warnings():
        # A resample may miss every scored query of every seed it drew: it has no mean.
        warnings.simplefilter("ignore", RuntimeWarning)
        chosen = np.take_along_axis(means, drawn, axis=1)
        # The same sum over the same numbers; nanmean copies them first.
        mean = np.nanmean if np.isnan(means).any() else np.mean
        return _percentiles(mean(chosen, axis=1), confidence)


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    num_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int,
) -> tuple[float, float, float]:
    """The mean difference a - b over queries that are scored in both, and its interval, resampling queries in pairs.

    What makes a query hard is common to both and cancels, so the interval is narrower than two separate ones suggest.

    Args:
        a: One score per query; nan if there is none.
        b: The other scores of the same queries, in the same order.
        groups: The group number of each query; None: each query is its own group.
        num_resamples: Number of resamples.
        confidence: Probability inside the interval, between 0 and 1.
        seed: Seed of the resamples.

    Returns:
        (difference, low, high); all nan if no query is scored in both.

    Raises:
        ValueError: if the two are not flat lists of one length, or ``num_resamples`` or ``confidence`` is out of range.

    >>> paired_difference([0.5, 0.75], [0.25, 0.5], seed=0)
    (0.25, 0.25, 0.25)
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"both sides of a pair need the same queries, got shapes {first.shape} and {second.shape}")
    difference = first - second
    low, high = bootstrap_interval(
        difference, groups=groups, num_resamples=num_resamples, confidence=confidence, seed=seed
    )
    scored = difference[~np.isnan(difference)]
    return (float(scored.mean()) if len(scored) else float("nan")), low, high


def slope(steps: ArrayLike, values: ArrayLike) -> tuple[float, float]:
    """The least-squares line through values over steps: its slope and the standard error of the slope.

    slope = sum (t - mean t)(v - mean v) / sum (t - mean t)^2, with standard error
    sqrt(sum of squared residuals / (n - 2) / sum (t - mean t)^2).

    Args:
        steps: Training steps.
        values: What was measured at each, such as the validation ELBO in nats; a point with nan is left out.

    Returns:
        (slope in units of the values per step, its standard error); nan if there are too few points: two distinct
        steps for the slope, three points for the error.

    Raises:
        ValueError: if the two are not flat lists of one length.

    >>> slope([0, 100, 200], [1.0, 2.0, 3.0])
    (0.01, 0.0)
    """
    t, v = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if t.ndim != 1 or t.shape != v.shape:
        raise ValueError(f"steps and values must be flat lists of equal length, got shapes {t.shape} and {v.shape}")
    known = ~(np.isnan(t) | np.isnan(v))
    t, v = t[known], v[known]
    if len(np.unique(t)) < 2:
        return float("nan"), float("nan")
    t, v = t - t.mean(), v - v.mean()
    spread = float(t @ t)
    gradient = float(t @ v) / spread
    residuals = v - gradient * t
    if len(t) < 3:
        return gradient, float("nan")
    return gradient, float(np.sqrt(residuals @ residuals / (len(t) - 2) / spread))


def _flat(values: ArrayLike, name: str) -> Scores:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1:
        raise ValueError(f"{name} must be a flat list with one score per query, got shape {scores.shape}")
    return scores


def _grouped(scores: Sequence[Scores], groups: ArrayLike | None) -> tuple[Scores, Scores]:
    """Float[seed, group] twice: the sum of each group's scores, and how many there are; groups without any left out."""
    values = np.stack(scores)
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
    kept = counts.any(0)
    return sums[:, kept], counts[:, kept]


def _generator(num_resamples: int, confidence: float, seed: int) -> np.random.Generator:
    if num_resamples < 1:
        raise ValueError(f"num_resamples must be at least 1, got {num_resamples}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    return np.random.default_rng(seed)


def _resampled_means(sums: Scores, counts: Scores, num_resamples: int, generator: np.random.Generator) -> Scores:
    """Float[resample, seed]: the mean of each resample of the groups, drawn with replacement, the same for all seeds.

    nan if there is no group, or where a resample holds no score of a seed.
    """
    num_seeds, num_groups = sums.shape
    means = np.full((num_resamples, num_seeds), np.nan)
    if num_groups == 0:
        return means
    rows = max(1, _INDICES_AT_ONCE // num_groups)
    # Counts are whole numbers, so their sums are exact in any order: once is enough where all seeds have the same.
    differ = bool((counts != counts[0]).any())
    for start in range(0, num_resamples, rows):
        stop = min(start + rows, num_resamples)
        times = _times_drawn(generator, num_groups, stop - start)
        with np.errstate(invalid="ignore"):
            means[start:stop] = (times @ sums.T) / (times @ counts.T if differ else (times @ counts[0])[:, None])
    return means


_last_drawn: dict[tuple[int, ...], tuple[Scores, Mapping[str, Any]]] = {}


def _times_drawn(generator: np.random.Generator, num_groups: int, num_resamples: int) -> Scores:
    """Float[resample, group]: how often each group is drawn; the order of the draws does not affect a mean.

    Objectives on the same queries are resampled with the same seed: the last draw is kept, and given again to a
    generator in the same state, which is then left as the draw would have left it.
    """
    state = generator.bit_generator.state
    key = (*state["state"].values(), num_groups, num_resamples)
    drawn = _last_drawn.get(key)
    if drawn is None:
        chances = np.full(num_groups, 1 / num_groups)
        times = generator.multinomial(num_groups, chances, size=num_resamples).astype(np.float64)
        times.flags.writeable = False
        drawn = times, generator.bit_generator.state
        _last_drawn.clear()  # Another thread may do so at any time: nothing is looked up twice.
        _last_drawn[key] = drawn
    times, generator.bit_generator.state = drawn
    return times


def _percentiles(means: Scores, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    if np.isnan(means).all():
        return float("nan"), float("nan")
    low, high = np.nanquantile(means, [tail, 1 - tail])
    return float(low), float(high)
