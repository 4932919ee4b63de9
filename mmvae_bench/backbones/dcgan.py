"""The networks of Vedantam et al. (2018): convolutions with ELU for 64x64 images, and DCGAN's generator.

The paper's for MNIST-A, those of its released code, and the paper's for CelebA-18.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from einops.layers.torch import Rearrange
from torch import Tensor, nn
from torch.distributions import Distribution

from ..concepts import Schema
from ..distributions.pixels import IMAGE_LIKELIHOODS, ImageLikelihood, quantised_normal_image
from ..specs.built_in.backbones import Arithmetic, CelebA18Spec, MnistAPaperSpec, MnistAReleasedSpec
from .base import Backbone
from .fast import ChannelsLast, DoublingConvolution
from .layers import ConceptDecoder, ConceptExperts, ImageDecoder, ImageEncoder, JointEncoder, ValueFeatures, mlp


@dataclass(frozen=True)
class Trunk:
    """Convolutions 32, 64, 128, 16 with ELU, and their flattened size for 64x64 images.

    Attributes:
        convolutions: For each: kernel, stride, and zero padding before and after on each axis.
        last_normalised: Whether the last one has batch norm, as the others have.
        size: Features of the flattened output.
    """

    convolutions: Sequence[tuple[int, int, tuple[int, int]]]
    last_normalised: bool
    size: int

    def build(self, num_channels: int, arithmetic: Arithmetic) -> nn.Sequential:
        """The network: Float[B, C, 64, 64] to Float[B, size]."""
        layers: list[nn.Module] = []
        channels = (num_channels, 32, 64, 128, 16)
        for i, (kernel, stride, padding) in enumerate(self.convolutions):
            normalised = self.last_normalised or i < len(self.convolutions) - 1
            before, after = padding
            if before != after:
                layers.append(nn.ZeroPad2d((before, after, before, after)))
            around = before if before == after else 0
            layers.append(nn.Conv2d(channels[i], channels[i + 1], kernel, stride, around, bias=not normalised))
            if normalised:
                layers.append(nn.BatchNorm2d(channels[i + 1]))
            layers.append(nn.ELU())
        sequence = ChannelsLast if arithmetic == "fast" else nn.Sequential
        return sequence(*layers, Rearrange("b c h w -> b (c h w)"))


# Kernels are not in the paper: 5 is DCGAN's. The strides give sides of 64, 32, 16, 8, hence the paper's 1024.
PAPER_TRUNK = Trunk(((5, 1, (2, 2)), (5, 2, (2, 2)), (5, 2, (2, 2)), (5, 2, (2, 2))), True, 1024)
# Paddings "same", "same", "valid", "valid": sides of 64, 32, 14, 14, hence 3136. With a stride of two, "same" puts
# the odd zero after the image.
RELEASED_TRUNK = Trunk(((5, 1, (2, 2)), (5, 2, (1, 2)), (5, 2, (0, 0)), (1, 1, (0, 0))), False, 3136)


def generator(latent_size: int, num_channels: int, arithmetic: Arithmetic) -> nn.Sequential:
    """DCGAN's generator with ELU, 1024, 512, 256, 128: Float[B, D] to Float[B, num_channels, 64, 64]."""
    channels = (1024, 512, 256, 128, num_channels)
    layers: list[nn.Module] = [Rearrange("b d -> b d 1 1")]
    layers.append(nn.ConvTranspose2d(latent_size, channels[0], 4, bias=False))
    layers += [nn.BatchNorm2d(channels[0]), nn.ELU()]
    for i, (size_in, size_out) in enumerate(pairwise(channels)):
        last = i == len(channels) - 2
        if arithmetic == "fast" and not last:
            layers.append(DoublingConvolution(size_in, size_out))
        else:
            layers.append(nn.ConvTranspose2d(size_in, size_out, 5, 2, padding=2, output_padding=1, bias=last))
        if not last:
            layers += [nn.BatchNorm2d(size_out), nn.ELU()]
    return nn.Sequential(*layers)


