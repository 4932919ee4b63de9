"""Cremer and Kushman's residual networks; in the attribute view with attributes in the place of the text."""

from __future__ import annotations

from torch import nn

from ..concepts.captions import Captions
from ..distributions.pixels import IMAGE_LIKELIHOODS
from ..specs.built_in.backbones import TwoObjectResNetSpec
from .base import Backbone
from .layers import ConceptDecoder, ConceptExperts, ImageDecoder, ImageEncoder, JointEncoder, ValueFeatures, mlp
from .residual import ResidualLayers, convolution, downsampling, upsampling
from .text import TextDecoder, TextEncoder, TextFeatures, WordPredictor

ENCODING = 200
"""Size of a modality's encoding, and of what the shared decoder layers give (5.1)."""
SHARED = 500
"""Width of the shared layers (released code)."""
EMBEDDING = 100
"""Size of an embedding: a word's in the released code, a value's here."""
MAPS, FLAT = 10, 1000
"""Between the encoding and the feature maps: channels, and a fully connected layer's width (5.1; released code)."""
DROPOUT = 0.5
"""Of the states of the text decoder (5.1; released code)."""


class TwoObjectResNetBackbone(Backbone):
    """Cremer and Kushman (2018), 5.1: each modality has an encoding of 200, and shared layers join them.

    An image's encoding is the paper's, and so is a caption's: the last state of a GRU of 200. p(y|z) of captions is a
    GRU of 200 whose states go through three layers with a residual connection, batch norm and dropout. In the attribute
    view the encoding of attributes is this project's, in these sizes: q(z|y_O) is a product of
    experts with one layer of 200 each, so that attributes can be left out; in q(z|x,y) the attributes are joined into
    an encoding of 200; p(y|z) is one layer of 200 an attribute.

    In the paper both decoders begin with the same shared layers. Here each has its own, because an objective trains
    and freezes the two decoders apart from each other.
    """

    spec: TwoObjectResNetSpec

    def image_encoder(self) -> nn.Module:
        """q(z|x): the encoding, then the shared layers: two around a residual connection, and the heads."""
        trunk = nn.Sequential(self.image_encoding(), ResidualLayers(ENCODING, hidden=SHARED, num_pairs=1))
        return ImageEncoder(trunk, trunk_size=SHARED, sizes=(), latent_size=self.latent_size)

    def concept_encoder(self) -> nn.Module:
        """q(z|y): a caption's encoding, then the shared layers; or an expert an attribute.

        Batch norm has no place in those: they run over values, not over a batch.
        """
        if self.captions is not None:
            shared = ResidualLayers(ENCODING, hidden=SHARED, num_pairs=1)
            features = nn.Sequential(self.text_encoding(self.captions), shared)
            return TextEncoder(features, num_features=SHARED, sizes=(), latent_size=self.latent_size)
        return ConceptExperts(self.schema, embedding=EMBEDDING, sizes=(ENCODING,), latent_size=self.latent_size)

    def joint_encoder(self) -> nn.Module:
        """q(z|x,y): both encodings side by side, then the shared layers."""
        values: nn.Module
        concept: nn.Module
        if self.captions is not None:
            values, concept = self.text_encoding(self.captions), nn.Identity()
        else:
            values = ValueFeatures(self.schema, embedding=EMBEDDING, sizes=(ENCODING,))
            concept = mlp((ENCODING * len(self.schema), ENCODING))
        join = ResidualLayers(2 * ENCODING, hidden=SHARED, num_pairs=1)
        sizes = (SHARED,)
        return JointEncoder(
            self.image_encoding(), values, concept, join=join, sizes=sizes, latent_size=self.latent_size
        )

    def image_decoder(self) -> nn.Module:
        """p(x|z): the shared layers, then the image encoder's way back."""
        channels, height, width = self.image_shape
        likelihood = IMAGE_LIKELIHOODS["beta"]
        network = nn.Sequential(
            self.shared_decoder(),
            nn.Linear(ENCODING, FLAT),
            nn.ReLU(),
            nn.Linear(FLAT, self._flat_size),
            nn.ReLU(),
            nn.Unflatten(1, (MAPS, height // 4, width // 4)),
            nn.ConvTranspose2d(MAPS, 4 * self.spec.width, 3, 1, 1, bias=False),
            nn.InstanceNorm2d(4 * self.spec.width),
            upsampling(self.spec.width, likelihood.num_parameters * channels),
        )
        return ImageDecoder(network, likelihood)

    def concept_decoder(self) -> nn.Module:
        """p(y|z): the shared layers, then a GRU, or an MLP an attribute."""
        if self.captions is not None:
            return TextDecoder(self.captions, context=self.shared_decoder(), words=self._words(self.captions))
        attributes = ConceptDecoder(self.schema, latent_size=ENCODING, sizes=(ENCODING,))
        return nn.Sequential(self.shared_decoder(), attributes)

    def image_encoding(self) -> nn.Module:
        """Float[B, C, H, W] to Float[B, 200]: a network for any encoder that reads the image."""
        return nn.Sequential(
            downsampling(self.image_shape[0], self.spec.width),
            *convolution(4 * self.spec.width, MAPS, 3),
            nn.Flatten(),
            nn.Linear(self._flat_size, FLAT),
            nn.ReLU(),
            nn.Linear(FLAT, ENCODING),
        )

    def text_encoding(self, captions: Captions) -> nn.Module:
        """Long[B, W] to Float[B, 200]."""
        return TextFeatures(captions, embedding=EMBEDDING, size=ENCODING)

    def shared_decoder(self) -> nn.Module:
        """Float[B, D] to Float[B, 200]: five layers with two residual connections, where every decoder begins."""
        return nn.Sequential(ResidualLayers(self.latent_size, hidden=SHARED, num_pairs=2), nn.Linear(SHARED, ENCODING))

    @property
    def _flat_size(self) -> int:
        return MAPS * (self.image_shape[1] // 4) * (self.image_shape[2] // 4)

    def _words(self, captions: Captions) -> WordPredictor:
        head = nn.Sequential(
            nn.Dropout(DROPOUT),
            ResidualLayers(ENCODING, hidden=ENCODING, num_pairs=1),
            nn.Linear(ENCODING, len(captions.vocabulary)),
        )
        return WordPredictor(
            captions,
            embedding=EMBEDDING,
            context_size=ENCODING,
            hidden=ENCODING,
            head=head,
            word_dropout=self.spec.word_dropout,
        )
