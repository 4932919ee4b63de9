"""Joint divergence as a metric."""

from __future__ import annotations

from torch import Tensor

from .functional import joint_divergence
from .query_mean import ReferencedQueryMean


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
