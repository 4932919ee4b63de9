"""One number of a result, with its interval and its references. Free of torch, since the report reads it too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Score:
    """A value of one metric under one protocol.

    Attributes:
        metric: correctness, coverage, joint_divergence, compositionality, description_accuracy, classifier_accuracy,
            named_query, named_query_all, frequency_unspecified, frequency_real, elbo, log_px_given_y, log_px, ...
        partition: ``val`` or ``test``.
        value: A fraction (for likelihoods: nats); nan if nothing could be scored.
        protocol: official, paper, corrected, cremer or likelihood; None for a metric that is the same under every
            protocol.
        attribute: The attribute scored, or the name of a named query; None: all.
        level: Number of specified attributes; None if not applicable.
        ci_low: Lower end of the 95 % confidence interval over queries.
        ci_high: Upper end.
        ceiling: Expected score of a perfect generator. A reference, not a bound.
        floor: Expected score of a generator that ignores the query, or of a collapsed one. A reference, not a bound.
        num_queries: Queries (or examples) behind the value.
        num_samples: Images drawn per query, or importance samples per image; None if nothing is drawn.
        per_query: The score of each query, in the order of the fixed queries, so that differences can be paired; of
            each image of a named query.
        groups: For each query the number of the full concept behind it: those that share one are resampled together.
            None: each is resampled on its own.
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
            plain["per_query"] = [None if math.isnan(value) else round(value, 6) for value in self.per_query]
        return plain

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Self:
        """The inverse of :meth:`to_json`."""
        values = dict(plain)
        for key in ("value", "ci_low", "ci_high", "ceiling", "floor"):
            values[key] = math.nan if values.get(key) is None else values[key]
        if values.get("per_query") is not None:
            values["per_query"] = [math.nan if value is None else value for value in values["per_query"]]
        return cls(**values)
