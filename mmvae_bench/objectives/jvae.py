"""JVAE: the joint ELBO alone (Vedantam et al. 2018, Eq. 1)."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import kl_divergence

from ..data.batch import Batch
from ..specs.built_in.objectives import JVAESpec
from .base import Objective, Terms
from .common.elbo import elbo


def jvae(*, log_px: Tensor, log_py: Tensor, kl: Tensor, lambda_: float) -> Terms:
    """``-E_q(z|x,y)[log p(x|z) + lambda log p(y|z)] + KL(q(z|x,y) || p(z))``, the batch mean.

    Args:
        log_px: log p(x|z), Float[B], z ~ q(z|x,y).
        log_py: log p(y|z), Float[B], at the same z.
        kl: KL(q(z|x,y) || p(z)), Float[B].
        lambda_: Weight of log p(y|z).
    """
    bound = elbo(log_px=log_px, log_py=log_py, kl=kl, concept_weight=lambda_)
    return Terms(-bound.mean(), {"joint/log_px": log_px, "joint/log_py": log_py, "joint/kl": kl})


class JVAE(Objective):
    """q(z|x,y), p(x|z) and p(y|z), fitted together."""

    spec: JVAESpec

    def terms(self, batch: Batch) -> Terms:
        """The joint ELBO at one z ~ q(z|x,y)."""
        return joint_terms(self, batch, lambda_=self.spec.lambda_)


def joint_terms(model: Objective, batch: Batch, *, lambda_: float) -> Terms:
    """The negative joint ELBO of any objective with q(z|x,y): JVAE, and the first term of TELBO."""
    q = model.posterior(batch.image, batch.description)
    z = q.rsample()
    px, py = model.likelihood(z, batch.description)
    terms = jvae(
        log_px=px.log_prob(batch.image),
        log_py=py.log_prob(batch.description),
        kl=kl_divergence(q, model.prior(q)),
        lambda_=lambda_,
    )
    terms.latents["joint"] = z
    return terms
