"""Products over subsets of Gaussian experts, and mixtures of those.

Shapes: B batch, M modality, K subset or component, D latent dimension.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal


@dataclass(frozen=True)
class Experts:
    """One Gaussian expert per modality, in natural parameters, so that a product is a sum.

    Attributes:
        precision: Float[B, M, D], 1 / scale^2.
        shift: Float[B, M, D], mean / scale^2.
        present: Bool[B, M]; the experts of the others are arbitrary and never used.
    """

    precision: Tensor
    shift: Tensor
    present: Tensor


def products(experts: Experts, subsets: Tensor, *, prior: bool) -> Distribution:
    """The normalised product of the experts of each subset: ``q_S proportional to [p(z)] prod_{m in S} q_m``.

    Absent modalities are left out. Where nothing is left, the result is the prior N(0, I).

    Args:
        experts: One per modality.
        subsets: Bool[K, M].
        prior: Whether the prior is also a factor of every product.

    Returns:
        A diagonal normal over Float[B, K, D].

    >>> import torch
    >>> quarter = torch.full((1, 2, 1), 0.25)
    >>> experts = Experts(precision=quarter, shift=quarter, present=torch.tensor([[True, False]]))
    >>> products(experts, torch.tensor([[True, True], [False, True]]), prior=False).stddev.flatten()
    tensor([2., 1.])
    """
    used = subsets & experts.present[:, None]
    weights, present = used.to(experts.precision.dtype), experts.present[..., None]
    # Masked with where, not by a product: an expert that is left out may be infinite.
    precision = torch.where(present, experts.precision, 0.0)
    shift = torch.where(present, experts.shift, 0.0)
    # Under autocast a matrix product would round the precisions to eight bits.
    with torch.autocast(precision.device.type, enabled=False):
        total, shift = weights @ precision, weights @ shift
    total = total + (1.0 if prior else (~used.any(-1, keepdim=True)).to(total.dtype))
    return Independent(Normal(shift / total, total.rsqrt()), 1)


def component(normals: Distribution, chosen: Tensor | int) -> Distribution:
    """One of the K normals of each row: over Float[B, K, D] to over Float[B, D].

    Args:
        normals: Diagonal.
        chosen: Long[B], or one number for all rows.
    """
    mean, scale = normals.mean, normals.stddev
    if isinstance(chosen, int):
        return Independent(Normal(mean[:, chosen], scale[:, chosen]), 1)
    rows = torch.arange(len(chosen), device=chosen.device)
    return Independent(Normal(mean[rows, chosen], scale[rows, chosen]), 1)


def usable(any_present: Tensor) -> Tensor:
    """Bool[B, K]: which components count; in a row where none has a modality present, all of them."""
    return any_present | ~any_present.any(-1, keepdim=True)


def mixture(normals: Distribution, counts: Tensor) -> Distribution:
    """The mixture of K normals with equal weights for those that count.

    Args:
        normals: Diagonal, over Float[B, K, D].
        counts: Bool[B, K], at least one in each row.
    """
    logits = torch.where(counts, 0.0, -torch.inf).to(normals.mean.dtype)
    return MixtureSameFamily(Categorical(logits=logits), normals)


def stratified_choice(counts: Tensor) -> Tensor:
    """A component for each row, each that counts with equal probability, spread evenly over the batch.

    Systematic sampling: row by row the marginal is uniform, so an expectation over the mixture is estimated without
    bias; over a batch every component comes up about equally often.

    Args:
        counts: Bool[B, K], at least one in each row.

    Returns:
        Long[B].
    """
    num_rows, device = len(counts), counts.device
    cumulative = counts.double().cumsum(-1)
    slots = torch.randperm(num_rows, device=device) + torch.rand(num_rows, device=device, dtype=torch.float64)
    chosen = (cumulative <= cumulative[:, -1:] * slots[:, None] / num_rows).sum(-1)
    return chosen.clamp_max(counts.shape[1] - 1)


def all_subsets(num_modalities: int) -> Tensor:
    """Every non-empty subset: Bool[2^M - 1, M].

    >>> all_subsets(2).tolist()
    [[False, True], [True, False], [True, True]]
    """
    return torch.tensor(list(itertools.product((False, True), repeat=num_modalities))[1:])
