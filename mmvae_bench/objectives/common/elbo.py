"""The evidence lower bound, from which every objective here is built."""

from __future__ import annotations

from torch import Tensor


def elbo(
    *,
    log_px: Tensor | None = None,
    log_py: Tensor | None = None,
    kl: Tensor,
    image_weight: float = 1.0,
    concept_weight: float = 1.0,
    kl_weight: float = 1.0,
) -> Tensor:
    """``a log p(x|z) + b log p(y|z) - c KL(q(z|.) || p(z))`` of each example, at one sample of z.

    Vedantam et al. (2018), Eq. 1, with the weights of Sec. 2.1.

    Args:
        log_px: Float[B], nats, summed over pixels; None where the bound has no image term.
        log_py: Float[B], nats, summed over attributes; None where it has no concept term.
        kl: Float[B], nats.
        image_weight: a.
        concept_weight: b, also called lambda (joint) and gamma (concept alone).
        kl_weight: c.

    Returns:
        Float[B], to be maximised.

    >>> import torch
    >>> elbo(log_px=torch.tensor([-10.0]), log_py=torch.tensor([-2.0]), kl=torch.tensor([3.0]), concept_weight=50.0)
    tensor([-113.])
    """
    bound = -kl_weight * kl
    if log_px is not None:
        bound = bound + image_weight * log_px
    if log_py is not None:
        bound = bound + concept_weight * log_py
    return bound
