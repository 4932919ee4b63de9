"""Residual blocks: of images, as in CycleGAN's generator, and of feature vectors.

Shapes: B batch, C channel, H height, W width, F feature.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F


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
        # No ReLU after the sum, nor before it.
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
    """The way back from ``4 width`` channels: residual blocks, two upsamplings by 2, a 7x7 convolution."""
    layers: list[nn.Module] = [ResidualBlock(4 * width) for _ in range(num_blocks)]
    for size_in, size_out in pairwise((4 * width, 2 * width, width)):
        layers.append(nn.ConvTranspose2d(size_in, size_out, 3, 2, 1, output_padding=1, bias=False))
        layers += [nn.InstanceNorm2d(size_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, num_channels, 7))


class ResidualLayers(nn.Module):
    """Pairs of fully connected layers, batch norm and a leaky ReLU between them, each around a residual connection.

    An input narrower than the layers is added to the first pair's output with zeros after it, as in the released code.

    Args:
        size: F of the input, at most ``hidden``.
        hidden: F of the output.
        num_pairs: One after the other.

    Raises:
        ValueError: where the input is wider than the layers.
    """

    def __init__(self, size: int, *, hidden: int, num_pairs: int) -> None:
        super().__init__()
        if size > hidden:
            raise ValueError(f"{size} features do not fit into layers of {hidden}")
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
