"""Correctness as a metric."""

from __future__ import annotations

from torch import Tensor

from .functional import correctness
from .query_mean import QueryMean


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
