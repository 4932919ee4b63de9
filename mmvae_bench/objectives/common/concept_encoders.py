"""q(z|y) as a product of experts, and two ablations: without the universal expert, and without a product.

Shapes: B batch, A attribute, F feature, D latent dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ...backbones.base import Backbone
from ...backbones.layers import ConceptExperts, GaussianHead, mlp
from ...base.errors import BenchmarkError
from ...distributions.latents import diagonal_normal
from ...specs.built_in.families.joint import BiVCCASpec, JMVAESpec, TELBOSpec
from ..base import Objective
from .products import Experts, component, products


class ExpertsAlone(ConceptExperts):
    """q(z|y_O) proportional to the product of the specified attributes' experts, without p(z) (Vedantam et al. 2018,
    Fig. 2, right).

    Where nothing is specified there is nothing to multiply: the result is then N(0, I), as with the universal expert.

    Args:
        experts: Their networks, under the same names.
    """

    def __init__(self, experts: ConceptExperts) -> None:
        nn.Module.__init__(self)
        self.features, self.heads = experts.features, experts.heads
        self.largest_scale = experts.largest_scale

    def forward(self, concept: Tensor) -> Distribution:
        """Long[B, A], -1 where unspecified, to a diagonal normal over Float[B, D]."""
        means, log_scales = self.experts(concept)
        precision = (-2 * log_scales).exp()
        every = torch.ones(1, concept.shape[1], dtype=torch.bool, device=concept.device)
        normals = products(Experts(precision, precision * means, concept >= 0), every, prior=False)
        return component(normals, 0)


class ConcatenatedConcept(nn.Module):
    """q(z|y) of fully specified concepts: the features of all attributes, concatenated, through one network.

    As Vedantam et al. (2018) draw it in Fig. 9b and describe it in A.4: after the concatenation twice as many layers as
    each attribute has before it (MNIST-A two and four, CelebA one and two), all of one width.

    Args:
        experts: The networks up to the concatenation are those of its experts, without their heads.
    """

    def __init__(self, experts: ConceptExperts) -> None:
        super().__init__()
        self.features = experts.features
        head = experts.heads[0]
        assert isinstance(head, GaussianHead)
        width, latent_size = head.mean.in_features, head.mean.out_features
        layers = [layer for layer in experts.features.networks[0].modules() if isinstance(layer, nn.Linear)]
        self.hidden = mlp((width * len(experts.heads), *(width,) * (2 * len(layers))))
        self.head = GaussianHead(width, latent_size)

    def forward(self, concept: Tensor) -> Distribution:
        """Long[B, A], fully specified, to a diagonal normal over Float[B, D]."""
        return diagonal_normal(*self.head(self.hidden(self.features(concept))))


class WithConceptEncoder(Objective):
    """An objective whose spec chooses among the product of experts and its two ablations.

    Raises:
        BenchmarkError: for an ablation of a concept encoder that has no expert per attribute.
    """

    spec: TELBOSpec | JMVAESpec | BiVCCASpec

    def build_network(self, name: str, backbone: Backbone) -> nn.Module:
        """The backbone's network, or what the spec has in the place of its q(z|y)."""
        network = super().build_network(name, backbone)
        product = self.spec.concept_fusion == "product"
        if name != "concept_encoder" or (product and self.spec.universal_expert):
            return network
        if not isinstance(network, ConceptExperts):
            key, value = ("universal_expert", "false") if product else ("concept_fusion", "concatenation")
            raise BenchmarkError(
                f"objective {self.spec.name}: {key} {value} needs a concept encoder with one expert per attribute, "
                f"which backbone {backbone.spec.name} does not have: choose another backbone"
            )
        return ExpertsAlone(network) if product else ConcatenatedConcept(network)
