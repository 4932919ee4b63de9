"""What an objective can get from a backbone: one factory per network, so that only networks that are trained are built.

Shapes: B batch, C channel, H height, W width, A attribute, D latent dimension. Every network's forward returns a
torch Distribution.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import nn

from ..base.errors import BenchmarkError
from ..base.randomness import own_randomness
from ..base.seeds import derive_seed
from ..concepts import Schema
from ..concepts.captions import Captions
from ..specs.components import BackboneSpec
from .layers import Describer, ImageEncoder


class Backbone(ABC):
    """A family of networks for images of one shape and concepts of one schema, or captions of those.

    Args:
        spec: Its parameters.
        schema: The concepts' attributes.
        image_shape: (C, H, W).
        captions: In the text view, where every ``concept_`` network and the joint encoder takes Long[B, W] tokens
            instead of Long[B, A] concepts; None in the attribute view. Families without ``text`` in their spec's
            ``views`` never receive this argument.
    """

    def __init__(
        self,
        spec: BackboneSpec,
        *,
        schema: Schema,
        image_shape: tuple[int, int, int],
        captions: Captions | None = None,
    ) -> None:
        self.spec, self.schema, self.image_shape, self.captions = spec, schema, image_shape, captions

    @property
    def latent_size(self) -> int:
        """D, the number of latent dimensions."""
        return self.spec.latent_size

    def with_latent_size(self, latent_size: int) -> Backbone:
        """The same family with another number of latent dimensions: for a decoder with more inputs than z."""
        spec = self.spec.model_copy(update={"latent_size": latent_size})
        return spec.build(schema=self.schema, image_shape=self.image_shape, captions=self.captions)

    @abstractmethod
    def image_encoder(self) -> nn.Module:
        """q(z|x): Float[B, C, H, W] to a diagonal normal over Float[B, D]."""

    @abstractmethod
    def concept_encoder(self) -> nn.Module:
        """q(z|y_O): Long[B, A] (-1 where unspecified), or captions, to a diagonal normal over Float[B, D]."""

    @abstractmethod
    def joint_encoder(self) -> nn.Module:
        """q(z|x,y): images and fully specified concepts, or captions, to a diagonal normal over Float[B, D]."""

    @abstractmethod
    def image_decoder(self) -> nn.Module:
        """p(x|z): Float[B, D] to a distribution over Float[B, C, H, W]."""

    @abstractmethod
    def concept_decoder(self) -> nn.Module:
        """p(y|z): Float[B, D] to a distribution over Long[B, A], or over captions, Long[B, W]."""

    def describer(self) -> nn.Module:
        """q(y|x), a classifier: Float[B, C, H, W] to a distribution over Long[B, A]; here on the network of q(z|x).

        Raises:
            BenchmarkError: if that network is not built of the parts that a classifier can take over.
        """
        encoder = self.image_encoder()
        if not isinstance(encoder, ImageEncoder):
            raise BenchmarkError(f"backbone {self.spec.name} has no network q(y|x): override its describer()")
        return Describer(encoder, self.schema)

    def conditional_image_decoder(self) -> nn.Module | None:
        """p(x|y,z): Float[B, D] and fully specified concepts to a distribution over Float[B, C, H, W].

        None, as here, where a family has no network of its own for it: an objective then gives z and the values of y
        to an image decoder with as many inputs.
        """
        return None


class LayeredBackbone(Backbone):
    """A family that also has networks for the layers of an image. Its spec says so: ``layered``."""

    @abstractmethod
    def foreground_encoder(self, latent_size: int) -> nn.Module:
        """q(z_F|x_F,y): foregrounds on black, Float[B, C, H, W], and y to a diagonal normal over Float[B, D_F]."""

    @abstractmethod
    def background_encoder(self, latent_size: int, foreground_size: int) -> nn.Module:
        """q(z_B|x,y,z_F): images, y and Float[B, foreground_size] to a diagonal normal over Float[B, D_B]."""

    @abstractmethod
    def foreground_decoder(self, latent_size: int) -> nn.Module:
        """p(x_F|y,z_F) and p(g|y,z_F): Float[B, D_F] and y to distributions over Float[B, C, H, W], a normal of one
        fixed scale, and over Float[B, 1, H, W], Bernoulli."""

    @abstractmethod
    def background_decoder(self, latent_size: int) -> nn.Module:
        """x_B: Float[B, D_B] to a distribution over Float[B, C, H, W], of which the mean counts."""


def seeded(build: Callable[[], nn.Module], *, seed: int, name: str) -> nn.Module:
    """A network whose initial weights depend on the seed and its name alone.

    Two objectives with the same seed and backbone start their common networks from the same weights. The global
    generator is unchanged.
    """
    with own_randomness(derive_seed("initial weights", seed=seed, network=name), torch.device("cpu")):
        return build()
