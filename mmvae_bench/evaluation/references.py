"""The distributions with which imagined values are compared: uniform, the training marginal, and p(y_k | y_O).

Shapes: N image, U distinct concept, Q query, A attribute, V value.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ..concepts import UNSPECIFIED, satisfies
from ..metrics.protocols import SMOOTHING, Target

# Bounds the memory of the comparison of queries with training concepts.
_QUERIES_AT_ONCE = 64


class TrainingConcepts:
    """The concepts of a training partition, as their distinct combinations and how often each occurs.

    Args:
        concepts: Long[N, A], fully specified.
        sizes: The number of values of each attribute.

    >>> training = TrainingConcepts(torch.tensor([[0, 0], [0, 0], [1, 1], [1, 0]]), sizes=(2, 2))
    >>> [table.tolist() for table in training.marginal()]
    [[0.5, 0.5], [0.75, 0.25]]
    """

    def __init__(self, concepts: Tensor, *, sizes: Sequence[int]) -> None:
        if not len(concepts):
            raise ValueError("a reference needs training concepts")
        self.combinations, counts = concepts.cpu().unique(dim=0, return_counts=True)
        self.counts = counts.double()
        self.sizes = tuple(sizes)

    def uniform(self) -> list[Tensor]:
        """Double[V] of each attribute: 1 / V."""
        return [torch.full((size,), 1 / size, dtype=torch.float64) for size in self.sizes]

    def marginal(self) -> list[Tensor]:
        """p(y_k) in training: Double[V] of each attribute."""
        return [self.counts @ values / self.counts.sum() for values in self._one_hot()]

    def conditional(self, queries: Tensor, *, smoothing: float = SMOOTHING) -> list[Tensor]:
        """p(y_k | y_O) in training, smoothed towards the marginal where few training rows match.

        ``p(v | y_O) = (count(v, y_O) + s p(v)) / (count(y_O) + s)`` for an unspecified attribute; everything on its
        value for a specified one. With nothing specified it is the marginal.

        Args:
            queries: Long[Q, A], -1 where unspecified.
            smoothing: s, in training rows; positive.

        Returns:
            Double[Q, V] of each attribute.

        Raises:
            ValueError: ``smoothing`` is not positive: a query that no training row matches has no reference then.
        """
        if not smoothing > 0:
            raise ValueError(f"smoothing must be a positive number of training rows, got {smoothing}")
        queries = queries.cpu()
        parts = [satisfies(self.combinations, part) * self.counts for part in queries.split(_QUERIES_AT_ONCE)]
        matching = torch.cat([torch.zeros(0, len(self.counts), dtype=torch.float64), *parts])
        total = matching.sum(1, keepdim=True) + smoothing
        tables = []
        for k, (values, marginal) in enumerate(zip(self._one_hot(), self.marginal(), strict=True)):
            smoothed = (matching @ values + smoothing * marginal) / total
            given = one_hot(queries[:, k].clamp(min=0), self.sizes[k]).double()
            tables.append(torch.where(queries[:, k, None] == UNSPECIFIED, smoothed, given))
        return tables

    def target(self, kind: Target, queries: Tensor) -> list[Tensor]:
        """The reference of a protocol: Double[V] or Double[Q, V] of each attribute."""
        if kind == "uniform":
            return self.uniform()
        return self.marginal() if kind == "marginal" else self.conditional(queries)

    def unconditional(self, kind: Target) -> list[Tensor]:
        """What a generator that ignores the query draws each value from, under a protocol: Double[V] each.

        The uniform distribution where that is the target, else the training marginal, also where the target is
        conditioned on the query.
        """
        return self.uniform() if kind == "uniform" else self.marginal()

    def _one_hot(self) -> list[Tensor]:
        """Double[U, V] of each attribute."""
        return [one_hot(self.combinations[:, k], size).double() for k, size in enumerate(self.sizes)]
