"""A graph as a model sees it, and the links that are kept from it.

Shapes: N node, V column of X, E link (undirected: a pair of nodes i < j), P pair of nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from ..base.errors import ConfigError

VALIDATION, TEST = 20, 10
"""One link in 20 validates, one in 10 tests: rounded down, as in the authors' code."""


@dataclass(frozen=True)
class Graph:
    """Nodes with what is known of them, the links that a model is shown, and those that it explains.

    Attributes:
        features: Float[N, V], sparse: X.
        adjacency: Float[N, N], sparse: the shown links, with loops, normalised; see :func:`normalised`.
        targets: Long[2, E], the links that the loss explains: in training the shown ones.
    """

    features: Tensor
    adjacency: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def to(self, device: torch.device | str) -> Self:
        """The graph on another device; itself if it is already there."""
        if self.targets.device == torch.device(device):
            return self
        return type(self)(*(part.to(device) for part in (self.features, self.adjacency, self.targets)))


def normalised(links: Tensor, num_nodes: int) -> Tensor:
    """``D^-1/2 (A + I) D^-1/2`` with ``D_ii = sum_j (A + I)_ij``: Float[N, N], sparse (Kipf and Welling 2016, Sec. 1).

    Args:
        links: Long[2, E], each once.
        num_nodes: N.

    >>> normalised(torch.tensor([[0], [1]]), 3).to_dense()
    tensor([[0.5000, 0.5000, 0.0000],
            [0.5000, 0.5000, 0.0000],
            [0.0000, 0.0000, 1.0000]])
    """
    loops = torch.arange(num_nodes, device=links.device).expand(2, -1)
    entries = torch.cat([links, links.flip(0), loops], 1)
    scale = entries[0].bincount(minlength=num_nodes).double().rsqrt()
    values = (scale[entries[0]] * scale[entries[1]]).float()
    return torch.sparse_coo_tensor(entries, values, (num_nodes, num_nodes), check_invariants=True).coalesce()


@dataclass(frozen=True)
class LinkSplit:
    """The links of a graph by partition, and pairs that are not linked.

    Attributes:
        links: Long[2, E] each, of ``train``, ``val`` and ``test``.
        gaps: Long[2, E] each, of ``val`` and ``test``: as many pairs of nodes without a link.
    """

    links: dict[str, Tensor]
    gaps: dict[str, Tensor]


def split_links(links: Tensor, num_nodes: int, *, seed: int) -> LinkSplit:
    """Draws 5 % of the links for validation and 10 % for testing, and as many pairs that are not linked.

    The pairs are drawn uniformly from those without any link, of whatever partition, and no pair is drawn twice. The
    authors' code draws the validation's without looking at the test links, and stops where it hits one.

    Args:
        links: Long[2, E], i < j, each once.
        num_nodes: N.
        seed: Seed of the draw.

    Raises:
        ConfigError: if there are too few links, or too few pairs without one.
    """
    num_links = links.shape[1]
    num_val, num_test = num_links // VALIDATION, num_links // TEST
    if not num_val:
        message = f"a graph of {num_links} links has none left to validate with: at least {VALIDATION} are needed"
        raise ConfigError(message)
    pairs = torch.triu_indices(num_nodes, num_nodes, 1)
    free = torch.ones(pairs.shape[1], dtype=torch.bool)
    # The place of (i, j) among the pairs, which are ordered by i, then j.
    free[links[0] * (2 * num_nodes - links[0] - 1) // 2 + links[1] - links[0] - 1] = False
    unlinked = free.nonzero()[:, 0]
    if len(unlinked) < num_val + num_test:
        raise ConfigError(
            f"a graph of {num_nodes} nodes and {num_links} links has {len(unlinked)} pairs that are not linked, fewer "
            f"than the {num_val + num_test} that validation and test need"
        )
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(num_links, generator=generator)
    drawn = torch.randperm(len(unlinked), generator=generator)[: num_val + num_test]
    gaps = pairs[:, unlinked[drawn]]
    parts = {"val": order[:num_val], "test": order[num_val : num_val + num_test], "train": order[num_val + num_test :]}
    return LinkSplit(
        links={name: links[:, chosen.sort().values] for name, chosen in parts.items()},
        gaps={"val": gaps[:, :num_val], "test": gaps[:, num_val:]},
    )
