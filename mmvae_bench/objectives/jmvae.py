"""JMVAE-kl (Suzuki et al. 2017, Eq. 5; with the weights of Vedantam et al. 2018, Sec. 4)."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import kl_divergence

from ..data.batch import Batch
from ..specs.built_in.objectives import JMVAESpec
from .base import Objective, Terms
from .common.elbo import elbo


def jmvae(
    *,
    log_px: Tensor,
    log_py: Tensor,
    kl: Tensor,
    kl_to_concept: Tensor,
    kl_to_image: Tensor,
    lambda_: float,
    alpha: float,
) -> Terms:
    """The negative joint ELBO plus ``alpha [KL(q(z|x,y) || q(z|y)) + KL(q(z|x,y) || q(z|x))]``, the batch mean.

    Args:
        log_px: log p(x|z), Float[B], z ~ q(z|x,y).
        log_py: log p(y|z), Float[B], at the same z.
        kl: KL(q(z|x,y) || p(z)), Float[B].
        kl_to_concept: KL(q(z|x,y) || q(z|y)), Float[B].
        kl_to_image: KL(q(z|x,y) || q(z|x)), Float[B].
        lambda_: Weight of log p(y|z).
        alpha: Weight of the two last divergences.
    """
    bound = elbo(log_px=log_px, log_py=log_py, kl=kl, concept_weight=lambda_)
    loss = -(bound - alpha * (kl_to_concept + kl_to_image)).mean()
    parts = {
        "joint/log_px": log_px,
        "joint/log_py": log_py,
        "joint/kl": kl,
        "joint/kl_to_concept": kl_to_concept,
        "joint/kl_to_image": kl_to_image,
    }
    return Terms(loss, parts)


class JMVAE(Objective):
    """JVAE whose unimodal posteriors are made to cover the joint one."""

    spec: JMVAESpec

    def terms(self, batch: Batch) -> Terms:
        """The joint ELBO at one z ~ q(z|x,y), and three analytic divergences."""
        q = self.posterior(batch.image, batch.description)
        z = q.rsample()
        px, py = self.likelihood(z, batch.description)
        terms = jmvae(
            log_px=px.log_prob(batch.image),
            log_py=py.log_prob(batch.description),
            kl=kl_divergence(q, self.prior(q)),
            kl_to_concept=kl_divergence(q, self.posterior(concept=batch.description)),
            kl_to_image=kl_divergence(q, self.posterior(image=batch.image)),
            lambda_=self.spec.lambda_,
            alpha=self.spec.alpha,
        )
        terms.latents["joint"] = z
        return terms
