"""The Jensen-Shannon divergence between categorical distributions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .validation import as_distribution, check_base

if TYPE_CHECKING:
    from jaxtyping import Float, Float64


def js_terms(p: Tensor, q: Tensor, base: float = 2.0) -> Tensor:
    """What each value adds to the divergence: f(p, q) = [p log(2p / (p+q)) + q log(2q / (p+q))] / 2, never negative.

    Element by element, unchecked, in the precision of its inputs; nan where an input is nan. The divergence is the sum
    of the terms over values.
    """
    total = p + q
    total = total.masked_fill(total == 0, 1.0)
    terms = torch.xlogy(p, 2 * p / total) + torch.xlogy(q, 2 * q / total)
    return terms.clamp(min=0.0) / (2 * check_base(base))


def js_divergence(
    p: Float[Tensor, "*#rows value"], q: Float[Tensor, "*#rows value"], base: float = 2.0
) -> Float64[Tensor, "*rows"]:
    """Jensen-Shannon divergence along the last axis, in [0, log_base 2].

    JS(p, q) = [KL(p || m) + KL(q || m)] / 2 with m = (p + q) / 2, and 0 log 0 = 0 exactly (Lin 1991, with equal
    weights; the square of the Jensen-Shannon distance).

    Args:
        p: probabilities, summing to 1 along the last axis; leading axes broadcast against those of ``q``.
        q: the same.
        base: of the logarithm: 2 for bits, ``math.e`` for nats.

    Raises:
        ValueError: an input is negative, not normalised or not finite, or the numbers of values differ.

    >>> js_divergence(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    tensor(1., dtype=torch.float64)
    """
    p, q = as_distribution(p, "p"), as_distribution(q, "q")
    if p.shape[-1] != q.shape[-1]:
        raise ValueError(f"p has {p.shape[-1]} values and q has {q.shape[-1]}")
    return js_terms(p, q, base).sum(-1)
