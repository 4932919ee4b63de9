"""Models of the world of lines whose posteriors, decoders and confusions are known, for questions about z.

z holds the values of the concept, and then where it came from: 0 from an image, 1 from a concept, 2 from both.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from mmvae_bench.objectives.base import CapabilityError

from .fakes import LINES, Fake, draw, read_exactly

SOURCES = {"image": 0, "concept": 1, "both": 2}


class LatentSpec:
    name = "latent"
    partial_concepts = True
    likelihoods = frozenset({"image", "concept"})


class Latent(Fake):
    """q(z|.) = N(the values, scale^2 I) in three dimensions; q(z|y) is moved by ``shift``, and wider.

    Args:
        scale: Of q(z|x) and q(z|x,y).
        shift: Of q(z|y), along the first dimension.
        width: The scale of q(z|y).
    """

    latent_size = 3

    def __init__(self, *, scale: float = 0.5, shift: float = 0.0, width: float = 0.5) -> None:
        super().__init__()
        self.spec: Any = LatentSpec()
        self.spec.posteriors = frozenset({"image", "joint", "concept"})
        self.scale, self.shift, self.width = scale, shift, width

    def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
        if image is None:
            assert concept is not None
            mean = concept.clamp(min=0).float() + torch.tensor([self.shift, 0.0, 0.0])
            return Independent(Normal(mean, self.width), 1)
        mean = read_exactly(image).float()
        return Independent(Normal(mean, torch.full_like(mean, self.scale)), 1)

    def centre(self, posterior: Distribution) -> Tensor:
        return posterior.mean

    def aggregate_prior(self) -> Distribution:
        raise CapabilityError("no flow")


class Exactly:
    """A distribution that has its whole mass on one point."""

    def __init__(self, mean: Tensor) -> None:
        self.mean = mean

    def sample(self) -> Tensor:
        return self.mean


class Routed(Latent):
    """Decodes what z says, with errors that depend on where z came from."""

    latent_size = 4

    def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Any:
        known = read_exactly(image) if image is not None else concept
        assert known is not None
        source = "both" if None not in (image, concept) else "concept" if image is None else "image"
        return Exactly(torch.cat([known.float(), torch.full((len(known), 1), float(SOURCES[source]))], 1))

    def image_likelihood(self, z: Tensor, concept: Tensor | None = None) -> Any:
        return Exactly(draw(shown(z)))

    def describe_latents(self, z: Tensor, *, sample: bool = False) -> Tensor:
        assert not sample
        return said(z)


def values_of(z: Tensor) -> Tensor:
    """The concept that z says, Long[N, 3]; any z says one."""
    limits = torch.tensor([size - 1 for size in LINES.sizes])
    return torch.minimum(z[:, :3].round().long().clamp(min=0), limits)


def shown(z: Tensor) -> Tensor:
    """What the image of z shows: from a concept everything in the last place is moved to the first, ..."""
    values, source = values_of(z), z[:, 3].round()
    values[:, 0] = torch.where((source == SOURCES["concept"]) & (values[:, 0] == 3), 0, values[:, 0])
    values[:, 2] = torch.where((source == SOURCES["image"]) & (values[:, 1] == 1), 0, values[:, 2])
    return values


def said(z: Tensor) -> Tensor:
    """What is described: from an image the direction is always horizontal; from both the number is never three."""
    values, source = values_of(z), z[:, 3].round()
    values[:, 1] = torch.where(source == SOURCES["image"], 0, values[:, 1])
    values[:, 2] = torch.where(source == SOURCES["both"], values[:, 2].clamp(max=1), values[:, 2])
    return values
