"""Coverage as a metric."""

from __future__ import annotations

from torch import Tensor

from .functional import coverage
from .query_mean import ReferencedQueryMean


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
