"""The MNIST-A networks: the paper's, the released code's, and a thin one for a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from ..concepts import Schema
from ..specs.backbones.mnist_a import MnistAPaperSpec, MnistAReleasedSpec, MnistAThinSpec
from .base import Backbone
from .layers import BernoulliDecoder, ConceptDecoder, ConceptExperts, ImageEncoder, JointEncoder, ValueFeatures, mlp


@dataclass(frozen=True)
class _Trunk:
    """Convolutions 32, 64, 128, 16, and the size they flatten to from 64x64.

    ``convolutions`` holds, for each: kernel, stride, and zeros before and after on each axis.
    """

    convolutions: Sequence[tuple[int, int, tuple[int, int]]]
    last_normalised: bool
    size: int


# Kernels are not in the paper: 5 is DCGAN's. The strides give 64, 32, 16, 8 a side, hence the paper's 1024.
_PAPER = _Trunk(((5, 1, (2, 2)), (5, 2, (2, 2)), (5, 2, (2, 2)), (5, 2, (2, 2))), True, 1024)
# Paddings "same", "same", "valid", "valid": 64, 32, 14, 14 a side, hence 3136. With a stride of two, "same" puts the
# odd zero after the image.
_RELEASED = _Trunk(((5, 1, (2, 2)), (5, 2, (1, 2)), (5, 2, (0, 0)), (1, 1, (0, 0))), False, 3136)


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
        self.trunk = _RELEASED if self.released else _PAPER

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
        channels = (1024, 512, 256, 128, self.image_shape[0])
        layers: list[nn.Module] = [nn.Unflatten(1, (self.latent_size, 1, 1))]
        layers.append(nn.ConvTranspose2d(self.latent_size, channels[0], 4, bias=False))
        layers += [nn.BatchNorm2d(channels[0]), nn.ELU()]
        for i, (size_in, size_out) in enumerate(pairwise(channels)):
            last = i == len(channels) - 2
            layers.append(nn.ConvTranspose2d(size_in, size_out, 5, 2, padding=2, output_padding=1, bias=last))
            if not last:
                layers += [nn.BatchNorm2d(size_out), nn.ELU()]
        return BernoulliDecoder(nn.Sequential(*layers))

    def concept_decoder(self) -> nn.Module:
        """p(y|z): an MLP of 128, 128 an attribute; L2 on its weights (paper) or L1 (released)."""
        l1 = self.spec.l1 if isinstance(self.spec, MnistAReleasedSpec) else 0.0
        l2 = self.spec.l2 if isinstance(self.spec, MnistAPaperSpec) else 0.0
        return ConceptDecoder(self.schema, latent_size=self.latent_size, sizes=(128, 128), l1=l1, l2=l2)

    def _trunk(self) -> nn.Module:
        layers: list[nn.Module] = []
        channels = (self.image_shape[0], 32, 64, 128, 16)
        for i, (kernel, stride, padding) in enumerate(self.trunk.convolutions):
            normalised = self.trunk.last_normalised or i < len(self.trunk.convolutions) - 1
            before, after = padding
            if before != after:
                layers.append(nn.ZeroPad2d((before, after, before, after)))
            around = before if before == after else 0
            layers.append(nn.Conv2d(channels[i], channels[i + 1], kernel, stride, around, bias=not normalised))
            if normalised:
                layers.append(nn.BatchNorm2d(channels[i + 1]))
            layers.append(nn.ELU())
        return nn.Sequential(*layers, nn.Flatten())


class ThinBackbone(Backbone):
    """Two strided convolutions each way and narrow layers: a step takes some milliseconds of one CPU thread."""

    spec: MnistAThinSpec

    def image_encoder(self) -> nn.Module:
        """q(z|x)."""
        sizes = (self.spec.hidden,)
        return ImageEncoder(self._trunk(), trunk_size=self._flat_size, sizes=sizes, latent_size=self.latent_size)

    def concept_encoder(self) -> nn.Module:
        """q(z|y_O): an expert an attribute."""
        hidden = self.spec.hidden
        return ConceptExperts(self.schema, embedding=32, sizes=(hidden, hidden), latent_size=self.latent_size)

    def joint_encoder(self) -> nn.Module:
        """q(z|x,y)."""
        hidden = self.spec.hidden
        values = ValueFeatures(self.schema, embedding=32, sizes=(hidden,))
        concept = mlp(
            (
                hidden * len(self.schema),
                hidden,
            )
        )
        sizes = (self._flat_size + hidden, hidden)
        return JointEncoder(self._trunk(), values, concept, sizes=sizes, latent_size=self.latent_size)

    def image_decoder(self) -> nn.Module:
        """p(x|z)."""
        width, (channels, height, image_width) = self.spec.width, self.image_shape
        return BernoulliDecoder(
            nn.Sequential(
                nn.Linear(self.latent_size, self.spec.hidden),
                nn.ELU(),
                nn.Linear(self.spec.hidden, self._flat_size),
                nn.ELU(),
                nn.Unflatten(1, (2 * width, height // 4, image_width // 4)),
                nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ELU(),
                nn.ConvTranspose2d(width, channels, 4, 2, 1),
            )
        )

    def concept_decoder(self) -> nn.Module:
        """p(y|z): an MLP an attribute."""
        return ConceptDecoder(self.schema, latent_size=self.latent_size, sizes=(self.spec.hidden,))

    @property
    def _flat_size(self) -> int:
        return 2 * self.spec.width * (self.image_shape[1] // 4) * (self.image_shape[2] // 4)

    def _trunk(self) -> nn.Module:
        channels, width = self.image_shape[0], self.spec.width
        return nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ELU(),
            nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ELU(),
            nn.Flatten(),
        )
