"""What the metrics over queries share: a sum and a count, exact under any split into batches and processes."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from .functional.validation import as_reference, check_base


class QueryMean(Metric, ABC):
    """The mean over queries of a score, nan left out; nan where nothing is scored.

    The states are the sum and the number of the scores that are not nan, in float64 and reduced by summation.
    A collection of metrics takes two with equal state names and, after one batch, equal states for one metric and from
    then on updates only the first. So the names hold the class and a digest of the settings: coverage under two
    references stays two metrics even when the first batch scores nothing.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, *settings: Tensor | float) -> None:
        super().__init__()
        told = repr([setting.tolist() if isinstance(setting, Tensor) else setting for setting in settings])
        name = f"{type(self).__name__}_{hashlib.sha256(told.encode()).hexdigest()[:12]}"
        self._sum, self._count = f"{name}_sum", f"{name}_count"
        for state in (self._sum, self._count):
            self.add_state(state, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    @abstractmethod
    def score(self, predictions: Tensor, concepts: Tensor) -> Tensor:
        """Long[query, sample, attribute], Long[query, attribute] -> Float[query], nan where a query has no score."""

    def update(self, predictions: Tensor, concepts: Tensor) -> None:
        """Add queries.

        Args:
            predictions: Long[query, sample, attribute]; -1 where an attribute is not scored.
            concepts: Long[query, attribute]; -1 where an attribute is unspecified.

        Raises:
            ValueError: shapes disagree, or a value is out of range.
        """
        scores = self.score(predictions, concepts)
        scored = ~scores.isnan()
        # Not in place: a sum in float64 stays in float64 even where a module was cast to half precision around it.
        setattr(self, self._sum, getattr(self, self._sum) + scores[scored].sum())
        setattr(self, self._count, getattr(self, self._count) + scored.sum().double())

    def compute(self) -> Tensor:
        """The mean over the queries that have a score, Float[]."""
        total: Tensor = getattr(self, self._sum)
        count: Tensor = getattr(self, self._count)
        return total / count


class ReferencedQueryMean(QueryMean):
    """A mean over queries of a score against a reference that is the same for all of them."""

    def __init__(self, reference: Sequence[Tensor], base: float = 2.0) -> None:
        check_base(base)
        tables = as_reference(reference)
        for k, table in enumerate(tables):
            if table.ndim != 1:
                raise ValueError(
                    f"reference of attribute {k} must have the shape [value], got {tuple(table.shape)}: "
                    "where it depends on the query, average the functional form over queries"
                )
        super().__init__(*tables, base)
        # Plain tensors, not buffers: casting a surrounding module to half precision rounds its buffers.
        self.reference, self.base = tuple(tables), base
