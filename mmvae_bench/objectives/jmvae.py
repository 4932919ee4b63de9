"""JMVAE-kl (Suzuki et al. 2017, Eq. 5; with the weights of Vedantam et al. 2018, Sec. 4), also without q(z|x,y)."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import kl_divergence

from ..data.batch import Batch
from ..specs.built_in.families.joint import JMVAESpec
from .base import Terms
from .common.concept_encoders import WithConceptEncoder
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


def jmvae_of_images(
    *,
    log_px: Tensor,
    log_py: Tensor,
    kl: Tensor,
    kl_to_concept: Tensor,
    lambda_: float,
    alpha: float,
    image_weight: float = 1.0,
) -> Terms:
    """``-E_q(z|x)[a log p(x|z) + lambda log p(y|z)] + KL(q(z|x) || p(z)) + alpha KL(q(z|x) || q(z|y))``

    The batch mean. JMVAE applied to VLVAE (Cremer and Kushman 2018, end of Sec. 3): q(z|x) is in the place of
    q(z|x,y), so that nothing is left of the divergence between the two.

    Args:
        log_px: log p(x|z), Float[B], z ~ q(z|x).
        log_py: log p(y|z), Float[B], at the same z.
        kl: KL(q(z|x) || p(z)), Float[B].
        kl_to_concept: KL(q(z|x) || q(z|y)), Float[B].
        lambda_: Weight of log p(y|z).
        alpha: Weight of the last divergence.
        image_weight: a.
    """
    bound = elbo(log_px=log_px, log_py=log_py, kl=kl, image_weight=image_weight, concept_weight=lambda_)
    parts = {"log_px": log_px, "log_py": log_py, "kl": kl, "kl_to_concept": kl_to_concept}
    loss = -(bound - alpha * kl_to_concept).mean()
    return Terms(loss, {f"image/{name}": part for name, part in parts.items()})


class JMVAE(WithConceptEncoder):
    """JVAE whose unimodal posteriors are made to cover the joint one; or VLVAE whose q(z|y) is made to cover q(z|x)."""

    spec: JMVAESpec

    @property
    def network_names(self) -> tuple[str, ...]:
        """Three encoders, or two where z is inferred from the image alone, and both decoders."""
        joint = ("joint_encoder",) if self.spec.joint_encoder else ()
        return ("concept_encoder", "image_encoder", *joint, "image_decoder", "concept_decoder")

    def terms(self, batch: Batch) -> Terms:
        """The joint ELBO at one z ~ q(z|x,y), and two analytic divergences; or its like without q(z|x,y)."""
        if not self.spec.joint_encoder:
            return self.image_terms(batch)
        spec, q = self.spec, self.posterior(batch.image, batch.description)
        return jmvae(
            joint=joint_terms(self, batch, lambda_=spec.lambda_, image_weight=spec.image_weight, q=q),
            kl_to_concept=kl_divergence(q, self.posterior(concept=batch.description)),
            kl_to_image=kl_divergence(q, self.posterior(image=batch.image)),
            lambda_=spec.lambda_,
            alpha=spec.alpha,
            image_weight=spec.image_weight,
        )

    def image_terms(self, batch: Batch) -> Terms:
        """The bound at one z ~ q(z|x), and an analytic divergence."""
        spec, q = self.spec, self.posterior(image=batch.image)
        z = q.rsample()
        px, py = self.likelihood(z, batch.description)
        terms = jmvae_of_images(
            log_px=px.log_prob(batch.image),
            log_py=py.log_prob(batch.description),
            kl=kl_divergence(q, self.prior(q)),
            kl_to_concept=kl_divergence(q, self.posterior(concept=batch.description)),
            lambda_=spec.lambda_,
            alpha=spec.alpha,
            image_weight=spec.image_weight,
        )
        terms.latents["image"] = z
        return terms
