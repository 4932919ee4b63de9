"""The convolutional networks of Vedantam et al. (2018), for 64x64 images of any number of channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import nn


@dataclass(frozen=True)
class Trunk:
    """Convolutions 32, 64, 128, 16 with ELU, and the size they flatten to from 64x64.

    Attributes:
        convolutions: For each: kernel, stride, and zeros before and after on each axis.
        last_normalised: Whether the last one has batch norm, as the others.
        size: Features of the flattened output.
    """

    convolutions: Sequence[tuple[int, int, tuple[int, int]]]
    last_normalised: bool
    size: int

    def build(self, num_channels: int) -> nn.Sequential:
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
        return nn.Sequential(*layers, nn.Flatten())


# Kernels are not in the paper: 5 is DCGAN's. The strides give 64, 32, 16, 8 a side, hence the paper's 1024.
PAPER_TRUNK = Trunk(((5, 1, (2, 2)), (5, 2, (2, 2)), (5, 2, (2, 2)), (5, 2, (2, 2))), True, 1024)
# Paddings "same", "same", "valid", "valid": 64, 32, 14, 14 a side, hence 3136. With a stride of two, "same" puts the
# odd zero after the image.
RELEASED_TRUNK = Trunk(((5, 1, (2, 2)), (5, 2, (1, 2)), (5, 2, (0, 0)), (1, 1, (0, 0))), False, 3136)


def generator(latent_size: int, num_channels: int) -> nn.Sequential:
    """DCGAN's generator with ELU, 1024, 512, 256, 128: Float[B, D] to Float[B, num_channels, 64, 64]."""
    channels = (1024, 512, 256, 128, num_channels)
    layers: list[nn.Module] = [nn.Unflatten(1, (latent_size, 1, 1))]
    layers.append(nn.ConvTranspose2d(latent_size, channels[0], 4, bias=False))
    layers += [nn.BatchNorm2d(channels[0]), nn.ELU()]
    for i, (size_in, size_out) in enumerate(pairwise(channels)):
        last = i == len(channels) - 2
        layers.append(nn.ConvTranspose2d(size_in, size_out, 5, 2, padding=2, output_padding=1, bias=last))
        if not last:
            layers += [nn.BatchNorm2d(size_out), nn.ELU()]
    return nn.Sequential(*layers)
