"""TELBO: the triple ELBO (Vedantam et al. 2018, Eq. 5)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.distributions import kl_divergence

from ..data.batch import Batch
from ..specs.built_in.families.joint import TELBOSpec
from ..specs.trial import TrainingSpec
from .base import Stage, Terms
from .common.concept_encoders import WithConceptEncoder
from .common.elbo import elbo, joint_terms
from .common.staged import frozen_call, total


def telbo_unimodal(
    *,
    image_log_px: Tensor,
    image_kl: Tensor,
    concept_log_py: Tensor,
    concept_kl: Tensor,
    gamma: float,
    image_weight: float = 1.0,
) -> Terms:
    """The two terms that fit q(z|x) and q(z|y) to fixed decoders, negated, the batch mean.

    ``-E_q(z|x)[a log p(x|z)] + KL(q(z|x) || p(z)) - E_q(z|y)[gamma log p(y|z)] + KL(q(z|y) || p(z))``

    Args:
        image_log_px: log p(x|z), Float[B], z ~ q(z|x).
        image_kl: KL(q(z|x) || p(z)), Float[B].
        concept_log_py: log p(y|z), Float[B], z ~ q(z|y).
        concept_kl: KL(q(z|y) || p(z)), Float[B].
        gamma: Weight of log p(y|z).
        image_weight: a.
    """
    image = elbo(log_px=image_log_px, kl=image_kl, image_weight=image_weight)
    concept = elbo(log_py=concept_log_py, kl=concept_kl, concept_weight=gamma)
    return Terms(
        -(image + concept).mean(),
        {
            "image/log_px": image_log_px,
            "image/kl": image_kl,
            "concept/log_py": concept_log_py,
            "concept/kl": concept_kl,
        },
    )


class TELBO(WithConceptEncoder):
    """``elbo(x,y; a, lambda) + elbo(x; a) + elbo(y; gamma)``; the decoders learn from the first term only."""

    spec: TELBOSpec
    network_names = ("concept_encoder", "image_encoder", "joint_encoder", "image_decoder", "concept_decoder")

    def stages(self, training: TrainingSpec) -> list[Stage]:
        """All terms from the first step, or the joint term first and the unimodal encoders after it."""
        if self.spec.schedule == "joint":
            return super().stages(training)
        return [
            Stage("fit", training.steps, ("joint_encoder", "image_decoder", "concept_decoder")),
            Stage("unimodal", self.spec.unimodal_steps or training.steps, ("image_encoder", "concept_encoder")),
        ]

    def terms(self, batch: Batch) -> Terms:
        """The terms of the current stage of two; all three in one stage, and outside of training.

        Images without labels have no joint term, so their own trains p(x|z) too: E[elbo(x)] (Vedantam et al. 2018,
        footnote 2). Likewise y without an image: its own term is all there is, and trains p(y|z). A batch is labelled
        or is not, and has images or has not.
        """
        if self.spec.schedule == "two_stage" and self.stage is not None:
            return self.joint(batch) if self.stage.name == "fit" else self.unimodal(batch)
        if batch.imageless:
            return self.concept_alone(batch)
        if batch.lacks_labels:
            return self.unimodal(batch, decoder=self.image_decoder)
        return total(self.joint(batch), self.unimodal(batch))

    def concept_alone(self, batch: Batch) -> Terms:
        """``-E_q(z|y)[gamma log p(y|z)] + KL(q(z|y) || p(z))``, the batch mean, through a decoder that learns."""
        q = self.posterior(concept=batch.description)
        z = q.rsample()
        log_py, kl = self.concept_likelihood(z).log_prob(batch.description), kl_divergence(q, self.prior(q))
        loss = -elbo(log_py=log_py, kl=kl, concept_weight=self.spec.gamma).mean()
        return Terms(loss, {"concept/log_py": log_py, "concept/kl": kl}, {"concept": z})

    def joint(self, batch: Batch) -> Terms:
        """The JVAE term."""
        return joint_terms(self, batch, lambda_=self.spec.lambda_, image_weight=self.spec.image_weight)

    def unimodal(self, batch: Batch, *, decoder: nn.Module | None = None) -> Terms:
        """The image and concept terms, through decoders that they leave unchanged; or, with the given p(x|z), not."""
        q_image, q_concept = self.posterior(image=batch.image), self.posterior(concept=batch.description)
        z_image, z_concept = q_image.rsample(), q_concept.rsample()
        px = frozen_call(self.image_decoder, z_image) if decoder is None else decoder(z_image)
        terms = telbo_unimodal(
            image_log_px=px.log_prob(batch.image),
            image_kl=kl_divergence(q_image, self.prior(q_image)),
            concept_log_py=frozen_call(self.concept_decoder, z_concept).log_prob(batch.description),
            concept_kl=kl_divergence(q_concept, self.prior(q_concept)),
            gamma=self.spec.gamma,
            image_weight=self.spec.image_weight,
        )
        terms.latents.update(image=z_image, concept=z_concept)
        return terms
