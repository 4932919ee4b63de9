"""The CelebA-18 networks of the paper."""

from __future__ import annotations

from torch import nn

from ..distributions.pixels import IMAGE_LIKELIHOODS
from ..specs.built_in.backbones import CelebA18Spec
from .base import Backbone
from .dcgan import PAPER_TRUNK, generator
from .layers import ConceptDecoder, ConceptExperts, ImageDecoder, ImageEncoder, JointEncoder, ValueFeatures, mlp


class CelebA18Backbone(Backbone):
    """MNIST-A's networks with three channels, quantised normal pixels, and fewer layers an attribute.

    Vedantam et al. (2018), A.4, describes q(z|y) as one layer an attribute, a concatenation, and two layers after it,
    which takes full concepts only. Sec. 2 has the product of experts, q(z|y_O) proportional to p(z) times the experts
    of the specified attributes, and Sec. 5.2 leaves attributes of CelebA out, so it is the product that is built. Each
    expert is what A.4 has before the concatenation; the product takes the place of what comes after it. Nothing is
    lost by the missing layers: an expert of a binary attribute has two inputs, hence two means and two scales, which
    any depth can reach. The concatenation stays in q(z|x,y), where every attribute is given.
    """

    spec: CelebA18Spec

    def image_encoder(self) -> nn.Module:
        """q(z|x): the trunk, then two layers of 512."""
        trunk = PAPER_TRUNK.build(self.image_shape[0])
        return ImageEncoder(trunk, trunk_size=PAPER_TRUNK.size, sizes=(512, 512), latent_size=self.latent_size)

    def concept_encoder(self) -> nn.Module:
        """q(z|y_O): an expert an attribute, an embedding of 32 and one layer of 512."""
        return ConceptExperts(self.schema, embedding=32, sizes=(512,), latent_size=self.latent_size)

    def joint_encoder(self) -> nn.Module:
        """q(z|x,y): attributes through 512 each, joined through 512, 512; beside the flattened trunk, through 512."""
        values = ValueFeatures(self.schema, embedding=32, sizes=(512,))
        concept = mlp((512 * len(self.schema), 512, 512))
        trunk, sizes = PAPER_TRUNK.build(self.image_shape[0]), (PAPER_TRUNK.size + 512, 512)
        return JointEncoder(trunk, values, concept, sizes=sizes, latent_size=self.latent_size)

    def image_decoder(self) -> nn.Module:
        """p(x|z): DCGAN's generator, which gives a mean and a log scale for each value."""
        likelihood = IMAGE_LIKELIHOODS["quantised_normal"]
        return ImageDecoder(generator(self.latent_size, likelihood.num_parameters * self.image_shape[0]), likelihood)

    def concept_decoder(self) -> nn.Module:
        """p(y|z): an MLP of 128, 128 an attribute, with L2 on its weights."""
        return ConceptDecoder(self.schema, latent_size=self.latent_size, sizes=(128, 128), l2=self.spec.l2)
