"""Graph convolutions (Kipf and Welling 2016).

Shapes: N node, V column of X, H hidden unit, D latent dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..base.errors import BenchmarkError
from ..data.graph import Graph
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

    def forward(self, graph: Graph) -> Distribution:
        """q(z|X,A): over Float[N, D]."""
        inputs = torch.sparse.mm(graph.features, self.weights["first"])
        hidden = torch.sparse.mm(graph.adjacency, inputs).relu()

        def second(name: str) -> Tensor:
            return torch.sparse.mm(graph.adjacency, hidden @ self.weights[name])

        mean = second("mean")
        return diagonal_normal(mean, second("log_scale")) if "log_scale" in self.weights else Point(mean)


class GcnBackbone(Backbone):
    """Networks of a graph. It has none of images or concepts."""

    spec: GcnSpec

    def graph_encoder(self, *, variational: bool) -> nn.Module:
        """q(z|X,A): a Graph to a diagonal normal over Float[N, D], or to a point of it."""
        return GraphEncoder(
            self.image_shape[2], hidden=self.spec.hidden, latent_size=self.latent_size, variational=variational
        )

    def _absent(self) -> nn.Module:
        raise BenchmarkError("backbone gcn reads graphs: it has no networks of images or concepts")

    image_encoder = concept_encoder = joint_encoder = image_decoder = concept_decoder = _absent
