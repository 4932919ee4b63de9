"""The networks that only SCAN has: a denoising autoencoder of images, and an encoder of whole concepts.

Shapes: B batch, C channel, H height, W width, A attribute, V value, D latent dimension.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from ..concepts import Schema
from ..distributions.latents import diagonal_normal
from .layers import GaussianHead

CHANNELS = (32, 32, 64, 64)
"""Filters of the autoencoder's convolutions, each of kernel 4 and stride 2, and of the way back (SCAN, appendix)."""
BOTTLENECK = 100
"""Its narrowest layer (SCAN, appendix)."""
HIDDEN = 100
"""Width of the concept encoder's one hidden layer (SCAN, appendix)."""


class DenoisingAutoencoder(nn.Module):
    """Images to images through a bottleneck, whose values before their non-linearity (``encoder``) are the features.

    As many of the four convolutions as the sides can be halved: all of them at multiples of 16 pixels. The restored
    pixels are linear: under a sigmoid, the squared error of mostly black images is soon without a gradient.

    Args:
        image_shape: (channel, height, width), the sides even.
    """

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = image_shape
        depth = max(n for n in range(len(CHANNELS) + 1) if height % 2**n == 0 and width % 2**n == 0)
        sizes = (channels, *CHANNELS[:depth])
        flat = (sizes[-1], height // 2**depth, width // 2**depth)
        down: list[nn.Module] = []
        for size_in, size_out in pairwise(sizes):
            down += [nn.Conv2d(size_in, size_out, 4, 2, 1), nn.ELU()]
        up: list[nn.Module] = []
        for size_in, size_out in pairwise(reversed(sizes)):
            up += [nn.ELU(), nn.ConvTranspose2d(size_in, size_out, 4, 2, 1)]
        size = flat[0] * flat[1] * flat[2]
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(size, BOTTLENECK))
        self.decoder = nn.Sequential(nn.ELU(), nn.Linear(BOTTLENECK, size), nn.Unflatten(1, flat), *up)

    def forward(self, image: Tensor) -> Tensor:
        """Float[B, C, H, W] to Float[B, C, H, W]."""
        restored: Tensor = self.decoder(self.encoder(image))
        return restored


def k_hot(concept: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """A concept as one vector with a one for each attribute's value: Long[B, A], fully specified, to Float[B, sum V].

    >>> k_hot(torch.tensor([[2, 0]]), (3, 2))
    tensor([[0., 0., 1., 1., 0.]])
    """
    columns = [F.one_hot(concept[:, k], size) for k, size in enumerate(sizes)]
    return torch.cat(columns, dim=-1).to(torch.get_default_dtype())


class SymbolEncoder(nn.Module):
    """q(z|y) of a concept taken as one symbol: its k-hot vector through one hidden layer.

    Args:
        schema: The attributes.
        latent_size: D.
    """

    def __init__(self, schema: Schema, *, latent_size: int) -> None:
        super().__init__()
        self.sizes = schema.sizes
        self.hidden = nn.Sequential(nn.Linear(sum(schema.sizes), HIDDEN), nn.ReLU())
        self.head = GaussianHead(HIDDEN, latent_size)

    def forward(self, concept: Tensor) -> Distribution:
        """Long[B, A], fully specified, to a diagonal normal over Float[B, D]."""
        symbol = k_hot(concept, self.sizes).to(self.head.mean.weight.dtype)
        return diagonal_normal(*self.head(self.hidden(symbol)))