class PaperBackbone(Backbone):
    """MNIST-A: ELU, DCGAN decoder, one expert network per attribute."""

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
        """q(z|y_O): per attribute an embedding of 32 and two (paper) or four (released) layers of 512."""
        sizes = (512,) * (4 if self.released else 2)
        return ConceptExperts(self.schema, embedding=32, sizes=sizes, latent_size=self.latent_size)

    def joint_encoder(self) -> nn.Module:
        """q(z|x,y): features of the image and of the concept, concatenated, then 512, 512.

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
        network = generator(self.latent_size, self.image_shape[0], self.spec.arithmetic)
        return ImageDecoder(network, IMAGE_LIKELIHOODS["bernoulli"])

    def concept_decoder(self) -> nn.Module:
        """p(y|z): an MLP of 128, 128 per attribute; L2 on its weights (paper) or L1 (released)."""
        l1 = self.spec.l1 if isinstance(self.spec, MnistAReleasedSpec) else 0.0
        l2 = self.spec.l2 if isinstance(self.spec, MnistAPaperSpec) else 0.0
        return ConceptDecoder(self.schema, latent_size=self.latent_size, sizes=(128, 128), l1=l1, l2=l2)

    def _trunk(self) -> nn.Module:
        return self.trunk.build(self.image_shape[0], self.spec.arithmetic)


LARGEST_LOG_SCALE = 10.0
"""Up to it a log scale is taken as it is: 11,000 times the range of the pixels."""


def steady_normal_image(parameters: Tensor) -> Distribution:
    """Quantised normal pixels whose scale, above e^10, grows with s as the tangent of the exponential does.

    In the first steps of these networks the scale of some pixel passes e^88, which is infinite in single precision,
    and with it the loss. Up to e^10 nothing is changed, bit for bit.

    Args:
        parameters: Float[..., 2 C, H, W], see :func:`~mmvae_bench.distributions.pixels.quantised_normal_image`.
    """
    mean, s = parameters.chunk(2, dim=-3)
    beyond = LARGEST_LOG_SCALE + (s - LARGEST_LOG_SCALE).clamp_min(0).log1p()
    steady = torch.where(s > LARGEST_LOG_SCALE, beyond, s)
    return quantised_normal_image(torch.cat([mean, steady], dim=-3))


class CelebA18Backbone(Backbone):
    """CelebA-18: MNIST-A's networks with three channels, quantised normal pixels, and fewer layers per attribute.

    Vedantam et al. (2018), A.4, describes q(z|y) as one layer per attribute, a concatenation, and two layers after it,
    which takes full concepts only. But Sec. 2 has the product of experts, q(z|y_O) proportional to p(z) times the
    experts of the specified attributes, and Sec. 5.2 leaves attributes of CelebA out, so the product is built here.
    Each expert is what A.4 has before the concatenation; the product replaces what comes after it. Nothing is lost by
    the missing layers: an expert of a binary attribute has two inputs, hence two means and two scales, which any depth
    can represent. The concatenation stays in q(z|x,y), where every attribute is given.
    """

    spec: CelebA18Spec

    def image_encoder(self) -> nn.Module:
        """q(z|x): the trunk, then two layers of 512."""
        trunk = self._trunk()
        return ImageEncoder(trunk, trunk_size=PAPER_TRUNK.size, sizes=(512, 512), latent_size=self.latent_size)

    def concept_encoder(self) -> nn.Module:
        """q(z|y_O): per attribute an embedding of 32 and one layer of 512."""
        return ConceptExperts(self.schema, embedding=32, sizes=(512,), latent_size=self.latent_size)

    def joint_encoder(self) -> nn.Module:
        """q(z|x,y): attributes through 512 each, joined through 512, 512; with the flattened trunk, through 512."""
        values = ValueFeatures(self.schema, embedding=32, sizes=(512,))
        concept = mlp((512 * len(self.schema), 512, 512))
        sizes = (PAPER_TRUNK.size + 512, 512)
        return JointEncoder(self._trunk(), values, concept, sizes=sizes, latent_size=self.latent_size)

    def image_decoder(self) -> nn.Module:
        """p(x|z): DCGAN's generator, with a mean and a log scale for each value."""
        likelihood = ImageLikelihood(2, steady_normal_image)
        num_channels = likelihood.num_parameters * self.image_shape[0]
        return ImageDecoder(generator(self.latent_size, num_channels, self.spec.arithmetic), likelihood)

    def concept_decoder(self) -> nn.Module:
        """p(y|z): an MLP of 128, 128 per attribute, with L2 on its weights."""
        return ConceptDecoder(self.schema, latent_size=self.latent_size, sizes=(128, 128), l2=self.spec.l2)

    def _trunk(self) -> nn.Module:
        return PAPER_TRUNK.build(self.image_shape[0], self.spec.arithmetic)
