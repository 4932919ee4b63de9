"""A drawn citation graph: a stochastic block model, with words that depend on the class.

Shapes: N node, V word, K class, E link, P pair of nodes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..base.seeds import derive_seed

GENERATOR_VERSION = 1
"""Increased when the graph changes: it is part of the fingerprint."""
OWN_LINKS, OTHER_LINKS = 3.2, 0.8
"""Expected links of a node within its class and to other classes: as many and as often alike as in Cora."""
OWN_WORDS, OTHER_WORDS = 0.15, 0.02
"""How probable it is that a word of the node's class, or of another, occurs."""


@dataclass(frozen=True)
class CitationGraph:
    """A graph of papers, drawn or real.

    Attributes:
        words: Bool[N, V], which words occur.
        labels: Long[N], the class; -1 where it is not known.
        links: Long[2, E], pairs of nodes i < j, each once, ordered.
    """

    words: NDArray[np.bool_]
    labels: NDArray[np.int64]
    links: NDArray[np.int64]


def draw_graph(*, num_nodes: int, num_words: int, num_classes: int, seed: int) -> CitationGraph:
    """A graph whose classes are equally large; each word belongs to one class.

    Args:
        num_nodes: N; at least twice ``num_classes``.
        num_words: V.
        num_classes: K.
        seed: Seed of the drawing.
    """
    random = np.random.default_rng(derive_seed("block model", seed=seed))
    labels = random.permutation(np.arange(num_nodes) % num_classes)
    first, second = np.triu_indices(num_nodes, 1)
    alike = labels[first] == labels[second]
    own = OWN_LINKS / (num_nodes / num_classes - 1)
    other = OTHER_LINKS / (num_nodes * (1 - 1 / num_classes))
    linked = random.random(len(first)) < np.where(alike, own, other)
    belongs = (np.arange(num_words) % num_classes)[None] == labels[:, None]
    words = random.random((num_nodes, num_words)) < np.where(belongs, OWN_WORDS, OTHER_WORDS)
    return CitationGraph(words, labels.astype(np.int64), np.stack([first[linked], second[linked]]).astype(np.int64))
