"""Is the best one better? Paired differences between objectives, on the queries that both answered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..base.statistics import hierarchical_interval, paired_difference
from ..runs.scores import Score


class Answer(NamedTuple):
    """The score of one trial: its training seed, what decided its queries, and the score."""

    seed: int
    asked: str
    score: Score


Answers = tuple[Answer, ...]


@dataclass(frozen=True)
class Difference:
    """The best objective's score minus another's, with a 95 % interval.

    Attributes:
        num_seeds: Training seeds that both have; the difference is the mean over them.
    """

    value: float
    low: float
    high: float
    num_seeds: int

    @property
    def tied(self) -> bool:
        """Whether the interval holds zero: these queries cannot tell the two apart."""
        return self.low <= 0 <= self.high


def best_and_differences(
    answers: Sequence[tuple[float, Answers] | None], *, direction: int, seed: int
) -> tuple[int | None, tuple[Difference | None, ...]]:
    """Finds the best of several objectives and how far it is from each other one.

    Args:
        answers: For each objective its mean value and its scores by training seed; None where it has none.
        direction: 1 where higher is better, -1 where lower is, 0 where neither is.
        seed: Of the resamples.

    Returns:
        (position of the best, one difference an objective); None for the best where fewer than two can be ranked,
        and for a difference where there is none: the best's own, and where the two did not answer the same queries.
    """
    ranked = [index for index, answer in enumerate(answers) if answer is not None]
    if direction == 0 or len(ranked) < 2:
        return None, (None,) * len(answers)
    best = max(ranked, key=lambda index: direction * answers[index][0])  # type: ignore[index]
    found = [
        None if index == best or answer is None else _difference(answers[best][1], answer[1], seed)  # type: ignore[index]
        for index, answer in enumerate(answers)
    ]
    return best, tuple(found)


def _difference(best: Answers, other: Answers, seed: int) -> Difference | None:
    """Seeds are paired with seeds and queries with queries; a resample of queries is shared by the seeds."""
    theirs = {answer.seed: answer for answer in other}
    pairs = [(answer, theirs[answer.seed]) for answer in best if answer.seed in theirs]
    arrays = [
        (np.asarray(first.score.per_query, float), np.asarray(second.score.per_query, float))
        for first, second in pairs
        if first.asked == second.asked and first.score.per_query is not None and second.score.per_query is not None
    ]
    arrays = [(first, second) for first, second in arrays if first.shape == second.shape]
    if not arrays or len(arrays) != len(pairs) or len({len(first) for first, _ in arrays}) != 1:
        return None
    groups = pairs[0][0].score.groups
    if len(arrays) == 1:
        value, low, high = paired_difference(*arrays[0], groups=groups, seed=seed)
    else:
        differences = [first - second for first, second in arrays]
        scored = [float(np.nanmean(each)) for each in differences if not np.isnan(each).all()]
        value = math.fsum(scored) / len(scored) if scored else math.nan
        low, high = hierarchical_interval(differences, groups=groups, seed=seed)
    return Difference(value, low, high, len(arrays)) if math.isfinite(value) else None
