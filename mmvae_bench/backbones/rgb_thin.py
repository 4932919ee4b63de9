"""Thin networks for small RGB images, for runs on a CPU."""

from __future__ import annotations

from torch import nn

from ..concepts.captions import Captions
from ..specs.built_in.backbones import RGBThinSpec
from .layers import JointEncoder, mlp
from .text import TextDecoder, TextEncoder, TextFeatures, WordPredictor
from .thin import ThinNetworks


class RGBThinBackbone(ThinNetworks):
    """The image is halved at least twice, and on while its shorter side is above 8 and both sides are even.

    In the text view a GRU of ``hidden`` reads captions and another writes them, with embeddings half as wide.
    """

    spec: RGBThinSpec

    @property
    def channels(self) -> tuple[int, ...]:
        """``width``, twice that, then four times that: 2 convolutions at 32x32, 3 at 48 and 64, 4 at 112 and 128."""
        height, width = self.image_shape[1:]
        count = 2
        while min(height, width) >> count > 8 and not (height >> count) % 2 and not (width >> count) % 2:
            count += 1
        return tuple(self.spec.width * min(2**i, 4) for i in range(count))

    @property
    def hidden(self) -> int:
        """Width of the fully connected layers."""
        return self.spec.hidden

    @property
    def likelihood(self) -> str:
        """The spec's."""
        return self.spec.likelihood

    def concept_encoder(self) -> nn.Module:
        """q(z|y_O): an expert an attribute; or q(z|y) of captions: a GRU, then one layer."""
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
        """p(y|z): an MLP an attribute, or one layer and a GRU."""
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
