"""The networks of Attribute2Image, for whole images and for their layers (Yan et al. 2016, Sec. 5 and supplement B).

Sizes are those of the paper and of its code (xcyan/eccv16_attr2img at d7a4a64) for 64x64 and ``width`` 64. Smaller
images are halved less often by the encoders, and begin with fewer pixels in the decoders.

Shapes: B batch, C channel, H height, W width, A attribute, V value of any attribute, F feature, D latent dimension.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent

from ..distributions.latents import FactorisedCategorical, diagonal_normal
from ..distributions.pixels import ImageLikelihood, image_likelihood
from ..specs.built_in.backbones import Attribute2ImageBasedSpec
from .base import LayeredBackbone
from .layers import ConceptDecoder, ConceptExperts, GaussianHead, mixture


class Decayed(nn.Module):
    """A network whose parameters decay: ``weight_decay`` times each is added to its gradient before Adam sees it, as in
    the authors' optimiser. That is a penalty of the loss, not the decay of AdamW."""

    weight_decay: float = 0.0

    def penalty(self) -> Tensor | None:
        """Half of ``weight_decay`` times the sum of the squared parameters; None without decay."""
        if not self.weight_decay:
            return None
        return self.weight_decay / 2 * torch.stack([each.square().sum() for each in self.parameters()]).sum()


class Told(nn.Module):
    """Features of y: one layer over its values, each one on or off, or as strong as a mixture says."""

    def __init__(self, sizes: Sequence[int], num_features: int) -> None:
        super().__init__()
        self.sizes, self.linear = tuple(sizes), nn.Linear(sum(sizes), num_features)

    def forward(self, concept: Tensor) -> Tensor:
        """Fully specified Long[B, A], or a mixture of values Float[B, V], to Float[B, F]."""
        features: Tensor = self.linear(mixture(concept, self.sizes, dtype=self.linear.weight.dtype)).relu()
        return features


class FeatureEncoder(Decayed):
    """q(z|x) or q(z|x,y): the mean from the features of image and y, the log scale from those of the image alone, zero
    for every image at first.

    Args:
        trunk: Float[B, C, H, W] to Float[B, F].
        num_features: F.
        told: The features of y; None: it is not told y.
        latent_size: D.
    """

    def __init__(self, trunk: nn.Module, *, num_features: int, told: Told | None, latent_size: int) -> None:
        super().__init__()
        self.trunk, self.told = trunk, told
        self.mean = nn.Linear(num_features + (0 if told is None else told.linear.out_features), latent_size)
        self.log_scale = nn.Linear(num_features, latent_size)
        nn.init.zeros_(self.log_scale.weight)
        nn.init.zeros_(self.log_scale.bias)

    def forward(self, image: Tensor, concept: Tensor | None = None) -> Distribution:
        """Images and y to a diagonal normal over Float[B, D]."""
        features = self.trunk(image)
        joined = features if self.told is None else torch.cat([features, self.told(concept)], -1)
        return diagonal_normal(self.mean(joined), self.log_scale(features))


class FeatureDescriber(Decayed):
    """q(y|x) = prod_k q(y_k|x): the features of q(z|x), with a head for each attribute in place of those for z."""

    def __init__(self, encoder: FeatureEncoder, sizes: Sequence[int]) -> None:
        super().__init__()
        self.trunk = encoder.trunk
        self.heads = nn.ModuleList(nn.Linear(encoder.log_scale.in_features, size) for size in sizes)

    def forward(self, image: Tensor) -> FactorisedCategorical:
        """Images to a distribution over Long[B, A]."""
        features = self.trunk(image)
        return FactorisedCategorical([head(features) for head in self.heads])


class BackgroundEncoder(Decayed):
    """q(z_B|x,y,z_F): one layer over the features of the image, those of y, and z_F."""

    def __init__(
        self, trunk: nn.Module, *, num_features: int, told: Told, foreground_size: int, hidden: int, latent_size: int
    ) -> None:
        super().__init__()
        self.trunk, self.told = trunk, told
        joined = num_features + told.linear.out_features + foreground_size
        self.hidden = nn.Sequential(nn.Linear(joined, hidden), nn.ReLU())
        self.head = GaussianHead(hidden, latent_size)

    def forward(self, image: Tensor, concept: Tensor, z_foreground: Tensor) -> Distribution:
        """Images, y and a sample of z_F, Float[B, D_F], to a diagonal normal over Float[B, D_B]."""
        joined = torch.cat([self.trunk(image), self.told(concept), z_foreground], -1)
        return diagonal_normal(*self.head(self.hidden(joined)))


