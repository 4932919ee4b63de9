"""VLVAE, q_True and q_Agg: a model of images and concepts, then flows on the frozen model (Cremer and Kushman 2018).

First VLVAE (Eq. 1 and 2): images and concepts decoded from z ~ q(z|x). On the frozen model a flow is then fitted for
q(z|y), either to the true posterior of a concept (q_True, Eq. 3) or to the aggregate posterior of its images (q_Agg,
Eq. 4 and 5); and, if wanted, a flow for q(z), the aggregate of all images, to replace the prior (Sec. 3).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence

from ..backbones.base import Backbone
from ..backbones.flows import ConditionalFlow, PartialConceptFeatures, UnconditionalFlow
from ..backbones.text import TextFeatures
from ..base.errors import BenchmarkError
from ..data.batch import Batch
from ..distributions.latents import diagonal_normal
from ..specs.built_in.families.flows import QAggSpec, QTrueSpec, VLVAESpec
from ..specs.trial import TrainingSpec
from .base import CapabilityError, Objective, Stage, Terms
from .common.elbo import elbo
from .common.shared_decoder import NAME as SHARED_DECODER
from .common.shared_decoder import behind_shared_decoder, build_shared_decoder
from .common.staged import frozen_call, mask_at_random, total

WARMUP_SHARE = 20
"""The KL warms up over one twentieth of the first stage: the paper's 20,000 of 400,000 steps."""
NUM_FEATURES = 200
"""Size of the features of a concept that each coupling gets: those of the paper's encoder of texts (Sec. 5.1)."""
EMBEDDING = 100
"""Size of a word's embedding (their code)."""


def vlvae(
    *,
    log_px: Tensor,
    log_py: Tensor,
    kl: Tensor,
    image_weight: float,
    concept_weight: float,
    kl_weight: float = 1.0,
    inference: str = "image",
) -> Terms:
    """``-E_q(z|x)[w_x log p(x|z) + w_y log p(y|z)] + KL(q(z|x) || p(z))``, the batch mean.

    Args:
        log_px: log p(x|z), Float[B], z ~ q(z|x), or q(z|x,y) with joint inference.
        log_py: log p(y|z), Float[B], at the same z.
        kl: KL(q(z|x) || p(z)), Float[B].
        image_weight: w_x (Sec. 5.3.1).
        concept_weight: w_y.
        kl_weight: Below one during warm-up (Sec. 5.3).
        inference: ``image`` or ``joint``, for the names of the parts.
    """
    bound = elbo(
        log_px=log_px,
        log_py=log_py,
        kl=kl,
        image_weight=image_weight,
        concept_weight=concept_weight,
        kl_weight=kl_weight,
    )
    parts = {"log_px": log_px, "log_py": log_py, "kl": kl}
    return Terms(-bound.mean(), {f"{inference}/{name}": part for name, part in parts.items()})


def q_true(*, log_py: Tensor, log_pz: Tensor, log_q: Tensor, gamma: float) -> Terms:
    """``-E_q(z|y)[gamma log p(y|z) + log p(z) - log q(z|y)]``, the batch mean: TELBO's concept term, for a flow.

    Args:
        log_py: log p(y|z), Float[B], z ~ q(z|y); summed over the specified attributes only.
        log_pz: log p(z), Float[B], at the same z.
        log_q: log q(z|y), Float[B], at the same z.
        gamma: Weight of log p(y|z).
    """
    loss = -(gamma * log_py + log_pz - log_q).mean()
    return Terms(loss, {"concept/log_py": log_py, "concept/log_pz": log_pz, "concept/log_q": log_q})


def q_agg(*, log_q: Tensor) -> Terms:
    """``-E_p(x,y) E_q(z|x)[log q(z|y)]``, the batch mean.

    Up to the entropy of q(z|x), which is fixed, it is ``E KL(q(z|x) || q(z|y))``; by Eq. 5 it is therefore smallest
    where ``q(z|y)`` is ``q^y(z) = E_p(x|y)[q(z|x)]``, the aggregate posterior of Eq. 4.

    Args:
        log_q: log q(z|y), Float[B], z ~ q(z|x), detached.
    """
    return Terms(-log_q.mean(), {"concept/log_q": log_q})


