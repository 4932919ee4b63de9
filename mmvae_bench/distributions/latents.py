"""The distributions over latents and attributes that networks return, beyond those of torch.

Shapes: B batch, A attribute, V value, D latent dimension.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, constraints
from torch.nn import functional as F

from ..concepts import UNSPECIFIED


def log_mean_exp(log_weights: Tensor) -> Tensor:
    """``log (1/K) sum_k w_k`` over the first dimension, from log w: the bound of Burda et al. (2016), Eq. 8.

    >>> round(float(log_mean_exp(torch.tensor([0.0, 2.0]))), 4)
    1.4338
    """
    return log_weights.logsumexp(0) - math.log(len(log_weights))


def diagonal_normal(mean: Tensor, log_scale: Tensor) -> Distribution:
    """N(mean, diag(exp(log_scale))^2), the posterior of every encoder; both are Float[..., D]."""
    return Independent(Normal(mean, log_scale.exp()), 1)


def standard_normal(like: Distribution) -> Distribution:
    """The prior N(0, I) with the shape, type and device of ``like``."""
    mean = like.mean
    return Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)


def product_of_experts(means: Tensor, log_scales: Tensor, specified: Tensor) -> Distribution:
    """The normalised product of N(0, I) and the Gaussian experts of the specified attributes.

    ``q(z|y_O) proportional to p(z) prod_{k in O} N(z; mean_k, scale_k^2)`` (Vedantam et al. 2018, Eq. 6). With
    nothing specified it is exactly N(0, I).

    Args:
        means: Float[B, A, D].
        log_scales: Float[B, A, D].
        specified: Bool[B, A]; the other experts are left out.
    """
    precisions = (-2 * log_scales).exp()
    # Masked with where, not by a product: an expert that is left out may be infinite.
    precisions = torch.where(specified[..., None], precisions, 0.0)
    means = torch.where(specified[..., None], means, 0.0)
    total = 1 + precisions.sum(-2)
    return Independent(Normal((precisions * means).sum(-2) / total, total.rsqrt()), 1)


class FactorisedCategorical(Distribution):
    """Independent categorical attributes, each with its own number of values: p(y|z) = prod_k p(y_k|z).

    Args:
        logits: One Float[..., V_k] per attribute.

    An unspecified attribute (-1) is marginalised out: it does not contribute to ``log_prob``.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, logits: Sequence[Tensor], *, validate_args: bool | None = None) -> None:
        self.log_probs = [F.log_softmax(part, dim=-1) for part in logits]
        shape = self.log_probs[0].shape[:-1]
        super().__init__(shape, torch.Size([len(self.log_probs)]), validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """Integers from -1 (unspecified) up."""
        return constraints.independent(constraints.integer_interval(UNSPECIFIED, self._largest), 1)

    @property
    def _largest(self) -> int:
        return max(part.shape[-1] for part in self.log_probs) - 1

    def log_prob(self, value: Tensor) -> Tensor:
        """Float[...]: sum over the specified attributes of ``value`` (Long[..., A])."""
        if self._validate_args:
            self._validate_sample(value)
        total = torch.zeros(value.shape[:-1], dtype=self.log_probs[0].dtype, device=value.device)
        for k, log_prob in enumerate(self.log_probs):
            index = value[..., k : k + 1]
            shape = torch.broadcast_shapes(log_prob.shape[:-1], index.shape[:-1])
            picked = log_prob.expand(*shape, -1).gather(-1, index.clamp_min(0).expand(*shape, 1))
            total = total + torch.where(index == UNSPECIFIED, 0.0, picked).squeeze(-1)
        return total

    @property
    def mode(self) -> Tensor:
        """Long[..., A]: the most probable value of each attribute."""
        return torch.stack([part.argmax(-1) for part in self.log_probs], dim=-1)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Long[sample, ..., A]."""
        shape = torch.Size(sample_shape)
        parts = [torch.distributions.Categorical(logits=part).sample(shape) for part in self.log_probs]
        return torch.stack(parts, dim=-1)
