"""A distribution over rows of links.

Shapes: B batch, A attribute: a paper that there may be a link to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from ..concepts import UNSPECIFIED


class FactorisedBernoulli(Distribution):
    """Independent attributes of two values, in one tensor: p(y|z) = prod_k p(y_k|z).

    :class:`~mmvae_bench.distributions.latents.FactorisedCategorical` for thousands of attributes with the values 0 and
    1; an unspecified one (-1) does not contribute to ``log_prob``.

    Args:
        logits: Float[..., A], log p(y_k = 1) - log p(y_k = 0).
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.independent(constraints.integer_interval(UNSPECIFIED, 1), 1)

    def __init__(self, logits: Tensor, *, validate_args: bool | None = None) -> None:
        self.logits = logits
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        """Float[...]: sum over the specified attributes of ``value`` (Long[..., A])."""
        if self._validate_args:
            self._validate_sample(value)
        # log p(1) = l - softplus(l), log p(0) = -softplus(l).
        each = value * self.logits - F.softplus(self.logits)
        return torch.where(value == UNSPECIFIED, 0.0, each).sum(-1)

    @property
    def mean(self) -> Tensor:
        """Float[..., A]: p(y_k = 1)."""
        return self.logits.sigmoid()

    @property
    def mode(self) -> Tensor:
        """Long[..., A]: the more probable value of each attribute."""
        return (self.logits > 0).long()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Long[sample, ..., A]."""
        probability = self.logits.sigmoid().expand(*sample_shape, *self.logits.shape)
        return torch.bernoulli(probability).long()
