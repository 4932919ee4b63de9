"""GAE and VGAE: graph auto-encoders (Kipf and Welling 2016, Variational Graph Auto-Encoders).

Shapes: N node, D latent dimension, E link (undirected: a pair i < j).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence
from torch.nn import functional as F

from ..backbones.base import Backbone
from ..backbones.gcn import GcnBackbone
from ..data.batch import Batch
from ..data.graph import Graph
from ..specs.built_in.graphs import LinkObjectiveSpec
from .base import CapabilityError, Objective, Terms

NODES_AT_ONCE = 128
"""Rows of Z Z^T that are computed together, so that they fit a CPU's cache."""


def log_adjacency(z: Tensor, links: Tensor) -> tuple[Tensor, Tensor]:
    """log p(A|z) for each row of A, with p(A_ij = 1) = sigmoid(z_i . z_j) and A_ii = 1.

    Args:
        z: Float[N, D].
        links: Long[2, E], the pairs with A_ij = A_ji = 1.

    Returns:
        Float[N] each: the sum over j with A_ij = 1, and over j with A_ij = 0.
    """
    # log (1 - sigmoid(l)) = -softplus(l): of all pairs, then taken back where there is a link.
    everywhere = torch.zeros(len(z), dtype=z.dtype, device=z.device)
    for start in range(0, len(z), NODES_AT_ONCE):
        # Z Z^T is symmetric: what lies before the diagonal block is the transpose of what was computed already.
        rows, stop = z[start : start + NODES_AT_ONCE], start + NODES_AT_ONCE
        block = F.softplus(rows @ z[start:].T)
        everywhere[start:stop] += block.sum(1)
        everywhere[stop:] += block[:, len(rows) :].sum(0)
    loops = torch.arange(len(z), device=z.device).expand(2, -1)
    first, second = torch.cat([links, links.flip(0), loops], 1)
    logits = (z[first] * z[second]).sum(1)

    def of_rows(values: Tensor) -> Tensor:
        return torch.zeros(len(z), dtype=z.dtype, device=z.device).index_add(0, first, values)

    return of_rows(F.logsigmoid(logits)), of_rows(F.softplus(logits)) - everywhere


def released_weights(num_nodes: int, num_links: int) -> tuple[float, float]:
    """The weights of the authors' code: of links, and of everything that is reconstructed.

    ``(N^2 - s) / s`` and ``N^2 / (2 (N^2 - s))``, with s = sum_ij A_ij without the diagonal: twice the number of links.

    >>> released_weights(4, 2)
    (3.0, 0.6666666666666666)
    """
    entries, linked = num_nodes**2, 2 * num_links
    return (entries - linked) / linked, entries / (2 * (entries - linked))


def link_elbo(
    *, log_links: Tensor, log_gaps: Tensor, kl: Tensor | None = None, link_weight: float = 1.0, norm: float = 1.0
) -> Terms:
    """``-norm (w sum_{j: A_ij = 1} log p(A_ij|z) + sum_{j: A_ij = 0} log p(A_ij|z)) + KL(q(z_i|X,A) || p(z_i))``, the
    mean over nodes i.

    With the weights of the authors' code this is N times their loss, whose likelihood is a mean over the N^2 entries of
    A, and whose KL is divided by N twice: the weighted ELBO in nats per node. (The review prints + KL for the bound.)

    Args:
        log_links: Float[N], from :func:`log_adjacency`.
        log_gaps: Float[N].
        kl: Float[N]; None if there is no prior.
        link_weight: w.
        norm: The weight of the likelihood.
    """
    loss = -norm * (link_weight * log_links + log_gaps)
    parts = {"graph/log_links": log_links, "graph/log_gaps": log_gaps}
    if kl is not None:
        loss, parts["graph/kl"] = loss + kl, kl
    return Terms(loss.mean(), parts)


class GAE(Objective):
    """z = GCN(X, A), and the links from inner products of z."""

    spec: LinkObjectiveSpec
    network_names = ("graph_encoder",)
    variational = False
    graph_encoder: nn.Module

    def build_network(self, name: str, backbone: Backbone) -> nn.Module:
        """The encoder, with a scale if z has one."""
        return cast(GcnBackbone, backbone).graph_encoder(variational=self.variational)

    def graph_posterior(self, graph: Graph) -> Distribution:
        """q(z|X,A): over Float[N, D]."""
        q: Distribution = self.graph_encoder(graph.features, graph.adjacency)
        return q

    def terms(self, batch: Batch) -> Terms:
        """The bound at one z of each node."""
        assert batch.graph is not None
        graph = batch.graph
        q = self.graph_posterior(graph)
        z = q.rsample()
        log_links, log_gaps = log_adjacency(z, graph.targets)
        weights = (1.0, 1.0)
        if self.spec.weighting == "released":
            weights = released_weights(len(graph), graph.targets.shape[1])
        kl = kl_divergence(q, self.prior(q)) if self.variational else None
        terms = link_elbo(log_links=log_links, log_gaps=log_gaps, kl=kl, link_weight=weights[0], norm=weights[1])
        terms.latents["graph"] = z
        return terms

    def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
        """There is none of a single image or concept.

        Raises:
            CapabilityError: always.
        """
        raise CapabilityError(self._only_graphs)

    def image_likelihood(self, z: Tensor, concept: Tensor | None = None) -> Distribution:
        """There is none.

        Raises:
            CapabilityError: always.
        """
        raise CapabilityError(self._only_graphs)

    @property
    def _only_graphs(self) -> str:
        return f"{self.spec.name} models the links of a graph: it has neither images nor concepts"


class VGAE(GAE):
    """q(z|X,A) is normal, and z has the prior N(0, I)."""

    variational = True