class PictureFeatures(nn.Module):
    """What a decoder has one convolution before its pictures: z, with the features of y where it is told them.

    Args:
        told: The features of y; None: it is not told y.
        network: Both, concatenated, to the features of the pixels, Float[B, F, H, W].
    """

    def __init__(self, told: Told | None, network: nn.Module) -> None:
        super().__init__()
        self.told, self.network = told, network

    def forward(self, z: Tensor, concept: Tensor | None = None) -> Tensor:
        """Float[B, D], and y if it is told, to Float[B, F, H, W]."""
        features: Tensor = self.network(z if self.told is None else torch.cat([z, self.told(concept)], -1))
        return features


class PictureDecoder(Decayed):
    """p(x|z), or p(x|y,z) where its features are told y."""

    def __init__(self, features: PictureFeatures, picture: nn.Module, likelihood: ImageLikelihood) -> None:
        super().__init__()
        self.features, self.picture, self.likelihood = features, picture, likelihood

    def forward(self, z: Tensor, concept: Tensor | None = None) -> Distribution:
        """Float[B, D], and y if it is told, to a distribution over Float[B, C, H, W]."""
        return self.likelihood.distribution(self.picture(self.features(z, concept)))


class ForegroundDecoder(Decayed):
    """p(x_F|y,z_F) and p(g|y,z_F), from the same features. The gate has one channel for all of the picture's."""

    def __init__(
        self, features: PictureFeatures, picture: nn.Module, gate: nn.Module, likelihood: ImageLikelihood
    ) -> None:
        super().__init__()
        self.features, self.picture, self.gate, self.likelihood = features, picture, gate, likelihood

    def forward(self, z: Tensor, concept: Tensor) -> tuple[Distribution, Distribution]:
        """Float[B, D] and y to distributions over Float[B, C, H, W] and Float[B, 1, H, W]."""
        features = self.features(z, concept)
        gate = Independent(Bernoulli(logits=self.gate(features)), 3)
        return self.likelihood.distribution(self.picture(features)), gate


