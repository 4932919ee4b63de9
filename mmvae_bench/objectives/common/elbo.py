"""The evidence lower bound, from which every objective here is built, and the joint one that many begin with."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from ...data.batch import Batch
from ..base import Objective, Terms


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
        log_px: Float[B], nats, summed over pixels; None if the bound has no image term.
        log_py: Float[B], nats, summed over attributes; None if it has no concept term.
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


def joint_elbo(*, log_px: Tensor, log_py: Tensor, kl: Tensor, lambda_: float, image_weight: float = 1.0) -> Terms:
    """``-E_q(z|x,y)[a log p(x|z) + lambda log p(y|z)] + KL(q(z|x,y) || p(z))``, the batch mean.

    Vedantam et al. (2018), Eq. 1, with the weight a of Sec. 2.1.

    Args:
        log_px: log p(x|z), Float[B], z ~ q(z|x,y).
        log_py: log p(y|z), Float[B], at the same z.
        kl: KL(q(z|x,y) || p(z)), Float[B].
        lambda_: Weight of log p(y|z).
        image_weight: a.
    """
    bound = elbo(log_px=log_px, log_py=log_py, kl=kl, image_weight=image_weight, concept_weight=lambda_)
    return Terms(-bound.mean(), {"joint/log_px": log_px, "joint/log_py": log_py, "joint/kl": kl})


def joint_terms(
    model: Objective, batch: Batch, *, lambda_: float, image_weight: float = 1.0, q: Distribution | None = None
) -> Terms:
    """:func:`joint_elbo` of any objective with q(z|x,y), at one z: JVAE, and the first term of others.

    Args:
        model: With q(z|x,y), p(x|z) and p(y|z).
        batch: B examples.
        lambda_: Weight of log p(y|z).
        image_weight: Weight of log p(x|z).
        q: q(z|x,y) of the batch, for an objective that also needs it elsewhere; None: computed here.
    """
    q = model.posterior(batch.image, batch.description) if q is None else q
    z = q.rsample()
    px, py = model.likelihood(z, batch.description)
    terms = joint_elbo(
        log_px=px.log_prob(batch.image),
        log_py=py.log_prob(batch.description),
        kl=kl_divergence(q, model.prior(q)),
        lambda_=lambda_,
        image_weight=image_weight,
    )
    terms.latents["joint"] = z
    return terms
