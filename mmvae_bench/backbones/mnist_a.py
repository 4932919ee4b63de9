"""The MNIST-A networks: the paper's, the released code's, and a thin one for a CPU."""

from __future__ import annotations

from torch import nn

from ..concepts import Schema
from ..distributions.pixels import IMAGE_LIKELIHOODS
from ..specs.built_in.backbones import MnistAPaperSpec, MnistAReleasedSpec, MnistAThinSpec
from .base import Backbone
from .dcgan import PAPER_TRUNK, RELEASED_TRUNK, generator
from .layers import ConceptDecoder, ConceptExperts, ImageDecoder, ImageEncoder, JointEncoder, ValueFeatures, mlp
from .thin import ThinNetworks


class PaperBackbone(Backbone):
    """Networks for 64x64 images: ELU, DCGAN decoder, one expert network an attribute."""

    spec: MnistAPaperSpec | MnistAReleasedSpec

    def __init__(
        self,
        spec: MnistAPaperSpec | MnistAReleasedSpec,
        *,
        schema: Schema,
        image_shape: tuple[int, int, int],
    ) -> None:
        super().__init__(spec, schema=schema, image_shape=image_shape)
        self.released = isinstance(spec, MnistAReleasedSpec)
        self.trunk = RELEASED_TRUNK if self.released else PAPER_TRUNK

    def image_encoder(self) -> nn.Module:
        """q(z|x): the trunk, then two (paper) or four (released) layers of 512."""
        sizes = (512,) * (4 if self.released else 2)
        return ImageEncoder(self._trunk(), trunk_size=self.trunk.size, sizes=sizes, latent_size=self.latent_size)

    def concept_encoder(self) -> nn.Module:
        """q(z|y_O): an expert an attribute, an embedding of 32 and two (paper) or four (released) layers of 512."""
        sizes = (512,) * (4 if self.released else 2)
        return ConceptExperts(self.schema, embedding=32, sizes=sizes, latent_size=self.latent_size)

    def joint_encoder(self) -> nn.Module:
        """q(z|x,y): features of the image and of the concept, side by side, then 512, 512.

        Paper (Fig. 8): the flattened trunk, and attributes of 512, 512 joined in 512, 512. Released: the trunk through
        four layers of 512, and the four layers of each attribute's expert, not joined.
        """
        if self.released:
            image = nn.Sequential(self._trunk(), mlp((self.trunk.size, *(512,) * 4)))
            values = ValueFeatures(self.schema, embedding=32, sizes=(512,) * 4)
            sizes = (512 + 512 * len(self.schema), 512, 512)
            return JointEncoder(image, values, nn.Identity(), sizes=sizes, latent_size=self.latent_size)
        values = ValueFeatures(self.schema, embedding=32, sizes=(512, 512))
        concept = mlp((512 * len(self.schema), 512, 512))
        sizes = (self.trunk.size + 512, 512, 512)
        return JointEncoder(self._trunk(), values, concept, sizes=sizes, latent_size=self.latent_size)

    def image_decoder(self) -> nn.Module:
        """p(x|z): DCGAN's generator, 1024, 512, 256, 128, then the image, with ELU."""
        return ImageDecoder(generator(self.latent_size, self.image_shape[0]), IMAGE_LIKELIHOODS["bernoulli"])

    def concept_decoder(self) -> nn.Module:
        """p(y|z): an MLP of 128, 128 an attribute; L2 on its weights (paper) or L1 (released)."""
        l1 = self.spec.l1 if isinstance(self.spec, MnistAReleasedSpec) else 0.0
        l2 = self.spec.l2 if isinstance(self.spec, MnistAPaperSpec) else 0.0
        return ConceptDecoder(self.schema, latent_size=self.latent_size, sizes=(128, 128), l1=l1, l2=l2)

    def _trunk(self) -> nn.Module:
        return self.trunk.build(self.image_shape[0])


class ThinBackbone(ThinNetworks):
    """Two strided convolutions each way: a step takes some milliseconds of one CPU thread."""

    spec: MnistAThinSpec
    likelihood = "bernoulli"

    @property
    def channels(self) -> tuple[int, int]:
        """At half and at a quarter of the canvas."""
        return self.spec.width, 2 * self.spec.width

    @property
    def hidden(self) -> int:
        """Width of the fully connected layers."""
        return self.spec.hidden