class Attribute2ImageBackbone(LayeredBackbone):
    """For RGB images with a side of 16, 32 or 64 pixels."""

    spec: Attribute2ImageBasedSpec

    @property
    def side(self) -> int:
        """Height and width of the images."""
        return self.image_shape[1]

    @property
    def likelihood(self) -> ImageLikelihood:
        """A Gaussian of one scale, sigma_0, whose mean is the picture."""
        return image_likelihood("normal", scale=self.spec.likelihood_scale)

    # ---- whole images

    def image_encoder(self) -> nn.Module:
        """q(z|x): the encoder of the foreground, not told y."""
        return self._decayed(self._foreground_encoder(None, self.latent_size))

    def describer(self) -> nn.Module:
        """q(y|x), a classifier on the features of the encoder of the foreground."""
        encoder = self._foreground_encoder(None, self.latent_size)
        return self._decayed(FeatureDescriber(encoder, self.schema.sizes))

    def joint_encoder(self) -> nn.Module:
        """q(z|x,y): the encoder of the foreground."""
        return self.foreground_encoder(self.latent_size)

    def image_decoder(self) -> nn.Module:
        """p(x|z): the decoder of the foreground, not told y, without its gate."""
        features = PictureFeatures(None, self._picture_network(self.latent_size))
        return self._decayed(PictureDecoder(features, self._last(3), self.likelihood))

    def conditional_image_decoder(self) -> nn.Module:
        """p(x|y,z): the decoder of the foreground without its gate."""
        return self._decayed(PictureDecoder(self._told_features(self.latent_size), self._last(3), self.likelihood))

    def concept_encoder(self) -> nn.Module:
        """q(z|y_O): one expert per attribute; the paper has none."""
        sizes = (4 * self.spec.width, 4 * self.spec.width)
        return ConceptExperts(self.schema, embedding=32, sizes=sizes, latent_size=self.latent_size)

    def concept_decoder(self) -> nn.Module:
        """p(y|z): one MLP per attribute; the paper has none."""
        return ConceptDecoder(self.schema, latent_size=self.latent_size, sizes=(4 * self.spec.width,))

    # ---- layers

    def foreground_encoder(self, latent_size: int) -> nn.Module:
        """See :meth:`LayeredBackbone.foreground_encoder`."""
        return self._decayed(self._foreground_encoder(Told(self.schema.sizes, latent_size), latent_size))

    def background_encoder(self, latent_size: int, foreground_size: int) -> nn.Module:
        """See :meth:`LayeredBackbone.background_encoder`."""
        width = self.spec.width
        return self._decayed(
            BackgroundEncoder(
                self._trunk((width, width, width, width, 4 * width)),
                num_features=4 * width,
                told=Told(self.schema.sizes, latent_size),
                foreground_size=foreground_size,
                hidden=4 * width,
                latent_size=latent_size,
            )
        )

    def foreground_decoder(self, latent_size: int) -> nn.Module:
        """See :meth:`LayeredBackbone.foreground_decoder`."""
        features = self._told_features(latent_size)
        return self._decayed(ForegroundDecoder(features, self._last(3), self._last(1), self.likelihood))

    def background_decoder(self, latent_size: int) -> nn.Module:
        """See :meth:`LayeredBackbone.background_decoder`."""
        width, kernel = self.spec.width, self.spec.kernel
        # At 64 pixels it begins with 2 and doubles five times; the layers that double come with their neighbours.
        blocks = [(2 * width,), (2 * width,), (width, width), (width, width), (width // 2,)]
        start = max(1, self.side // 32)
        blocks = blocks[-((self.side // start).bit_length() - 1) :]
        layers, size_in = [*self._flat(latent_size, (4 * width, start))], 4 * width
        for number, block in enumerate(blocks, 1):
            layers.append(nn.Upsample(scale_factor=2))
            for size_out in block:
                layers += _convolution(size_in, size_out, kernel if number == len(blocks) else 3)
                size_in = size_out
        return self._decayed(
            PictureDecoder(PictureFeatures(None, nn.Sequential(*layers)), self._last(3, size_in), self.likelihood)
        )

    # ---- parts

    def _foreground_encoder(self, told: Told | None, latent_size: int) -> FeatureEncoder:
        width = self.spec.width
        trunk = self._trunk((width, 2 * width, 4 * width, 4 * width, 16 * width))
        return FeatureEncoder(trunk, num_features=16 * width, told=told, latent_size=latent_size)

    def _trunk(self, channels: Sequence[int]) -> nn.Module:
        """Five convolutions, the last over 4x4 pixels, one layer, and dropout; the first three halve images of 64."""
        kernel, pools = self.spec.kernel, (self.side // 8).bit_length() - 1
        layers: list[nn.Module] = []
        size_in = self.image_shape[0]
        for number, (size_out, size) in enumerate(zip(channels[:3], (kernel, kernel, 3), strict=True)):
            layers += _convolution(size_in, size_out, size, norm=number > 0)
            layers += [nn.MaxPool2d(2)] if number < pools else []
            size_in = size_out
        layers += _convolution(size_in, channels[3], 3, stride=2)
        layers += [nn.Conv2d(channels[3], channels[4], 4), nn.ReLU(), nn.Flatten()]
        layers += [nn.Linear(channels[4], channels[4]), nn.ReLU(), nn.Dropout(self.spec.dropout)]
        return nn.Sequential(*layers)

    def _told_features(self, latent_size: int) -> PictureFeatures:
        told = Told(self.schema.sizes, 2 * latent_size)
        return PictureFeatures(told, self._picture_network(3 * latent_size))

    def _picture_network(self, size: int) -> nn.Module:
        """Two layers, then convolutions at an eighth of the side and after each of three doublings."""
        width, kernel = self.spec.width, self.spec.kernel
        layers = [nn.Linear(size, 4 * width), nn.ReLU(), *self._flat(4 * width, (4 * width, self.side // 8))]
        layers += _convolution(4 * width, 4 * width, 3)
        size_in = 4 * width
        for size_out in (4 * width, 2 * width, width):
            layers += [nn.Upsample(scale_factor=2), *_convolution(size_in, size_out, kernel)]
            size_in = size_out
        return nn.Sequential(*layers)

    def _flat(self, size: int, to: tuple[int, int]) -> list[nn.Module]:
        """Float[B, size] to Float[B, channel, side, side]."""
        channels, side = to
        return [nn.Linear(size, channels * side**2), nn.ReLU(), nn.Unflatten(1, (channels, side, side))]

    def _last(self, channels: int, size: int | None = None) -> nn.Module:
        kernel = self.spec.kernel
        return nn.Conv2d(self.spec.width if size is None else size, channels, kernel, padding=kernel // 2)

    def _decayed(self, network: Decayed) -> nn.Module:
        network.weight_decay = self.spec.weight_decay
        return network


def _convolution(size_in: int, size_out: int, kernel: int, *, stride: int = 1, norm: bool = True) -> list[nn.Module]:
    """A convolution that keeps the side, or halves it, batch normalisation after it, and a ReLU."""
    convolution = nn.Conv2d(size_in, size_out, kernel, stride, kernel // 2, bias=not norm)
    return [convolution, *([nn.BatchNorm2d(size_out)] if norm else []), nn.ReLU()]
