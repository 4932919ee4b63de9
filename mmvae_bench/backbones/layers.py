"""Building blocks of the networks.

Shapes: B batch, A attribute, E embedding, F feature, D latent dimension.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from ..concepts import Schema
from ..distributions.latents import FactorisedCategorical, diagonal_normal, product_of_experts
from ..distributions.pixels import ImageLikelihood

DECODED_AT_ONCE = 128
"""Images that a CPU decodes at once where no gradient is wanted: their feature maps stay in its cache.
Up to three times as many are as fast together."""


class Eager(nn.Module):
    """A network that is not compiled for training."""

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing: compiling this network would break the graph."""


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers with an ELU after each: sizes[0] in, sizes[-1] out. A single size is the identity."""
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        layers += [nn.Linear(size_in, size_out), nn.ELU()]
    return nn.Sequential(*layers)


def mixture(concept: Tensor, sizes: Sequence[int], *, dtype: torch.dtype) -> Tensor:
    """The weights of the attributes' values: Float[B, V], V values in all.

    Args:
        concept: Fully specified Long[B, A], whose values have weight 1 and all others 0; or weights, Float[B, V], as
            they are.
        sizes: The number of values of each attribute.
        dtype: Of the result.

    Raises:
        ValueError: for weights of another number of values.

    >>> mixture(torch.tensor([[1, 0]]), (2, 3), dtype=torch.float32).tolist()
    [[0.0, 1.0, 1.0, 0.0, 0.0]]
    """
    if not concept.is_floating_point():
        return torch.cat([F.one_hot(concept[:, k], size).to(dtype) for k, size in enumerate(sizes)], -1)
    if concept.shape[-1] != sum(sizes):
        raise ValueError(f"{sum(sizes)} values have as many weights, got {concept.shape[-1]}")
    return concept.to(dtype)


def bounded_above(value: Tensor, bound: float) -> Tensor:
    """``bound - softplus(bound - value)``: nearly the value far below the bound, and never above it.

    Of log scales: the inverse of the scale is the sum of the inverses of the given one and of the largest.

    >>> bounded_above(torch.tensor([-20.0, 0.0, 20.0]), 1.0)
    tensor([-20.0000,  -0.3133,   1.0000])
    """
    return bound - F.softplus(bound - value)


class GaussianHead(nn.Module):
    """Features to the mean and log scale of a diagonal normal."""

    def __init__(self, size: int, latent_size: int) -> None:
        super().__init__()
        self.mean = nn.Linear(size, latent_size)
        self.log_scale = nn.Linear(size, latent_size)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Float[..., F] to two Float[..., D]."""
        return self.mean(features), self.log_scale(features)


class ValueFeatures(nn.Module):
    """A feature vector for each attribute's value: an embedding, then fully connected layers.

    An attribute has few values, so the network runs over the values and the batch selects its rows: the same numbers
    as running it over the batch, for much less work.
    """

    def __init__(self, schema: Schema, *, embedding: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(size, embedding) for size in schema.sizes)
        self.networks = nn.ModuleList(mlp((embedding, *sizes)) for _ in schema.sizes)

    def tables(self) -> list[Tensor]:
        """The features of every value: one Float[value, F] per attribute."""
        return [network(embedding.weight) for embedding, network in zip(self.embeddings, self.networks, strict=True)]

    def forward(self, concept: Tensor) -> Tensor:
        """Long[B, A], fully specified, to Float[B, A * F]; or a mixture of values, Float[B, V], to that of their
        features."""
        tables = self.tables()
        if not concept.is_floating_point():
            return torch.cat([table[concept[:, k]] for k, table in enumerate(tables)], dim=-1)
        weights = concept.split([len(table) for table in tables], -1)
        return torch.cat([weight.to(table) @ table for weight, table in zip(weights, tables, strict=True)], dim=-1)


class ConceptExperts(nn.Module):
    """q(z|y_O): the product of N(0, I) and one Gaussian expert for each specified attribute.

    Vedantam et al. (2018), Eq. 6; the universal expert p(z) is a factor in training too.

    Args:
        schema: The attributes.
        embedding: Size of a value's embedding.
        sizes: Sizes of the fully connected layers.
        latent_size: D.
        largest_scale: What the scale of no value's expert exceeds; it is approached smoothly. An expert of scale s
            weighs 1 / s^2, and so does the gradient of its mean: one that has run off to a scale of hundreds tells
            nothing, and hardly returns. None: there is no bound, as published.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding: int,
        sizes: Sequence[int],
        latent_size: int,
        largest_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.largest_scale = largest_scale
        self.features = ValueFeatures(schema, embedding=embedding, sizes=sizes)
        self.heads = nn.ModuleList(GaussianHead(sizes[-1], latent_size) for _ in schema.sizes)

    def forward(self, concept: Tensor) -> Distribution:
        """Long[B, A], -1 where unspecified, to a diagonal normal over Float[B, D]; or a mixture of values, Float[B, V],
        of every attribute."""
        means, log_scales = self.experts(concept)
        told = torch.ones_like(means[..., 0], dtype=torch.bool) if concept.is_floating_point() else concept >= 0
        return product_of_experts(means, log_scales, told)

    def experts(self, concept: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log scales of the attributes' own experts, without the prior: Float[B, A, D] both.

        Those of unspecified attributes are arbitrary: the caller must mask them. The expert of a mixture of values has
        the mixtures of their means and of their log scales.
        """
        means, log_scales, tables = [], [], self.features.tables()
        weights = concept.split([len(table) for table in tables], -1) if concept.is_floating_point() else None
        for k, (table, head) in enumerate(zip(tables, self.heads, strict=True)):
            mean, log_scale = head(table)
            if self.largest_scale is not None:
                log_scale = bounded_above(log_scale, math.log(self.largest_scale))
            if weights is not None:
                means.append(weights[k].to(mean) @ mean)
                log_scales.append(weights[k].to(mean) @ log_scale)
                continue
            # An unspecified attribute reads row 0, which the mask excludes from the product.
            rows = concept[:, k].clamp_min(0)
            means.append(mean[rows])
            log_scales.append(log_scale[rows])
        return torch.stack(means, 1), torch.stack(log_scales, 1)


