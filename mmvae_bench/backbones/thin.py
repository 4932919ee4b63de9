"""Thin networks for a CPU: strided convolutions each way and narrow layers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from ..distributions.pixels import IMAGE_LIKELIHOODS
from .base import Backbone
from .layers import ConceptDecoder, ConceptExperts, ImageDecoder, ImageEncoder, JointEncoder, ValueFeatures, mlp


class ThinNetworks(Backbone):
    """Each convolution halves the image; one layer of ``hidden`` follows; the decoder goes the same way back."""

    @property
    @abstractmethod
    def channels(self) -> Sequence[int]:
        """Channels after each convolution, from the widest feature map to the smallest."""

    @property
    @abstractmethod
    def hidden(self) -> int:
        """Width of the fully connected layers."""

    @property
    @abstractmethod
    def likelihood(self) -> str:
        """The name of p(x|z)."""

    def image_encoder(self) -> nn.Module:
        """q(z|x)."""
        sizes = (self.hidden,)
        return ImageEncoder(self._trunk(), trunk_size=self._flat_size, sizes=sizes, latent_size=self.latent_size)

    def concept_encoder(self) -> nn.Module:
        """q(z|y_O): an expert an attribute."""
        sizes = (self.hidden, self.hidden)
        return ConceptExperts(self.schema, embedding=32, sizes=sizes, latent_size=self.latent_size)

    def joint_encoder(self) -> nn.Module:
        """q(z|x,y)."""
        values = ValueFeatures(self.schema, embedding=32, sizes=(self.hidden,))
        concept = mlp((self.hidden * len(self.schema), self.hidden))
        sizes = (self._flat_size + self.hidden, self.hidden)
        return JointEncoder(self._trunk(), values, concept, sizes=sizes, latent_size=self.latent_size)

    def image_decoder(self) -> nn.Module:
        """p(x|z)."""
        likelihood = IMAGE_LIKELIHOODS[self.likelihood]
        sizes = (*reversed(self.channels), likelihood.num_parameters * self.image_shape[0])
        layers: list[nn.Module] = [nn.Linear(self.latent_size, self.hidden), nn.ELU()]
        layers += [nn.Linear(self.hidden, self._flat_size), nn.ELU(), nn.Unflatten(1, self._smallest)]
        for i, (size_in, size_out) in enumerate(pairwise(sizes)):
            last = i == len(sizes) - 2
            layers.append(nn.ConvTranspose2d(size_in, size_out, 4, 2, 1, bias=last))
            if not last:
                layers += [nn.BatchNorm2d(size_out), nn.ELU()]
        return ImageDecoder(nn.Sequential(*layers), likelihood)

    def concept_decoder(self) -> nn.Module:
        """p(y|z): an MLP an attribute."""
        return ConceptDecoder(self.schema, latent_size=self.latent_size, sizes=(self.hidden,))

    @property
    def _smallest(self) -> tuple[int, int, int]:
        shrink = 2 ** len(self.channels)
        return self.channels[-1], self.image_shape[1] // shrink, self.image_shape[2] // shrink

    @property
    def _flat_size(self) -> int:
        channels, height, width = self._smallest
        return channels * height * width

    def _trunk(self) -> nn.Module:
        layers: list[nn.Module] = []
        for size_in, size_out in pairwise((self.image_shape[0], *self.channels)):
            layers += [nn.Conv2d(size_in, size_out, 4, 2, 1, bias=False), nn.BatchNorm2d(size_out), nn.ELU()]
        return nn.Sequential(*layers, nn.Flatten())
