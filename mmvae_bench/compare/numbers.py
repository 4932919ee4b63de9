"""One number in two runs: how far apart they are, and whether by more than the sampling of queries explains."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ..base.multiple_comparisons import holm
from ..base.statistics import normal_p_value, paired_difference
from ..report.frames import Question
from ..report.trials import TrialRecord
from ..runs.scores import STORED_PRECISION, Score

Verdict = Literal["same", "within", "beyond", "no interval"]
VERDICTS: tuple[Verdict, ...] = ("same", "within", "beyond", "no interval")
"""same: equal to the stored digits; beyond: the difference is not zero, with 5 % probability of one false claim in the
whole comparison (Holm), or one of the two is missing; within: the others; no interval: the numbers differ, and their
uncertainty is unknown."""


@dataclass(frozen=True, kw_only=True)
class NumberPair:
    """One number of a trial in both runs.

    Attributes:
        trial: The trial in the first run.
        question: Protocol, partition, metric, attribute and level.
        a: The value in the first run, a fraction or nats; nan if there is none.
        b: The value in the second run.
        low: Lower end of the 95 % interval of b - a; nan if there is none.
        high: Upper end.
        paired: Whether the interval is that of differences paired by query.
        verdict: One of VERDICTS.
        p: Two-sided p-value of the difference being zero; nan without an interval.
    """

    trial: TrialRecord
    question: Question
    a: float
    b: float
    low: float
    high: float
    paired: bool
    verdict: Verdict
    p: float = math.nan

    @property
    def difference(self) -> float:
        """b - a; nan if one of them is."""
        return self.b - self.a

    @property
    def metric(self) -> str:
        """What was measured."""
        return self.question.metric

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; not-a-number becomes null."""
        numbers = {"a": self.a, "b": self.b, "difference": self.difference, "low": self.low, "high": self.high}
        plain = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        return {
            "trial": self.trial.key,
            "label": self.trial.label,
            **self.question._asdict(),
            **plain,
            "p": None if math.isnan(self.p) else self.p,
            "paired": self.paired,
            "verdict": self.verdict,
        }


def judged(pairs: Sequence[NumberPair]) -> list[NumberPair]:
    """The numbers of a comparison with their verdicts, which depend on how many are compared."""
    beyond = holm([pair.p for pair in pairs])
    return [replace(pair, verdict="beyond") if rejected else pair for pair, rejected in zip(pairs, beyond, strict=True)]


def number_pairs(
    one: TrialRecord, other: TrialRecord, ours: Mapping[Question, Score], theirs: Mapping[Question, Score]
) -> Iterator[NumberPair]:
    """Every number that both have, in the order of the first.

    Args:
        one: The trial in the first run.
        other: The trial in the second run.
        ours: The numbers of the first.
        theirs: The numbers of the second.
    """
    same_queries = one.query_settings == other.query_settings and _images(one) == _images(other)
    for question, score in ours.items():
        if question in theirs:
            yield _pair(one, question, score, theirs[question], same_queries=same_queries)


def _images(trial: TrialRecord) -> tuple[object, ...]:
    """What determines which concepts and images are in the queries."""
    dataset = trial.component("dataset")
    return dataset.get("split"), dataset.get("split_seed"), trial.section("dataset").get("fingerprint")


def _pair(trial: TrialRecord, question: Question, one: Score, other: Score, *, same_queries: bool) -> NumberPair:
    paired = same_queries and _aligned(one, other)
    low = high = p = math.nan
    verdict: Verdict = "beyond"
    if math.isnan(one.value) or math.isnan(other.value):
        if math.isnan(one.value) and math.isnan(other.value):
            verdict = "same"
    elif math.isclose(one.value, other.value, rel_tol=STORED_PRECISION, abs_tol=STORED_PRECISION):
        low, high, verdict = 0.0, 0.0, "same"
    else:
        low, high, p = _paired_interval(one, other) if paired else _unpaired_interval(one, other)
        verdict = "no interval" if math.isnan(p) else "within"
    return NumberPair(
        trial=trial, question=question, a=one.value, b=other.value, low=low, high=high, paired=paired,
        verdict=verdict, p=p
    )  # fmt: skip


def _aligned(one: Score, other: Score) -> bool:
    return (
        one.per_query is not None
        and other.per_query is not None
        and len(one.per_query) == len(other.per_query) > 1
        and one.groups == other.groups
    )


def _paired_interval(one: Score, other: Score) -> tuple[float, float, float]:
    """Both ends and the p-value; nan where a single query, or repeats of one, say nothing about the spread."""
    assert one.per_query is not None
    assert other.per_query is not None
    first, second = np.asarray(one.per_query, float), np.asarray(other.per_query, float)
    found = paired_difference([second], [first], groups=one.groups)
    return found.low, found.high, found.p


def _unpaired_interval(one: Score, other: Score) -> tuple[float, float, float]:
    low, high = unpaired_interval(one, other)
    return low, high, normal_p_value(other.value - one.value, low, high)


def unpaired_interval(one: Score, other: Score) -> tuple[float, float]:
    """The interval of ``other - one`` from the two intervals, as of independent estimates (MOVER).

    d - sqrt((b - low b)^2 + (high a - a)^2) to d + sqrt((high b - b)^2 + (a - low a)^2), with d = b - a
    (Zou and Donner 2008, Eq. 3 and 4). Narrower than asking whether the two intervals overlap, which is too strict.

    Returns:
        (low, high); nan where one of the two has no interval.

    >>> def score(value):
    ...     return Score(metric="m", partition="test", value=value, ci_low=value - 3, ci_high=value + 4)
    >>> unpaired_interval(score(10.0), score(20.0))
    (5.0, 15.0)
    """
    difference = other.value - one.value
    low = difference - math.hypot(other.value - other.ci_low, one.ci_high - one.value)
    high = difference + math.hypot(other.ci_high - other.value, one.value - one.ci_low)
    return low, high
