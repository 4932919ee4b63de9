"""Fully connected networks of one width, as semi-supervised VAEs of MNIST have them.

Shapes: B batch, C channel, H height, W width, A attribute, V value, D latent dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from einops.layers.torch import Rearrange
from torch import Tensor, nn

from ..concepts import Schema
from ..distributions.pixels import image_likelihood
from ..specs.built_in.backbones import MLPSpec
from .base import Backbone
from .layers import ConceptDecoder, ConceptExperts, ImageDecoder, ImageEncoder, JointEncoder


def fully_connected(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers with a ReLU after each: sizes[0] in, sizes[-1] out."""
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        layers += [nn.Linear(size_in, size_out), nn.ReLU()]
    return nn.Sequential(*layers)


class OneHotValues(nn.Module):
    """A concept as one vector: 1 at the value of each attribute; probabilities of values as they are."""

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        self.sizes = schema.sizes

    def forward(self, concept: Tensor) -> Tensor:
        """Long[B, A], fully specified, or Float[B, sum V], to Float[B, sum V]."""
        if concept.is_floating_point():
            return concept
        columns = [nn.functional.one_hot(concept[:, k], size) for k, size in enumerate(self.sizes)]
        return torch.cat(columns, dim=-1).to(torch.get_default_dtype())


class MLPBackbone(Backbone):
    """Every network has ``layers`` layers of ``hidden``; q(z|x,y) reads the pixels and the values beside each other."""

    spec: MLPSpec

    def image_encoder(self) -> nn.Module:
        """q(z|x)."""
        trunk = nn.Sequential(*self._flat(), *fully_connected((self._num_pixels, *self._hidden)))
        return ImageEncoder(trunk, trunk_size=self.spec.hidden, sizes=(), latent_size=self.latent_size)

    def concept_encoder(self) -> nn.Module:
        """q(z|y_O): one expert per attribute, with ELU as in every backbone."""
        return ConceptExperts(
            self.schema,
            embedding=32,
            sizes=self._hidden,
            latent_size=self.latent_size,
            largest_scale=self.spec.largest_expert_scale,
        )

    def joint_encoder(self) -> nn.Module:
        """q(z|x,y)."""
        return JointEncoder(
            self._flat(),
            OneHotValues(self.schema),
            nn.Identity(),
            join=fully_connected((self._num_pixels + sum(self.schema.sizes), *self._hidden)),
            sizes=(self.spec.hidden,),
            latent_size=self.latent_size,
        )

    def image_decoder(self) -> nn.Module:
        """p(x|z)."""
        likelihood = image_likelihood(self.spec.likelihood, scale=self.spec.likelihood_scale)
        channels, height, width = self.image_shape
        network = nn.Sequential(
            *fully_connected((self.latent_size, *self._hidden)),
            nn.Linear(self.spec.hidden, likelihood.num_parameters * channels * height * width),
            Rearrange("b (c h w) -> b c h w", h=height, w=width),
        )
        return ImageDecoder(network, likelihood)

    def concept_decoder(self) -> nn.Module:
        """p(y|z): one network per attribute, with ELU as in every backbone."""
        return ConceptDecoder(self.schema, latent_size=self.latent_size, sizes=self._hidden)

    @property
    def _hidden(self) -> tuple[int, ...]:
        return (self.spec.hidden,) * self.spec.layers

    @property
    def _num_pixels(self) -> int:
        return prod(self.image_shape)

    def _flat(self) -> nn.Sequential:
        return nn.Sequential(Rearrange("b c h w -> b (c h w)"))
