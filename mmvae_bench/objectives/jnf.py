"""JNF: joint normalising flows (Senellart et al. 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..backbones.base import Backbone
from ..backbones.flows import FlowPosterior
from ..data.batch import Batch
from ..specs.built_in.families.flows import JNFSpec
from ..specs.trial import TrainingSpec
from .base import Objective, Stage, Terms
from .common.elbo import joint_terms
from .common.staged import total

UNIMODAL = ("image_encoder", "concept_encoder")


def jnf_unimodal(*, image_log_q: Tensor, concept_log_q: Tensor) -> Terms:
    """``-E_q(z|x,y)[log q(z|x) + log q(z|y)]``, the batch mean.

    Up to the entropy of the joint posterior, which is fixed, it is ``KL(q(z|x,y) || q(z|x)) + KL(q(z|x,y) || q(z|y))``:
    the divergences of JMVAE, fitted after the model instead of with it.

    Args:
        image_log_q: log q(z|x), Float[B], z ~ q(z|x,y), detached.
        concept_log_q: log q(z|y), Float[B], at the same z.
    """
    parts = {"image/log_q": image_log_q, "concept/log_q": concept_log_q}
    return Terms(-(image_log_q + concept_log_q).mean(), parts)


class JNF(Objective):
    """JVAE, then a flow for each modality: the backbone encoder's normal, pushed through a map shared by all inputs.

    The authors use masked autoregressive flows; here the map is the Real NVP that all flows of this benchmark use, so
    that objectives differ in what they optimise. q(z|y) starts from the product of experts, as in TELBO and JMVAE, so
    an unspecified attribute is left out of the product. With nothing specified, q(z|y) is N(0, I) through the map, not
    the prior.
    """

    spec: JNFSpec
    network_names = ("concept_encoder", "image_encoder", "joint_encoder", "image_decoder", "concept_decoder")

    def build_network(self, name: str, backbone: Backbone) -> nn.Module:
        """The backbone's network, with a flow behind it where it infers from one modality."""
        network = super().build_network(name, backbone)
        return FlowPosterior(network, latent_size=self.latent_size) if name in UNIMODAL else network

    def stages(self, training: TrainingSpec) -> list[Stage]:
        """The joint ELBO, then the flows with their encoders."""
        return [
            Stage("fit", training.steps, ("joint_encoder", "image_decoder", "concept_decoder")),
            Stage("unimodal", self.spec.unimodal_steps or training.steps, UNIMODAL),
        ]

    def terms(self, batch: Batch) -> Terms:
        """The terms of the current stage; outside of stages all of them, the flows at the bound's z."""
        if self.stage is None:
            joint = self.joint(batch)
            return total(joint, self.unimodal(batch, joint.latents["joint"].detach()))
        if self.stage.name == "fit":
            return self.joint(batch)
        with torch.no_grad():
            z = self.posterior(batch.image, batch.description).sample()
        return self.unimodal(batch, z)

    def joint(self, batch: Batch) -> Terms:
        """The JVAE term."""
        return joint_terms(self, batch, lambda_=self.spec.lambda_, image_weight=self.spec.image_weight)

    def unimodal(self, batch: Batch, z: Tensor) -> Terms:
        """The density of both flows at a z of the joint posterior, Float[B, D]."""
        terms = jnf_unimodal(
            image_log_q=self.posterior(image=batch.image).log_prob(z),
            concept_log_q=self.posterior(concept=batch.description).log_prob(z),
        )
        terms.latents["joint"] = z
        return terms
