"""JMVAE-kl (Suzuki et al. 2017, Eq. 5; with the weights of Vedantam et al. 2018, Sec. 4)."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import kl_divergence

from ..data.batch import Batch
from ..specs.built_in.objectives import JMVAESpec
from .base import Objective, Terms
from .common.elbo import elbo, joint_terms


def jmvae(
    *,
    joint: Terms,
    kl_to_concept: Tensor,
    kl_to_image: Tensor,
    lambda_: float,
    alpha: float,
    image_weight: float = 1.0,
) -> Terms:
    """The negative joint ELBO plus ``alpha [KL(q(z|x,y) || q(z|y)) + KL(q(z|x,y) || q(z|x))]``, the batch mean.

    Args:
        joint: The joint ELBO's terms; the divergences are subtracted from each example's bound.
        kl_to_concept: KL(q(z|x,y) || q(z|y)), Float[B].
        kl_to_image: KL(q(z|x,y) || q(z|x)), Float[B].
        lambda_: Weight of log p(y|z).
        alpha: Weight of the last two divergences.
        image_weight: Weight of log p(x|z).
    """
    log_px, log_py, kl = (joint.parts[f"joint/{name}"] for name in ("log_px", "log_py", "kl"))
    bound = elbo(log_px=log_px, log_py=log_py, kl=kl, image_weight=image_weight, concept_weight=lambda_)
    loss = -(bound - alpha * (kl_to_concept + kl_to_image)).mean()
    pulled = {"joint/kl_to_concept": kl_to_concept, "joint/kl_to_image": kl_to_image}
    return Terms(loss, joint.parts | pulled, joint.latents)


class JMVAE(Objective):
    """JVAE whose unimodal posteriors are made to cover the joint one."""

    spec: JMVAESpec
    network_names = ("concept_encoder", "image_encoder", "joint_encoder", "image_decoder", "concept_decoder")

    def terms(self, batch: Batch) -> Terms:
        """The joint ELBO at one z ~ q(z|x,y), and two analytic divergences."""
        spec, q = self.spec, self.posterior(batch.image, batch.description)
        return jmvae(
            joint=joint_terms(self, batch, lambda_=spec.lambda_, image_weight=spec.image_weight, q=q),
            kl_to_concept=kl_divergence(q, self.posterior(concept=batch.description)),
            kl_to_image=kl_divergence(q, self.posterior(image=batch.image)),
            lambda_=spec.lambda_,
            alpha=spec.alpha,
            image_weight=spec.image_weight,
        )
