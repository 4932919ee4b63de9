"""The distributions with which imagined values are compared: uniform, the training marginal, and p(y_k | y_O); and the
answers that ignore a query, which every score is read against.

Shapes: N image, U distinct concept, Q query, A attribute, V value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ..concepts import UNSPECIFIED, satisfies
from ..metrics.functional import NOT_SCORED, blind_all_correct, blind_correctness
from ..metrics.protocols import SMOOTHING, Target

# Bounds the memory of the comparison of queries with training concepts.
_QUERIES_AT_ONCE = 64
_NOTHING = 1e-9
"""Training rows that the marginal counts for where only a query without any matching row may use it."""


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

    def exact(self, queries: Tensor) -> list[Tensor]:
        """What an exact conditional generator draws each attribute from: p(y_k | y_O) of the training rows that match.

        Not smoothed: it shows what the data hold, whatever a protocol compares it with. The marginal where no row
        matches. Double[Q, V] of each attribute.
        """
        return self.conditional(queries, smoothing=_NOTHING)

    def target(self, kind: Target, queries: Tensor) -> list[Tensor]:
        """The reference of a protocol: Double[V] or Double[Q, V] of each attribute."""
        if kind == "uniform":
            return self.uniform()
        return self.marginal() if kind == "marginal" else self.conditional(queries)

    @property
    def majority(self) -> Tensor:
        """Long[A]: the most frequent value of each attribute."""
        return torch.stack([table.argmax() for table in self.marginal()])

    def _one_hot(self) -> list[Tensor]:
        """Double[U, V] of each attribute."""
        return [one_hot(self.combinations[:, k], size).double() for k, size in enumerate(self.sizes)]


@dataclass(frozen=True)
class BlindGenerator:
    """A generator that ignores the query: its images have concepts drawn from training, seen through the classifier.

    What it scores is the floor of a correctness. The classifier's errors belong to it: they turn some of its images
    into what a query asks for, as they do with the images of a trained model, and a ceiling has them too. Training
    concepts, not the held-out images themselves, because a split may withhold concepts from training.

    Attributes:
        training: The concepts that it draws from.
        confusion: How often the classifier reads each true value (row) as each value (column): Double[V, V] each.
        scored: Bool[A]: the attributes that count.
    """

    training: TrainingConcepts
    confusion: Sequence[Tensor]
    scored: Tensor

    def read(self) -> list[Tensor]:
        """How often the classifier reads each value in its images: Double[V] of each attribute."""
        marginal = self.training.marginal()
        return [drawn @ table for drawn, table in zip(marginal, self.confusion, strict=True)]

    def correctness(self, concepts: Tensor) -> Tensor:
        """Its expected correctness, Double[Q], for Long[Q, A]; nan where nothing that counts is specified."""
        return blind_correctness(concepts, self.read(), scored=self.scored)

    def correctness_of_each(self, concepts: Tensor) -> Tensor:
        """The same of each attribute alone: Double[Q, A]; nan where it is not specified or does not count."""
        alone = zip(concepts.split(1, 1), self.read(), self.scored.split(1), strict=True)
        return torch.stack([blind_correctness(each, [table], scored=counts) for each, table, counts in alone], 1)

    def all_correct(self, concepts: Tensor) -> Tensor:
        """How often an image of its shows all that a query specifies: Double[Q], nan likewise."""
        training = self.training
        return blind_all_correct(concepts, training.combinations, training.counts, self.confusion, scored=self.scored)

    def constant(self, num_queries: int) -> Tensor:
        """What the best constant answer shows: one image of the most frequent values of training, Long[Q, 1, A].

        Nothing blurs it: a generator that shows the same image every time can show one that is read so. -1 where an
        attribute does not count.
        """
        shown = self.training.majority.masked_fill(~self.scored, NOT_SCORED)
        return shown.expand(num_queries, 1, -1)
