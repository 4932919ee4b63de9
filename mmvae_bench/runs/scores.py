"""One number of a result, with its interval and its references. Free of torch, since the report reads it too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from ..metrics.catalogue import metric_info

_NUMBERS = ("value", "ci_low", "ci_high", "ceiling", "floor", "constant", "deaf")
_DECIMALS = 6
"""Of the scores per query in a file."""
STORED_PRECISION = 10.0**-_DECIMALS
"""What rounding explains, relative to 1 or to the scores: the mean of scores per query in a file is off by half of the
last decimal at most, and a sum in single precision of another package's metric by about as much, relative to them."""
LEAST_WAY = 0.01
"""If the ceiling is less than a point above the floor, a share of the way between them is noise."""


def share_of_way(value: float, floor: float, ceiling: float, *, direction: int = 1) -> float:
    """How far a score has come from its floor to its ceiling: 0 there, 1 here; below 0 a blind model does better.

    Floor and ceiling are exact numbers about the same queries, so the ends of an interval are mapped as its value is.

    Args:
        value: The score, or an end of its interval; it may lie outside floor and ceiling.
        floor: See :class:`Score`.
        ceiling: See :class:`Score`.
        direction: 1 where higher is better, -1 where lower is; with 0 there is no way to go.

    Returns:
        The share; nan if one of the three is nan, or the ceiling is not at least a point better than the floor: such a
        score does not distinguish an exact generator from a blind one.

    >>> share_of_way(0.75, 0.5, 1.0), share_of_way(0.125, 0.5, 0.0, direction=-1)
    (0.5, 0.75)
    >>> share_of_way(0.8, 0.9, 0.905)
    nan
    """
    return (value - floor) / (ceiling - floor) if (ceiling - floor) * direction >= LEAST_WAY else math.nan


def shares_of_score(score: Mapping[str, Any]) -> dict[str, float]:
    """:func:`share_of_way` of a score as it is stored, and of the ends of its interval, the lower one first.

    Args:
        score: As :meth:`Score.to_json` gives it; a number may be None or missing.

    Returns:
        ``share``, ``share_low`` and ``share_high``.
    """
    names = ("value", "ci_low", "ci_high", "floor", "ceiling")
    value, low, high, floor, ceiling = (math.nan if score.get(name) is None else score[name] for name in names)
    direction = metric_info(score["metric"]).direction
    share, *ends = (share_of_way(each, floor, ceiling, direction=direction) for each in (value, low, high))
    return {"share": share, "share_low": min(ends), "share_high": max(ends)}


@dataclass(frozen=True, kw_only=True)
class Score:
    """A value of one metric under one protocol.

    Attributes:
        metric: correctness, coverage, joint_divergence, compositionality, description_accuracy, classifier_accuracy,
            named_query, named_query_all, frequency_unspecified, frequency_real, elbo, log_px_given_y, log_px, ...
        partition: ``val`` or ``test``.
        value: A fraction (for likelihoods: nats); nan if nothing could be scored.
        protocol: official, paper, corrected, cremer, likelihood, or of coherence multivae, mmvaeplus, mopoe; None for a
            metric that is the same under every protocol.
        attribute: The attribute scored, or the name of a named query; None: all.
        level: Number of specified attributes; None if not applicable.
        ci_low: Lower end of the 95 % confidence interval over queries.
        ci_high: Upper end.
        ceiling: Expected score of an exact conditional generator: one that draws from what training holds for the
            query. Of correctness the classifier's accuracy on held-out real images of the same concepts. A reference,
            not a bound.
        floor: Expected score of a generator that ignores the query: it shows a training concept, the same in all images
            of a query. A reference, not a bound.
        constant: Score of the best constant answer: the most frequent value of each attribute in training, whatever
            the query.
        deaf: Expected score of a generator that ignores the query and draws every image anew: the floor, except where
            variety is scored.
        num_queries: Queries (or examples) behind the value.
        num_samples: Images drawn per query, or importance samples per image; None if nothing is drawn.
        per_query: The score of each query, in the order of the fixed queries, so that differences can be paired; of
            each image of a named query.
        groups: For each query the number of the full concept behind it: those that share one are no independent
            answers. None: each is a group of its own.
        proposal: For a likelihood, the distribution that z was drawn from, such as ``q(z|x)``.
    """

    metric: str
    partition: str
    value: float
    protocol: str | None = None
    attribute: str | None = None
    level: int | None = None
    ci_low: float = math.nan
    ci_high: float = math.nan
    ceiling: float = math.nan
    floor: float = math.nan
    constant: float = math.nan
    deaf: float = math.nan
    num_queries: int | None = None
    num_samples: int | None = None
    per_query: Sequence[float] | None = None
    groups: Sequence[int] | None = None
    proposal: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; not-a-number becomes null."""
        plain = asdict(self)
        for key, value in plain.items():
            if isinstance(value, float) and not math.isfinite(value):
                plain[key] = None
        if self.per_query is not None:
            plain["per_query"] = [None if math.isnan(value) else round(value, _DECIMALS) for value in self.per_query]
        return plain

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Self:
        """The inverse of :meth:`to_json`."""
        values = dict(plain)
        for key in _NUMBERS:
            values[key] = math.nan if values.get(key) is None else values[key]
        if values.get("per_query") is not None:
            values["per_query"] = [math.nan if value is None else value for value in values["per_query"]]
        return cls(**values)
