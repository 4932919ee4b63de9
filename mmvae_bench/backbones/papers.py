"""Networks of papers: of their words, and of their links.

Shapes: B batch, V word, n training paper, D latent dimension.
"""

from __future__ import annotations

import torch
from einops.layers.torch import Rearrange
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions.links import FactorisedBernoulli
from ..distributions.pixels import image_likelihood
from ..specs.built_in.papers import PapersBackboneSpec
from .base import Backbone
from .layers import ImageDecoder, ImageEncoder, JointEncoder

RARE = -5.0
"""The bias that decoders begin with: about one word or link in 150 occurs."""


class Bag(nn.Module):
    """What occurs, as a vector of length 1, so that papers with many words or links are no larger than others.

    Args:
        dropout: The share of it that is left out in training.
    """

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)

    def forward(self, occurs: Tensor) -> Tensor:
        """0 and 1, -1 where unspecified, [B, ...], to Float[B, V]; zeros where nothing occurs."""
        return nn.functional.normalize(self.dropout(occurs.flatten(1).clamp_min(0).to(torch.get_default_dtype())))


class LinksEncoder(nn.Module):
    """q(z|y): the network of q(z|x), of a row of links."""

    def __init__(self, encoder: ImageEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, links: Tensor) -> Distribution:
        """Long[B, n] to a diagonal normal over Float[B, D]."""
        q: Distribution = self.encoder(links)
        return q


class LinksDecoder(nn.Module):
    """p(y|z): a link to the k-th training paper has the probability sigmoid(w_k . z + b_k)."""

    def __init__(self, latent_size: int, num_papers: int) -> None:
        super().__init__()
        self.network = _rare(latent_size, num_papers)

    def forward(self, z: Tensor) -> FactorisedBernoulli:
        """Float[B, D] to a distribution over Long[B, n]."""
        return FactorisedBernoulli(self.network(z))


class PapersBackbone(Backbone):
    """Encoders of one hidden layer over bags; decoders that are inner products with a vector for each word or paper."""

    spec: PapersBackboneSpec

    def image_encoder(self) -> nn.Module:
        """q(z|x): Float[B, 1, 1, V] to a diagonal normal over Float[B, D]."""
        return self._encoder(self.image_shape[2])

    def concept_encoder(self) -> nn.Module:
        """q(z|y): Long[B, n] to a diagonal normal over Float[B, D]."""
        return LinksEncoder(self._encoder(len(self.schema)))

    def joint_encoder(self) -> nn.Module:
        """q(z|x,y): both bags beside each other."""
        sizes = (self.image_shape[2] + len(self.schema), self.spec.hidden)
        return JointEncoder(
            Bag(self.spec.dropout),
            Bag(self.spec.dropout),
            nn.Identity(),
            join=nn.Sequential(nn.Linear(*sizes), nn.ReLU()),
            sizes=(self.spec.hidden,),
            latent_size=self.latent_size,
        )

    def image_decoder(self) -> nn.Module:
        """p(x|z): Float[B, D] to independent Bernoulli words, Float[B, 1, 1, V]."""
        network = nn.Sequential(_rare(self.latent_size, self.image_shape[2]), Rearrange("b v -> b 1 1 v"))
        return ImageDecoder(network, image_likelihood("bernoulli"))

    def concept_decoder(self) -> nn.Module:
        """p(y|z)."""
        return LinksDecoder(self.latent_size, len(self.schema))

    def _encoder(self, num_inputs: int) -> ImageEncoder:
        hidden = self.spec.hidden
        trunk = nn.Sequential(Bag(self.spec.dropout), nn.Linear(num_inputs, hidden), nn.ReLU())
        return ImageEncoder(trunk, trunk_size=hidden, sizes=(), latent_size=self.latent_size)


def _rare(latent_size: int, num_outputs: int) -> nn.Linear:
    layer = nn.Linear(latent_size, num_outputs)
    nn.init.constant_(layer.bias, RARE)
    return layer
