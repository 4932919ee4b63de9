"""Latents of several things in one image, each of a kind and in a style, and the image that they are united in.

Shapes: B batch, K component, V kind, S dimension of a style, C channel, H height, W width. z is K * (V + S) numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from einops import rearrange
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    Normal,
    OneHotCategorical,
    RelaxedOneHotCategorical,
    constraints,
    kl_divergence,
    register_kl,
)
from torch.nn import functional as F

from .pixels import bernoulli_image


class Components(Distribution):
    """prod_k Cat(d_k) N(n_k): K things, the kind d_k of each as a one-hot vector, and its style n_k behind it.

    Args:
        logits: Float[..., K, V], of the kinds.
        mean: Float[..., K, S], of the styles.
        scale: Float[..., K, S].
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.real_vector

    def __init__(self, logits: Tensor, mean: Tensor, scale: Tensor) -> None:
        self.kind = OneHotCategorical(logits=logits, validate_args=False)
        self.style = Independent(Normal(mean, scale), 1)
        self.sizes = (logits.shape[-1], mean.shape[-1])
        size = logits.shape[-2] * sum(self.sizes)
        super().__init__(logits.shape[:-2], torch.Size([size]), validate_args=False)

    @classmethod
    def prior(cls, *shape: int, num_kinds: int, style_size: int, like: Tensor) -> Components:
        """Every kind as probable as the others, and N(0, I), of components of a shape (..., K).

        Args:
            shape: Of the batch, and K.
            num_kinds: V.
            style_size: S.
            like: A tensor of the type and on the device that are wanted.
        """
        mean = like.new_zeros(*shape, style_size)
        return cls(like.new_zeros(*shape, num_kinds), mean, torch.ones_like(mean))

    def where(self, present: Tensor) -> Components:
        """The same of the components that are present, Bool[..., K], and the prior of the others."""
        there, base = present[..., None], self.style.base_dist
        return Components(
            torch.where(there, self.kind.logits, 0.0),
            torch.where(there, base.loc, 0.0),
            torch.where(there, base.scale, 1.0),
        )

    @property
    def mean(self) -> Tensor:
        """Float[..., K * (V + S)]: probabilities of kinds, and means of styles."""
        return _flat(self.kind.probs, self.style.mean)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Float[sample, ..., K * (V + S)], the kinds one-hot."""
        shape = torch.Size(sample_shape)
        return _flat(self.kind.sample(shape), self.style.sample(shape))

    def relaxed(self, temperature: float | None) -> Tensor:
        """Float[..., K * (V + S)] that gradients reach: styles are sampled. So are kinds, relaxed by a temperature
        (Maddison et al. 2017); with None they are their probabilities."""
        kinds = self.kind.probs
        if temperature is not None:
            kinds = RelaxedOneHotCategorical(kinds.new_tensor(temperature), logits=self.kind.logits).rsample()
        return _flat(kinds, self.style.rsample())

    def log_prob(self, value: Tensor) -> Tensor:
        """Float[...], of values with one-hot kinds."""
        each = rearrange(value, "... (k s) -> ... k s", s=sum(self.sizes))
        kinds, styles = each.split(self.sizes, -1)
        total: Tensor = ((kinds * self.kind.logits).sum(-1) + self.style.log_prob(styles)).sum(-1)
        return total

    def divergences(self, other: Components) -> Tensor:
        """KL(self || other) of each component, Float[..., K]."""
        return kl_divergence(self.kind, other.kind) + kl_divergence(self.style, other.style)


def _kl(p: Components, q: Components) -> Tensor:
    return p.divergences(q).sum(-1)


# No decorator: a statement counts in the fingerprint of what uses this file, a function that nothing names does not.
register_kl(Components, Components)(_kl)


def _flat(kinds: Tensor, styles: Tensor) -> Tensor:
    return rearrange(torch.cat([kinds, styles], -1), "... k s -> ... (k s)")


def log_dark(logits: Tensor, log_absent: Tensor, *, leak: float) -> Tensor:
    """The log probability that a pixel is dark, of a union of components: Float[B, C, H, W].

    ``log (1 - e) prod_k (1 - w_k p_k)``, a noisy or: of ``p_k = sigmoid(l_k)`` and ``log (1 - w_k) = a_k`` each factor
    is ``(1 + exp(l_k + a_k)) / (1 + exp(l_k))``, which is exact and has a gradient for every w, 0 and 1 included.

    Args:
        logits: l_k of each component's own picture, Float[B, K, C, H, W].
        log_absent: a_k, Float[B, K]: 0 where a component is absent, minus infinity where it is present.
        leak: e, the probability that a pixel is lit for no component's sake.
    """
    shifted = logits + log_absent[..., None, None, None]
    # softplus is -logsigmoid(-x), which torch computes without an approximation for large x.
    dark = (F.logsigmoid(-logits) - F.logsigmoid(-shifted)).sum(1)
    # Above 0 by rounding alone, of log_absent in bfloat16 by more than the leak. Its gradient stays.
    return dark - dark.detach().clamp_min(0) + _log_off(leak, logits)


def log_dark_of_first(logits: Tensor, *, leak: float) -> Tensor:
    """:func:`log_dark` of none of the components, the first, the first two and so on: Float[B, K + 1, C, H, W]."""
    summed = F.logsigmoid(-logits).cumsum(1)
    return torch.cat([torch.zeros_like(summed[:, :1]), summed], 1) + _log_off(leak, logits)


def union_image(log_dark: Tensor) -> Distribution:
    """Independent Bernoulli pixels that are dark with a log probability, Float[..., C, H, W], below 0."""
    return bernoulli_image((-torch.expm1(log_dark)).log() - log_dark)


def _log_off(leak: float, like: Tensor) -> Tensor:
    return torch.log1p(-like.new_tensor(leak))
