"""Which of several objectives differ in which rows of a table, and how often such a claim is false.

A table makes many claims at once, and the more it makes, the more of them are false by chance. What holds for one
difference is in :mod:`mmvae_bench.base.statistics`. ``docs/statistics.md`` has the simulations behind every choice made
here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, stdtrit

Scores = NDArray[np.float64]

_DRAWS_AT_ONCE = 50
_TIED = 1e-12
"""Of the sum of a row's variances: an objective with no more has one score in all seeds, but for rounding."""


def told_apart(
    scores: Sequence[Scores],
    query_errors: Scores | None = None,
    *,
    alpha: float = 0.05,
    num_draws: int = 1000,
    seed: int,
) -> NDArray[np.bool_]:
    """Which objectives differ in which rows of a table, with probability ``alpha`` of one false claim in all of it.

    Every pair of objectives in every row is compared by |difference of means| / sqrt(u_i / n_i + u_j / n_j), where n
    counts seeds and u is the larger of an objective's own variance between seeds and that of an ordinary objective in
    this row. The limit is the 1 - ``alpha`` quantile of the largest such number in a table of equal objectives (a max-t
    bootstrap, Westfall and Young 1993): its trials are normal mixtures of all residuals, whole columns at a time, so
    that rows keep their correlation, with the scale that each objective has on average over rows; where an objective's
    scale is large, only its own seeds tell how large, and the limit allows for that (Behrens and Fisher). The
    covariance of few trials is too certain of itself: the limit is raised by 1 + 1/df. Where the queries may be to
    blame, ``query_errors`` with a Bonferroni quantile is added in quadrature. In a row where no seed differs from
    another nothing is told apart: a score of few steps may be the same twice by chance, and then says nothing of how
    much seeds differ.

    Args:
        scores: For each objective Float[seed, row], nan where there is no number. One seed cannot be compared.
        query_errors: Float[objective, objective, row, 2]: the standard error over queries of each difference, and its
            degrees of freedom; nan: unknown, not added.
        alpha: Probability that equal objectives are told apart anywhere in the table.
        num_draws: Draws behind the limit.
        seed: Seed of the draws.

    Returns:
        Bool[objective, objective, row]: the first is higher than the second.
    """
    num_rows = scores[0].shape[1] if len(scores) else 0
    higher = np.zeros((len(scores), len(scores), num_rows), dtype=bool)
    several = [place for place, each in enumerate(scores) if len(each) > 1]
    if len(several) < 2 or num_rows == 0:
        return higher
    means, variances, counts, residuals, known = _seed_statistics([scores[place] for place in several])
    varies = _varies(means, variances)
    if not varies.any():
        return higher
    limit = _limit(residuals[..., varies], variances[:, varies], known[..., varies], alpha, num_draws, seed)
    difference = means[:, None] - means[None]
    own = _mean_variances(variances, counts, _scale_of_untied(variances[:, varies], counts[:, varies]))
    with np.errstate(invalid="ignore"):  # No limit where nothing varies: infinity times zero, which is not taken.
        error = np.where(varies, limit * np.sqrt(own[:, None] + own[None]), np.inf)
    if query_errors is not None:
        errors = query_errors[np.ix_(several, several)]
        comparisons = max(1, int(np.isfinite(difference).sum() - np.isfinite(np.diagonal(difference)).sum()) // 2)
        quantile = stdtrit(np.maximum(errors[..., 1], 1), 1 - alpha / 2 / comparisons)
        error = np.hypot(error, np.nan_to_num(quantile * errors[..., 0]))
    with np.errstate(invalid="ignore"):
        higher[np.ix_(several, several)] = difference > error
    return higher


def holm(p_values: Sequence[float], *, alpha: float = 0.05) -> list[bool]:
    """Which hypotheses are rejected, with at most ``alpha`` probability of one false rejection (Holm 1979).

    nan is not a hypothesis.

    >>> holm([0.01, 0.04, 0.03, float("nan")])
    [True, False, False, False]
    """
    rejected = [False] * len(p_values)
    tested = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    for rank, (p, place) in enumerate(tested):
        if p > alpha / (len(tested) - rank):
            break
        rejected[place] = True
    return rejected


def _seed_statistics(
    scores: Sequence[Scores],
) -> tuple[Scores, Scores, Scores, Scores, NDArray[np.bool_]]:
    """Of each objective and row: mean, variance and number of seeds; of each seed its residual, and if it is known."""
    means, variances, counts, residuals, knowns = [], [], [], [], []
    for each in scores:
        known = ~np.isnan(each)
        number = known.sum(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(number > 1, np.nansum(each, 0) / number, np.nan)
            left = np.where(known, each - mean, 0.0)
            variance = np.where(number > 1, np.nansum(left**2, 0) / (number - 1), np.nan)
        means.append(mean)
        variances.append(variance)
        counts.append(np.where(number > 1, number, np.nan))
        residuals.append(np.nan_to_num(left))
        knowns.append((known & (number > 1)).astype(np.float64))
    padded = (np.stack(_padded(each)) for each in (residuals, knowns))
    return np.stack(means), np.stack(variances), np.stack(counts), next(padded), next(padded) > 0


def _padded(arrays: Sequence[Scores]) -> list[Scores]:
    most = max(map(len, arrays))
    return [np.pad(each, ((0, most - len(each)), (0, 0))) for each in arrays]


def _mean_variances(variances: Scores, counts: Scores, scale: Scores) -> Scores:
    """Float[..., objective, row]: of the mean over seeds, with no variance below that of an ordinary objective.

    Ordinary is the mean of a row's variances relative to their objectives' squared scales (``scale``), times the
    geometric mean of these. The plain mean, that of the objective whose seeds differ most, would hide how far apart the
    others are. It stands where an objective's seeds have one score, as two have by chance where scores are coarse.
    """
    known, squared = ~np.isnan(counts), scale[..., None] ** 2
    with np.errstate(invalid="ignore", divide="ignore"):  # A row that nobody has several numbers in has no average.
        number = known.sum(-2, keepdims=True)
        mean = np.where(known, variances, 0.0).sum(-2, keepdims=True) / number
        relative = np.where(known, variances / squared, 0.0).sum(-2, keepdims=True) / number
        ordinary = relative * np.exp(np.where(known, np.log(squared), 0.0).sum(-2, keepdims=True) / number)
        return np.asarray(np.maximum(variances, np.where(_untied(variances, counts), ordinary, mean)) / counts)


def _scale_of_untied(variances: Scores, counts: Scores) -> Scores:
    """:func:`_scale` of the rows in which an objective's seeds differ: the others say nothing of it."""
    untied = _untied(variances, counts)
    return _scale(np.where(untied, variances, np.nan), np.where(untied, counts, np.nan))


def _untied(variances: Scores, counts: Scores) -> NDArray[np.bool_]:
    """Bool[..., objective, row]: whether an objective's seeds have more than one score."""
    found: NDArray[np.bool_] = variances > _TIED * np.where(np.isnan(counts), 0.0, variances).sum(-2, keepdims=True)
    return found


def _varies(means: Scores, variances: Scores) -> NDArray[np.bool_]:
    """Bool[row]: whether seeds of any objective differ in it by more than rounding."""
    rounding = (1e-9 * np.maximum(np.nan_to_num(np.abs(means)), 1e-3)) ** 2
    found: NDArray[np.bool_] = (np.nan_to_num(variances) > rounding).any(0)
    return found


def _limit(
    residuals: Scores, variances: Scores, known: NDArray[np.bool_], alpha: float, num_draws: int, seed: int
) -> float:
    """The 1 - alpha quantile of the largest statistic of a table of equal objectives; see :func:`told_apart`."""
    num_objectives, num_seeds, num_rows = residuals.shape
    degrees = float(np.maximum(known.sum(1) - 1, 0).max(1, initial=0).sum())
    if num_rows == 0 or degrees < 1:
        return math.inf
    counts = np.where(known.any(1), known.sum(1), np.nan)
    scale = _scale(variances, counts)
    mixed = (residuals / scale[:, None, None]).reshape(num_objectives * num_seeds, num_rows) / math.sqrt(degrees)
    factor = _factor(mixed)
    first, second = np.triu_indices(num_objectives, 1)
    generator = np.random.default_rng(seed)
    largest = []
    for start in range(0, num_draws, _DRAWS_AT_ONCE):
        number = min(_DRAWS_AT_ONCE, num_draws - start)
        weights = generator.normal(size=(number, num_objectives, num_seeds, len(factor)))
        # Trials without a number in a row have none in the simulated table either.
        drawn = weights @ factor * scale[:, None, None] * known
        with np.errstate(invalid="ignore"):
            means = drawn.sum(2) / counts
            spread = (((drawn - means[:, :, None]) * known) ** 2).sum(2) / (counts - 1)
            corrected = _scale_correction(scale, _scale(spread, counts))[..., None]
            means, spread = means * corrected, spread * corrected**2
            own = _mean_variances(spread, counts, _scale_of_untied(spread, counts))
            pairs = np.abs(means[:, first] - means[:, second]) / np.sqrt(own[:, first] + own[:, second])
        largest.append(np.nan_to_num(pairs).max((1, 2)))
    # The rank that one more draw exceeds with probability alpha: a quantile of the draws alone is a little too low.
    rank = min(math.ceil((1 - alpha) * (num_draws + 1)), num_draws)
    return float(np.sort(np.concatenate(largest))[rank - 1]) * (1 + 1 / degrees)


def _factor(mixed: Scores) -> Scores:
    """Float[number, row]: normal draws times it are normal mixtures of the residuals, Float[trial, row].

    The residuals themselves or, where these are more than rows, the symmetric root of their covariance: unlike any
    triangular factor it changes as little as they do, also where rows depend on each other. A limit that moves with
    the rounding of a library would make claims that another installation does not. The root is that of rows of length
    one: of others it depends on their units, and beside a long row the root of a short one is little but rounding.
    """
    if len(mixed) <= mixed.shape[1]:
        return mixed
    lengths = np.sqrt((mixed**2).sum(0))
    directions = mixed / np.where(lengths > 0, lengths, 1.0)
    values, vectors = np.linalg.eigh(directions.T @ directions)
    root: Scores = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    scaled: Scores = root * lengths
    return scaled


def _scale_correction(scale: Scores, found: Scores) -> Scores:
    """By what to multiply simulated tables so that their large scales are as uncertain as those of the real table.

    Above all of an objective whose seeds differ much more than the others' only its own few seeds say how much. Where
    they are alike by chance, its error and its scale are both too small, and a limit simulated from that scale is too
    low. So a simulated table is given the scale that was found in the real one, not its own: the fiducial argument of
    Behrens and Fisher. Scales that differ by no more than noise need none of this, and would cost power: what counts is
    the share of an excess over the mean scale that is not noise, 1 - noise^2 / excess^2.

    Args:
        scale: Float[objective], of the real table.
        found: Float[draw, objective], of simulated tables that have ``scale``.

    Returns:
        Float[draw, objective].
    """
    error = np.log(found / scale)
    excess = np.maximum(np.log(scale) - np.log(scale).mean(), 1e-9)
    share = np.maximum(1 - error.var(0) / excess**2, 0.0)
    corrected: Scores = np.exp(-share * error)
    return corrected


def _scale(variances: Scores, counts: Scores) -> Scores:
    """Float[..., objective]: the standard deviation between seeds relative to that of the others, on average over rows.

    The logarithm of the variance of n values is too low by log(v / 2) - digamma(v / 2) on average, v = n - 1: by 1.27
    for two seeds and by 0.11 for ten.
    """
    degrees = np.where(np.isnan(counts), 1.0, counts - 1) / 2
    with np.errstate(invalid="ignore"):
        ratios = np.where(np.isnan(variances), 1.0, variances / np.nanmean(variances, -2, keepdims=True))
    logs = np.log(np.maximum(ratios, 1e-6)) - np.where(np.isnan(counts), 0.0, digamma(degrees) - np.log(degrees))
    scale: Scores = np.exp(0.5 * logs.mean(-1))
    return scale
