"""Graph convolutions (Kipf and Welling 2016).

Shapes: N node, V column of X, H hidden unit, D latent dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..base.errors import BenchmarkError
from ..distributions.latents import diagonal_normal
from ..distributions.point import Point
from ..specs.built_in.graphs import GcnSpec
from .base import Backbone


class GraphEncoder(nn.Module):
    """``GCN(X, A) = A~ ReLU(A~ X W0) W1`` for the mean of q(z|X,A), and with the same W0 for the log of its scale.

    Without biases and dropout, Glorot's initial weights, as in the authors' code.

    Args:
        num_inputs: V.
        hidden: H.
        latent_size: D.
        variational: Whether there is a scale; if not, z is the mean.
    """

    def __init__(self, num_inputs: int, *, hidden: int, latent_size: int, variational: bool) -> None:
        super().__init__()
        sizes = {"first": (num_inputs, hidden), "mean": (hidden, latent_size)}
        if variational:
            sizes["log_scale"] = (hidden, latent_size)
        self.weights = nn.ParameterDict({name: torch.empty(size) for name, size in sizes.items()})
        for name in sizes:
            nn.init.xavier_uniform_(self.weights[name])

    def forward(self, features: Tensor, adjacency: Tensor) -> Distribution:
        """q(z|X,A): over Float[N, D].

        Args:
            features: Float[N, V], sparse: X.
            adjacency: Float[N, N], sparse: A~.
        """
        hidden = torch.sparse.mm(adjacency, torch.sparse.mm(features, self.weights["first"])).relu()

        def second(name: str) -> Tensor:
            product: Tensor = torch.sparse.mm(adjacency, hidden @ self.weights[name])
            return product

        mean = second("mean")
        return diagonal_normal(mean, second("log_scale")) if "log_scale" in self.weights else Point(mean)


class GcnBackbone(Backbone):
    """Networks of a graph. It has none of images or concepts."""

    spec: GcnSpec

    def graph_encoder(self, *, variational: bool) -> nn.Module:
        """q(z|X,A): Float[N, V] and Float[N, N] to a diagonal normal over Float[N, D], or to a point of it."""
        return GraphEncoder(
            self.image_shape[2], hidden=self.spec.hidden, latent_size=self.latent_size, variational=variational
        )

    def _absent(self) -> nn.Module:
        raise BenchmarkError("backbone gcn reads graphs: it has no networks of images or concepts")

    image_encoder = concept_encoder = joint_encoder = image_decoder = concept_decoder = _absent
