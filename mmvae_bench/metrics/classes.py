"""The metrics over queries as torchmetrics classes: a sum and a count, exact under any split over processes."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from .functional import compositionality, correctness, coverage, joint_divergence
from .functional.validation import as_indices, as_reference, check_base


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
        values = repr([setting.tolist() if isinstance(setting, Tensor) else setting for setting in settings])
        name = f"{type(self).__name__}_{hashlib.sha256(values.encode()).hexdigest()[:12]}"
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


class Correctness(QueryMean):
    """The mean over queries of :func:`~mmvae_bench.metrics.functional.correctness`.

    >>> import torch
    >>> metric = Correctness()
    >>> metric.update(torch.tensor([[[1, 0], [1, 2]], [[0, 0], [1, 2]]]), torch.tensor([[1, 2], [-1, -1]]))
    >>> metric.compute()
    tensor(0.7500, dtype=torch.float64)
    """

    higher_is_better = True

    def score(self, predictions: Tensor, concepts: Tensor) -> Tensor:
        return correctness(predictions, concepts)


class Coverage(ReferencedQueryMean):
    """The mean over queries of :func:`~mmvae_bench.metrics.functional.coverage`.

    Args:
        reference: Float[value] of each attribute, one for all queries.
        base: of the logarithm: 2 for bits, ``math.e`` for nats.

    Raises:
        ValueError: a reference is no distribution or depends on the query, or the base is not above 1.

    >>> import torch
    >>> metric = Coverage([torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.5])])
    >>> metric.update(torch.tensor([[[0, 1], [1, 1]]]), torch.tensor([[-1, 1]]))
    >>> metric.compute()
    tensor(1., dtype=torch.float64)
    """

    higher_is_better = True

    def score(self, predictions: Tensor, concepts: Tensor) -> Tensor:
        return coverage(predictions, concepts, self.reference, self.base)


class Compositionality(QueryMean):
    """The mean of :func:`~mmvae_bench.metrics.functional.compositionality` over the queries never seen in training.

    Args:
        training_concepts: Long[combination, attribute], the combinations seen in training; duplicates are allowed.

    Raises:
        ValueError: ``training_concepts`` is not an integer tensor of that shape.

    >>> import torch
    >>> metric = Compositionality(torch.tensor([[0, 0], [0, 0], [1, 1]]))
    >>> metric.update(torch.tensor([[[0, 0]], [[0, 0]]]), torch.tensor([[0, 0], [0, 1]]))
    >>> metric.compute()
    tensor(0.5000, dtype=torch.float64)
    """

    higher_is_better = True

    def __init__(self, training_concepts: Tensor) -> None:
        given = as_indices(training_concepts, "training_concepts", "[combination, attribute]")
        combinations = given.unique(dim=0)
        super().__init__(combinations)
        self.training_concepts = combinations

    def score(self, predictions: Tensor, concepts: Tensor) -> Tensor:
        return compositionality(predictions, concepts, self.training_concepts)


class JointDivergence(ReferencedQueryMean):
    """The mean over queries of :func:`~mmvae_bench.metrics.functional.joint_divergence`; lower is better.

    Args:
        reference: Float[value] of each attribute, one for all queries.
        base: of the logarithm: 2 for bits, ``math.e`` for nats.

    Raises:
        ValueError: a reference is no distribution or depends on the query, or the base is not above 1.

    >>> import torch
    >>> metric = JointDivergence([torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.5])])
    >>> metric.update(torch.tensor([[[0, 0], [1, 0]]]), torch.tensor([[-1, 1]]))
    >>> metric.compute()
    tensor(0.5000, dtype=torch.float64)
    """

    higher_is_better = False

    def score(self, predictions: Tensor, concepts: Tensor) -> Tensor:
        return joint_divergence(predictions, concepts, self.reference, self.base)