class ImageEncoder(nn.Module):
    """q(z|x): a convolutional trunk, fully connected layers, a Gaussian head."""

    def __init__(self, trunk: nn.Module, *, trunk_size: int, sizes: Sequence[int], latent_size: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.hidden = mlp((trunk_size, *sizes))
        self.head = GaussianHead((trunk_size, *sizes)[-1], latent_size)

    def forward(self, image: Tensor) -> Distribution:
        """Float[B, C, H, W] to a diagonal normal over Float[B, D]."""
        return diagonal_normal(*self.head(self.hidden(self.trunk(image))))


class Describer(nn.Module):
    """q(y|x) = prod_k q(y_k|x): the network of q(z|x), with a head for each attribute in place of that for z."""

    def __init__(self, encoder: ImageEncoder, schema: Schema) -> None:
        super().__init__()
        self.trunk, self.hidden = encoder.trunk, encoder.hidden
        size = encoder.head.mean.in_features
        self.heads = nn.ModuleList(nn.Linear(size, number) for number in schema.sizes)

    def forward(self, image: Tensor) -> FactorisedCategorical:
        """Float[B, C, H, W] to a distribution over Long[B, A]."""
        features = self.hidden(self.trunk(image))
        return FactorisedCategorical([head(features) for head in self.heads])


class JointEncoder(nn.Module):
    """q(z|x,y): image features and concept features, concatenated, through fully connected layers.

    Args:
        trunk: Images to features.
        values: Concepts to the features of their values, or captions to theirs.
        concept: These features to the concept's features.
        join: Applied to both, concatenated, before the fully connected layers; None: nothing.
        sizes: Sizes of the fully connected layers, starting with their input.
        latent_size: D.
    """

    def __init__(
        self,
        trunk: nn.Module,
        values: nn.Module,
        concept: nn.Module,
        *,
        join: nn.Module | None = None,
        sizes: Sequence[int],
        latent_size: int,
    ) -> None:
        super().__init__()
        self.trunk, self.values, self.concept = trunk, values, concept
        self.join = nn.Identity() if join is None else join
        self.hidden = mlp(sizes)
        self.head = GaussianHead(sizes[-1], latent_size)

    def forward(self, image: Tensor, concept: Tensor) -> Distribution:
        """Images and fully specified concepts, or captions, to a diagonal normal over Float[B, D]."""
        features = torch.cat([self.trunk(image), self.concept(self.values(concept))], dim=-1)
        return diagonal_normal(*self.head(self.hidden(self.join(features))))


class ImageDecoder(nn.Module):
    """p(x|z): a network that outputs the parameters of every pixel's distribution."""

    def __init__(self, network: nn.Module, likelihood: ImageLikelihood) -> None:
        super().__init__()
        self.network, self.likelihood = network, likelihood

    def forward(self, z: Tensor) -> Distribution:
        """Float[B, D] to a distribution over Float[B, C, H, W]."""
        return self.likelihood.distribution(_in_parts(self.network, z))


def _in_parts(network: nn.Module, z: Tensor) -> Tensor:
    """``network(z)``; on a CPU, and where no gradient is wanted, of :data:`DECODED_AT_ONCE` latents after each other.

    Not where any part is in training: the statistics of batch norm are those of all of z.
    """
    several = len(z) > 3 * DECODED_AT_ONCE and z.device.type == "cpu" and not torch.is_grad_enabled()
    if not several or any(part.training for part in network.modules()):
        output: Tensor = network(z)
        return output
    return torch.cat([network(part) for part in z.split(DECODED_AT_ONCE)])


class ConceptDecoder(nn.Module):
    """p(y|z) = prod_k p(y_k|z): one MLP per attribute, with a penalty on its weights.

    Args:
        schema: The attributes.
        latent_size: D.
        sizes: Widths of the hidden layers.
        l1: Weight of the sum of absolute weights.
        l2: Weight of the sum of squared weights.
    """

    def __init__(
        self, schema: Schema, *, latent_size: int, sizes: Sequence[int], l1: float = 0.0, l2: float = 0.0
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(
            nn.Sequential(*mlp((latent_size, *sizes)), nn.Linear(sizes[-1], size)) for size in schema.sizes
        )
        self.l1, self.l2 = l1, l2

    def forward(self, z: Tensor) -> FactorisedCategorical:
        """Float[B, D] to a distribution over Long[B, A]."""
        return FactorisedCategorical([network(z) for network in self.networks])

    def penalty(self) -> Tensor | None:
        """The regulariser of the weight matrices, added to the loss in training; None if there is none."""
        if not (self.l1 or self.l2):
            return None
        weights = [parameter for parameter in self.parameters() if parameter.ndim > 1]
        total = torch.zeros((), device=weights[0].device, dtype=weights[0].dtype)
        if self.l1:
            total = total + self.l1 * torch.stack([weight.abs().sum() for weight in weights]).sum()
        if self.l2:
            total = total + self.l2 * torch.stack([weight.square().sum() for weight in weights]).sum()
        return total
