"""Thin networks for a CPU: strided convolutions each way and narrow layers; for MNIST-A, and for small RGB images.

Shapes: B batch, C channel, H height, W width.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from math import prod

from einops.layers.torch import Rearrange
from torch import nn

from ..concepts.captions import Captions
from ..distributions.pixels import IMAGE_LIKELIHOODS, ImageLikelihood, image_likelihood
from ..specs.built_in.backbones import MnistAThinSpec, RGBThinSpec, ThinSpec
from .base import Backbone
from .layers import ConceptDecoder, ConceptExperts, ImageDecoder, ImageEncoder, JointEncoder, ValueFeatures, mlp
from .text import TextDecoder, TextEncoder, TextFeatures, WordPredictor

GROUP = 8
"""Channels that group normalisation takes together."""


class ThinNetworks(Backbone):
    """A trunk reduces the image to features; one layer of ``hidden`` follows; the decoder mirrors this."""

    spec: MnistAThinSpec | ThinSpec

    @property
    def hidden(self) -> int:
        """Width of the fully connected layers."""
        return self.spec.hidden

    @property
    @abstractmethod
    def likelihood(self) -> ImageLikelihood:
        """The family of p(x|z)."""

    @property
    @abstractmethod
    def _flat_size(self) -> int:
        """Number of features that the trunk makes of an image."""

    @abstractmethod
    def _trunk(self) -> nn.Module:
        """Float[B, C, H, W] to Float[B, flat size]."""

    @abstractmethod
    def _pixels(self) -> Sequence[nn.Module]:
        """Float[B, flat size] to the parameters of every pixel, Float[B, parameter * C, H, W]."""

    def image_encoder(self) -> nn.Module:
        """q(z|x)."""
        sizes = (self.hidden,)
        return ImageEncoder(self._trunk(), trunk_size=self._flat_size, sizes=sizes, latent_size=self.latent_size)

    def concept_encoder(self) -> nn.Module:
        """q(z|y_O): one expert per attribute."""
        sizes = (self.hidden, self.hidden)
        return ConceptExperts(
            self.schema,
            embedding=32,
            sizes=sizes,
            latent_size=self.latent_size,
            largest_scale=self.spec.largest_expert_scale,
        )

    def joint_encoder(self) -> nn.Module:
        """q(z|x,y)."""
        values = ValueFeatures(self.schema, embedding=32, sizes=(self.hidden,))
        concept = mlp((self.hidden * len(self.schema), self.hidden))
        sizes = (self._flat_size + self.hidden, self.hidden)
        return JointEncoder(self._trunk(), values, concept, sizes=sizes, latent_size=self.latent_size)

    def image_decoder(self) -> nn.Module:
        """p(x|z)."""
        features = mlp((self.latent_size, self.hidden, self._flat_size))
        return ImageDecoder(nn.Sequential(*features, *self._pixels()), self.likelihood)

    def concept_decoder(self) -> nn.Module:
        """p(y|z): one MLP per attribute."""
        return ConceptDecoder(self.schema, latent_size=self.latent_size, sizes=(self.hidden,))

    @property
    def _num_pixel_parameters(self) -> int:
        return self.likelihood.num_parameters * self.image_shape[0]


class ConvolutionalNetworks(ThinNetworks):
    """Each convolution halves the image, with a normalisation after it."""

    @property
    @abstractmethod
    def channels(self) -> Sequence[int]:
        """Channels after each convolution, from the widest feature map to the smallest."""

    def _norm(self, channels: int) -> nn.Module:
        """Of the feature maps of a convolution."""
        return nn.BatchNorm2d(channels)

    @property
    def _smallest(self) -> tuple[int, int, int]:
        shrink = 2 ** len(self.channels)
        return self.channels[-1], self.image_shape[1] // shrink, self.image_shape[2] // shrink

    @property
    def _flat_size(self) -> int:
        return prod(self._smallest)

    def _trunk(self) -> nn.Module:
        layers: list[nn.Module] = []
        for size_in, size_out in pairwise((self.image_shape[0], *self.channels)):
            layers += [nn.Conv2d(size_in, size_out, 4, 2, 1, bias=False), self._norm(size_out), nn.ELU()]
        return nn.Sequential(*layers, Rearrange("b c h w -> b (c h w)"))

    def _pixels(self) -> Sequence[nn.Module]:
        sizes = (*reversed(self.channels), self._num_pixel_parameters)
        _, height, width = self._smallest
        layers: list[nn.Module] = [Rearrange("b (c h w) -> b c h w", h=height, w=width)]
        for i, (size_in, size_out) in enumerate(pairwise(sizes)):
            last = i == len(sizes) - 2
            layers.append(nn.ConvTranspose2d(size_in, size_out, 4, 2, 1, bias=last))
            if not last:
                layers += [self._norm(size_out), nn.ELU()]
        return layers


class ThinBackbone(ConvolutionalNetworks):
    """MNIST-A: two strided convolutions each way. A step takes a few milliseconds on one CPU thread."""

    spec: MnistAThinSpec
    likelihood = IMAGE_LIKELIHOODS["bernoulli"]

    @property
    def channels(self) -> tuple[int, int]:
        """At half and at a quarter of the canvas size."""
        return self.spec.width, 2 * self.spec.width


class CaptionedNetworks(ThinNetworks):
    """With the likelihood that the spec names; and for captions, a GRU of size ``hidden`` that reads them and another
    that writes them, with embeddings half as wide."""

    spec: ThinSpec

    @property
    def likelihood(self) -> ImageLikelihood:
        """The family of p(x|z) that the spec names."""
        return image_likelihood(self.spec.likelihood, scale=self.spec.likelihood_scale)

    def concept_encoder(self) -> nn.Module:
        """q(z|y_O): one expert per attribute; or q(z|y) of captions: a GRU, then one layer."""
        if self.captions is None:
            return super().concept_encoder()
        features, sizes = self._text_features(self.captions), (self.hidden,)
        return TextEncoder(features, num_features=self.hidden, sizes=sizes, latent_size=self.latent_size)

    def joint_encoder(self) -> nn.Module:
        """q(z|x,y)."""
        if self.captions is None:
            return super().joint_encoder()
        features, sizes = self._text_features(self.captions), (self._flat_size + self.hidden, self.hidden)
        return JointEncoder(self._trunk(), features, nn.Identity(), sizes=sizes, latent_size=self.latent_size)

    def concept_decoder(self) -> nn.Module:
        """p(y|z): one MLP per attribute, or one layer and a GRU."""
        if self.captions is None:
            return super().concept_decoder()
        words = WordPredictor(
            self.captions,
            embedding=self._embedding,
            context_size=self.hidden,
            hidden=self.hidden,
            head=nn.Linear(self.hidden, len(self.captions.vocabulary)),
            word_dropout=self.spec.word_dropout,
        )
        return TextDecoder(self.captions, context=mlp((self.latent_size, self.hidden)), words=words)

    @property
    def _embedding(self) -> int:
        return max(1, self.hidden // 2)

    def _text_features(self, captions: Captions) -> nn.Module:
        return TextFeatures(captions, embedding=self._embedding, size=self.hidden)


class RGBThinBackbone(CaptionedNetworks, ConvolutionalNetworks):
    """RGB: the image is halved at least twice, and further while its shorter side is above 8 and both are even."""

    spec: RGBThinSpec

    @property
    def channels(self) -> tuple[int, ...]:
        """``width``, twice that, then four times that: 2 convolutions at 32x32, 3 at 48 and 64, 4 at 112 and 128."""
        height, width = self.image_shape[1:]
        count = 2
        while min(height, width) >> count > 8 and not (height >> count) % 2 and not (width >> count) % 2:
            count += 1
        return tuple(self.spec.width * min(2**i, 4) for i in range(count))

    def _norm(self, channels: int) -> nn.Module:
        if self.spec.norm == "batch":
            return super()._norm(channels)
        return nn.GroupNorm(1 if channels % GROUP else channels // GROUP, channels)
