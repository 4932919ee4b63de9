"""Compositionality as a metric."""

from __future__ import annotations

from torch import Tensor

from .functional import compositionality
from .functional.validation import as_indices
from .query_mean import QueryMean


class Compositionality(QueryMean):
    """The mean of :func:`~mmvae_bench.metrics.functional.compositionality` over the queries that training never met.

    Args:
        training_concepts: Long[combination, attribute], the combinations that training showed; repeats do no harm.

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
