"""The residual networks of Cremer and Kushman (2018); in the attribute view, attributes take the place of the text.

Shapes: B batch, C channel, H height, W width, F feature, D latent dimension.
"""

from __future__ import annotations

from itertools import pairwise

from einops.layers.torch import Rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..concepts.captions import Captions
from ..distributions.pixels import IMAGE_LIKELIHOODS
from ..specs.built_in.backbones import TwoObjectResNetSpec
from .base import Backbone
from .layers import ConceptDecoder, ConceptExperts, ImageDecoder, ImageEncoder, JointEncoder, ValueFeatures, mlp
from .text import TextDecoder, TextEncoder, TextFeatures, WordPredictor

ENCODING = 200
"""Size of a modality's encoding, and of the output of the shared decoder layers (5.1)."""
SHARED = 500
"""Width of the shared layers (released code)."""
EMBEDDING = 100
"""Size of an embedding: of words in the released code, of values here."""
MAPS, FLAT = 10, 1000
"""Between the encoding and the feature maps: channels, and a fully connected layer's width (5.1; released code)."""
DROPOUT = 0.5
"""Of the states of the text decoder (5.1; released code)."""


def convolution(size_in: int, size_out: int, kernel: int, *, stride: int = 1) -> list[nn.Module]:
    """A convolution with instance norm and ReLU; reflected edges at stride 1, zeros at stride 2."""
    if stride > 1:
        layers: list[nn.Module] = [nn.Conv2d(size_in, size_out, kernel, stride, kernel // 2, bias=False)]
    else:
        layers = [nn.ReflectionPad2d(kernel // 2), nn.Conv2d(size_in, size_out, kernel, bias=False)]
    return [*layers, nn.InstanceNorm2d(size_out), nn.ReLU()]


class ResidualBlock(nn.Module):
    """``x + f(x)``, f two 3x3 convolutions with instance norm (Zhu et al. 2017, the generator of CycleGAN)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        # No ReLU after the sum or before it.
        self.network = nn.Sequential(*convolution(size, size, 3), *convolution(size, size, 3)[:-1])

    def forward(self, image: Tensor) -> Tensor:
        """Float[B, C, H, W] to the same."""
        result: Tensor = image + self.network(image)
        return result


def downsampling(num_channels: int, width: int, *, num_blocks: int = 3) -> nn.Sequential:
    """A 7x7 convolution, two of stride 2, residual blocks: to ``4 width`` channels at a quarter of each side."""
    layers = convolution(num_channels, width, 7)
    for size_in, size_out in pairwise((width, 2 * width, 4 * width)):
        layers += convolution(size_in, size_out, 3, stride=2)
    return nn.Sequential(*layers, *(ResidualBlock(4 * width) for _ in range(num_blocks)))


def upsampling(width: int, num_channels: int, *, num_blocks: int = 3) -> nn.Sequential:
    """Back from ``4 width`` channels: residual blocks, two upsamplings by 2, a 7x7 convolution."""
    layers: list[nn.Module] = [ResidualBlock(4 * width) for _ in range(num_blocks)]
    for size_in, size_out in pairwise((4 * width, 2 * width, width)):
        layers.append(nn.ConvTranspose2d(size_in, size_out, 3, 2, 1, output_padding=1, bias=False))
        layers += [nn.InstanceNorm2d(size_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, num_channels, 7))


class ResidualLayers(nn.Module):
    """Pairs of fully connected layers with batch norm and a leaky ReLU in between, each with a residual connection.

    An input narrower than the layers is padded with zeros before it is added, as in the released code.

    Args:
        size: F of the input, at most ``hidden``.
        hidden: F of the output.
        num_pairs: One after the other.

    Raises:
        ValueError: if the input is wider than the layers.
    """

    def __init__(self, size: int, *, hidden: int, num_pairs: int) -> None:
        super().__init__()
        if size > hidden:
            raise ValueError(f"the input has {size} features, more than the {hidden} of the layers")
        self.hidden = hidden
        self.pairs = nn.ModuleList(
            nn.Sequential(
                nn.Linear(size if i == 0 else hidden, hidden, bias=False),
                nn.BatchNorm1d(hidden),
                nn.LeakyReLU(),
                nn.Linear(hidden, hidden),
            )
            for i in range(num_pairs)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Float[B, size] to Float[B, hidden]."""
        for pair in self.pairs:
            features = F.pad(features, (0, self.hidden - features.shape[-1])) + pair(features)
        return features


class TwoObjectResNetBackbone(Backbone):
    """Cremer and Kushman (2018), 5.1: each modality has an encoding of 200, and shared layers join them.

    An image's encoding is the paper's, and so is a caption's: the last state of a GRU of 200. p(y|z) of captions is a
    GRU of 200 whose states go through three layers with a residual connection, batch norm and dropout. In the attribute
    view the encoding of attributes is this project's, in these sizes: q(z|y_O) is a product of experts with one layer
    of 200 each, so that attributes can be left out; in q(z|x,y) the attributes are joined into an encoding of 200;
    p(y|z) is one layer of 200 per attribute.

    In the paper both decoders begin with the same shared layers. Here each has its own, because an objective may train
    and freeze the two decoders separately. VLVAE can share them (``shared_decoder``): a network of its own then.
    """

    spec: TwoObjectResNetSpec
    own_shared_decoder = True
    """Whether each decoder begins with such layers; without them it reads their output."""

    def image_encoder(self) -> nn.Module:
        """q(z|x): the encoding, then the shared layers: two around a residual connection, and the heads."""
        trunk = nn.Sequential(self.image_encoding(), ResidualLayers(ENCODING, hidden=SHARED, num_pairs=1))
        return ImageEncoder(trunk, trunk_size=SHARED, sizes=(), latent_size=self.latent_size)

    def concept_encoder(self) -> nn.Module:
        """q(z|y): a caption's encoding, then the shared layers; or one expert per attribute.

        The experts have no batch norm: they run over values, not over a batch.
        """
        if self.captions is not None:
            shared = ResidualLayers(ENCODING, hidden=SHARED, num_pairs=1)
            features = nn.Sequential(self.text_encoding(self.captions), shared)
            return TextEncoder(features, num_features=SHARED, sizes=(), latent_size=self.latent_size)
        return ConceptExperts(self.schema, embedding=EMBEDDING, sizes=(ENCODING,), latent_size=self.latent_size)

    def joint_encoder(self) -> nn.Module:
        """q(z|x,y): both encodings concatenated, then the shared layers."""
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
        """p(x|z): the shared layers, then the image encoder mirrored."""
        channels, height, width = self.image_shape
        likelihood = IMAGE_LIKELIHOODS["beta"]
        network = nn.Sequential(
            self._shared(),
            nn.Linear(ENCODING, FLAT),
            nn.ReLU(),
            nn.Linear(FLAT, self._flat_size),
            nn.ReLU(),
            Rearrange("b (c h w) -> b c h w", c=MAPS, h=height // 4, w=width // 4),
            nn.ConvTranspose2d(MAPS, 4 * self.spec.width, 3, 1, 1, bias=False),
            nn.InstanceNorm2d(4 * self.spec.width),
            upsampling(self.spec.width, likelihood.num_parameters * channels),
        )
        return ImageDecoder(network, likelihood)

    def concept_decoder(self) -> nn.Module:
        """p(y|z): the shared layers, then a GRU, or one MLP per attribute."""
        if self.captions is not None:
            return TextDecoder(self.captions, context=self._shared(), words=self._words(self.captions))
        attributes = ConceptDecoder(self.schema, latent_size=ENCODING, sizes=(ENCODING,))
        return nn.Sequential(self._shared(), attributes)

    def image_encoding(self) -> nn.Module:
        """Float[B, C, H, W] to Float[B, 200]: for every encoder that reads the image."""
        return nn.Sequential(
            downsampling(self.image_shape[0], self.spec.width),
            *convolution(4 * self.spec.width, MAPS, 3),
            Rearrange("b c h w -> b (c h w)"),
            nn.Linear(self._flat_size, FLAT),
            nn.ReLU(),
            nn.Linear(FLAT, ENCODING),
        )

    def text_encoding(self, captions: Captions) -> nn.Module:
        """Long[B, W] to Float[B, 200]."""
        return TextFeatures(captions, embedding=EMBEDDING, size=ENCODING)

    def shared_decoder(self) -> nn.Module:
        """Float[B, D] to Float[B, 200]: five layers with two residual connections, with which every decoder begins."""
        return nn.Sequential(ResidualLayers(self.latent_size, hidden=SHARED, num_pairs=2), nn.Linear(SHARED, ENCODING))

    def _shared(self) -> nn.Module:
        return self.shared_decoder() if self.own_shared_decoder else nn.Identity()

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