def aggregate_prior(*, log_q: Tensor) -> Terms:
    """``-E_p(x) E_q(z|x)[log q(z)]``, the batch mean: smallest where q(z) is the aggregate posterior (Sec. 3).

    Args:
        log_q: log q(z), Float[B], z ~ q(z|x), detached.
    """
    return Terms(-log_q.mean(), {"prior/log_q": log_q})


class VLVAE(Objective):
    """One bound, with inference from the image; then, on the frozen model, the flows of :attr:`flow_stages`."""

    spec: VLVAESpec | QTrueSpec | QAggSpec
    prior_flow: UnconditionalFlow
    shared_decoder: nn.Module

    @property
    def model_names(self) -> tuple[str, ...]:
        """The networks of the bound: the encoder that the spec chooses, and both decoders with what they share."""
        shared = (SHARED_DECODER,) if self.spec.shared_decoder else ()
        return (f"{self.spec.inference}_encoder", *shared, "image_decoder", "concept_decoder")

    @property
    def network_names(self) -> tuple[str, ...]:
        """The networks of the bound, and the flow for q(z) if it is wanted."""
        return (*self.model_names, *(("prior_flow",) if self.spec.prior_flow else ()))

    @property
    def flow_stages(self) -> dict[str, str]:
        """The stages after the first, in order, and the network that each trains."""
        return {"prior": "prior_flow"} if self.spec.prior_flow else {}

    def build_network(self, name: str, backbone: Backbone) -> nn.Module:
        """The flow for q(z), the shared layers and the decoders behind them, or the backbone's network."""
        if name == "prior_flow":
            return UnconditionalFlow(self.latent_size)
        if name == SHARED_DECODER:
            return build_shared_decoder(backbone)
        if self.spec.shared_decoder and name.endswith("_decoder"):
            backbone = behind_shared_decoder(backbone)
        return super().build_network(name, backbone)

    def stages(self, training: TrainingSpec) -> list[Stage]:
        """The bound; then a stage for each flow, on the frozen model.

        Raises:
            BenchmarkError: for shared layers and one image per step.
        """
        if self.spec.shared_decoder and training.batch_size < 2:
            raise BenchmarkError("shared_decoder: its batch norm needs at least 2 images per step: training.batch_size")
        steps = self.spec.flow_steps or max(1, training.steps // 2)
        first = Stage("fit", training.steps, self.model_names)
        return [first, *(Stage(name, steps, (network,)) for name, network in self.flow_stages.items())]

    def terms(self, batch: Batch) -> Terms:
        """The terms of the current stage; outside of stages all of them, where each flow is fitted at the bound's z."""
        if self.stage is None:
            bound = self.bound(batch)
            z = bound.latents[self.spec.inference].detach()
            return total(bound, *(self.flow_terms(name, batch, z) for name in self.flow_stages))
        if self.stage.name == "fit":
            return self.bound(batch)
        with torch.no_grad():
            z = self.inferred(batch).sample()
        return self.flow_terms(self.stage.name, batch, z)

    def bound(self, batch: Batch) -> Terms:
        """The bound at one z."""
        q = self.inferred(batch)
        z = q.rsample()
        px, py = self.likelihood(z, batch.description)
        terms = vlvae(
            log_px=px.log_prob(batch.image),
            log_py=py.log_prob(batch.description),
            kl=kl_divergence(q, self.prior(q)),
            image_weight=self.spec.image_weight,
            concept_weight=self.spec.concept_weight,
            kl_weight=self.kl_weight(),
            inference=self.spec.inference,
        )
        terms.latents[self.spec.inference] = z
        return terms

    def flow_terms(self, stage: str, batch: Batch, z: Tensor) -> Terms:
        """The loss of a stage after the first, at a z ~ q(z|x) through which no gradient flows."""
        assert stage == "prior"
        terms = aggregate_prior(log_q=self.aggregate_prior().log_prob(z))
        terms.latents[self.spec.inference] = z
        return terms

    def inferred(self, batch: Batch) -> Distribution:
        """q(z|x), or q(z|x,y) with joint inference."""
        return self.posterior(batch.image, batch.description if self.spec.inference == "joint" else None)

    def likelihood(self, z: Tensor, concept: Tensor | None = None) -> tuple[Distribution, Distribution]:
        """(p(x|z), p(y|z)); what they share is computed once."""
        if not self.spec.shared_decoder:
            return super().likelihood(z, concept)
        features = self.shared_decoder(z)
        return self.image_decoder(features), self.concept_decoder(features)

    def image_likelihood(self, z: Tensor, concept: Tensor | None = None) -> Distribution:
        """p(x|z)."""
        return super().image_likelihood(self.shared_decoder(z) if self.spec.shared_decoder else z, concept)

    def concept_likelihood(self, z: Tensor) -> Distribution:
        """p(y|z)."""
        return super().concept_likelihood(self.shared_decoder(z) if self.spec.shared_decoder else z)

    def kl_weight(self) -> float:
        """Grows from 0 to 1 while the first stage warms up; 1 in validation and everywhere else."""
        if self.stage is None or not self.training:
            return 1.0
        steps = self.spec.kl_warmup_steps
        steps = self.stage.steps // WARMUP_SHARE if steps is None else steps
        return min(1.0, self.step_done / steps) if steps else 1.0

    def aggregate_prior(self) -> Distribution:
        """q(z), the flow fitted to the aggregate of q(z|x): a distribution over Float[D], in place of p(z).

        Raises:
            CapabilityError: if the objective was trained without it.
        """
        if not self.spec.prior_flow:
            raise CapabilityError(f"{self.spec.name} was trained without a flow for q(z): set prior_flow: true")
        result: Distribution = self.prior_flow()
        return result


class ConceptFlow(VLVAE):
    """VLVAE with a flow for q(z|y): one family for both objectives, for a fair comparison (Sec. 5.1.1)."""

    spec: QTrueSpec | QAggSpec
    concept_encoder: ConditionalFlow

    @property
    def network_names(self) -> tuple[str, ...]:
        """The flow for q(z|y), and VLVAE's networks."""
        return ("concept_encoder", *super().network_names)

    @property
    def flow_stages(self) -> dict[str, str]:
        """The stages after the first, starting with the flow for q(z|y)."""
        return {"concept": "concept_encoder", **super().flow_stages}

    def build_network(self, name: str, backbone: Backbone) -> nn.Module:
        """The flow for q(z|y), or VLVAE's network."""
        if name != "concept_encoder":
            return super().build_network(name, backbone)
        features: nn.Module = (
            PartialConceptFeatures(self.schema, num_features=NUM_FEATURES)
            if backbone.captions is None
            else TextFeatures(backbone.captions, embedding=EMBEDDING, size=NUM_FEATURES)
        )
        return ConditionalFlow(features, num_features=NUM_FEATURES, latent_size=self.latent_size)

    def flow_terms(self, stage: str, batch: Batch, z: Tensor) -> Terms:
        """The loss of q(z|y_O), O a random part of the attributes (captions are whole), or of the flow for q(z)."""
        if stage != "concept":
            return super().flow_terms(stage, batch, z)
        concept = batch.description
        if self.captions is None:
            concept = mask_at_random(concept, self.spec.mask_probability, always=self.schema.given_positions)
        return self.concept_terms(self.concept_encoder(concept), concept, z)

    def concept_terms(self, q: Distribution, concept: Tensor, z: Tensor) -> Terms:
        """The loss of q = q(z|y_O) for y_O, concepts or captions, and z ~ q(z|x), Float[B, D], of the same examples."""
        raise NotImplementedError


class QTrue(ConceptFlow):
    """VLVAE, then the bound on log p(y), with the decoders unchanged."""

    spec: QTrueSpec

    def concept_terms(self, q: Distribution, concept: Tensor, z: Tensor) -> Terms:
        """The bound at one z ~ q(z|y); the z of the image is not used."""
        z = q.rsample()
        zeros = torch.zeros_like(z)
        features = frozen_call(self.shared_decoder, z) if self.spec.shared_decoder else z
        terms = q_true(
            log_py=frozen_call(self.concept_decoder, features).log_prob(concept),
            log_pz=diagonal_normal(zeros, zeros).log_prob(z),
            log_q=q.log_prob(z),
            gamma=self.spec.gamma,
        )
        terms.latents["concept"] = z
        return terms


class QAgg(ConceptFlow):
    """VLVAE, then ``E_q(z|x)[log q(z|y)]`` with the model frozen."""

    spec: QAggSpec

    def concept_terms(self, q: Distribution, concept: Tensor, z: Tensor) -> Terms:
        """The flow's density at the z of an image of the concept."""
        terms = q_agg(log_q=q.log_prob(z))
        terms.latents[self.spec.inference] = z
        return terms
