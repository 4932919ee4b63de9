"""What q_true and q_agg share: a VLVAE, then a conditional flow q(z|y) on the frozen model; they differ in its loss."""

from __future__ import annotations

from torch import Tensor, nn
from torch.distributions import Distribution

from ..backbones.base import Backbone
from ..backbones.flows import ConditionalFlow, PartialConceptFeatures
from ..backbones.text import TextFeatures
from ..data.batch import Batch
from ..specs.built_in.objectives import QAggSpec, QTrueSpec
from .base import Terms
from .common.staged import mask_at_random
from .vlvae import VLVAE

NUM_FEATURES = 200
"""Size of what a coupling is told of the concept: that of the paper's encoder of texts (Sec. 5.1)."""
EMBEDDING = 100
"""Size of a word's embedding (their code)."""


class ConceptFlow(VLVAE):
    """VLVAE with a flow for q(z|y): one family for both objectives, or the comparison would be unfair (Sec. 5.1.1)."""

    spec: QTrueSpec | QAggSpec
    concept_encoder: ConditionalFlow

    @property
    def flow_stages(self) -> dict[str, str]:
        """The flow q(z|y) first."""
        return {"concept": "concept_encoder", **super().flow_stages}

    def build_network(self, name: str, backbone: Backbone) -> nn.Module:
        """The flow for q(z|y), or as in VLVAE."""
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
        told = batch.description
        if self.captions is None:
            told = mask_at_random(told, self.spec.mask_probability, always=self.schema.given_positions)
        return self.concept_terms(self.concept_encoder(told), told, z)

    def concept_terms(self, q: Distribution, concept: Tensor, z: Tensor) -> Terms:
        """The loss of q = q(z|y_O) for y_O, concepts or captions, and z ~ q(z|x), Float[B, D], of the same examples."""
        raise NotImplementedError
