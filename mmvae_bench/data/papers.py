"""Papers as examples of two modalities, words and links, from the graphs of :mod:`.graphs`.

Shapes: N paper, n training paper, V word, B batch, P pair of an unseen paper and a training paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from ..base.errors import ConfigError
from ..base.heartbeat import beat
from ..base.seeds import derive_seed
from ..specs.built_in.papers import PapersSpec
from .base import PARTITIONS, OrderedBatches
from .batch import Batch
from .graph import Graph, normalised
from .graphs import GraphDataModule
from .sources.planetoid import PlanetoidFiles


class PaperStore:
    """All papers on one device.

    Args:
        words: Bool[N, V], which words occur.
        links: Long[N, n], 1 for a link to a training paper, else 0.
        graph: What a model of graphs is shown with every batch.
    """

    def __init__(self, words: Tensor, links: Tensor, graph: Graph) -> None:
        self.words, self.concepts, self.graph = words, links, graph

    def __len__(self) -> int:
        return len(self.words)

    def batch(self, rows: Tensor) -> Batch:
        """The papers of ``rows`` (Long[B])."""
        beat()
        return Batch(self.words[rows].float()[:, None, None], self.concepts[rows], rows, graph=self.graph)

    def to(self, device: torch.device | str) -> PaperStore:
        """The store on another device; itself if it is already there."""
        if self.words.device == torch.device(device):
            return self
        return PaperStore(self.words.to(device), self.concepts.to(device), self.graph.to(device))


@dataclass(frozen=True)
class Pairs:
    """Pairs of an unseen paper and a training paper, as rows of the dataset.

    Attributes:
        linked: Long[2, P], all that are linked.
        unlinked: Long[2, P], as many that are not.
    """

    linked: Tensor
    unlinked: Tensor


class PapersDataModule(GraphDataModule):
    """Papers, some of which are unseen: neither their words nor their links are in training.

    y of every paper is its links to the training papers alone, in their order, so that it has no unknown entry. A
    training paper is linked to itself, as a node is in graph convolutions (A + I of Kipf and Welling 2016). Links
    between two unseen papers are part of nothing; the validation loss of a graph auto-encoder, which is about all pairs
    of nodes, counts any two unseen papers as a pair without a link.

    Args:
        spec: Which papers, and how to divide them.
        files: The user's files; by default those under the data root.
    """

    spec: PapersSpec

    def __init__(self, spec: PapersSpec, *, files: PlanetoidFiles | None = None) -> None:
        super().__init__(spec, files=files or PlanetoidFiles(spec.graph, spec.size))
        self.batch_size = 64
        self._of_partition: dict[str, PaperStore] = {}

    @cached_property
    def parts(self) -> dict[str, Tensor]:
        """Long each: the rows of each partition, in order; on the CPU."""
        sizes = self.spec.partition_sizes()
        generator = torch.Generator().manual_seed(self._seed("papers"))
        drawn = torch.randperm(len(self.whole.labels), generator=generator).split(list(sizes.values()))
        return {name: rows.sort().values for name, rows in zip(sizes, drawn, strict=True)}

    @cached_property
    def labels(self) -> Tensor:
        """Long[N]: the class of each paper; -1 where it is not known."""
        return torch.from_numpy(self.whole.labels)

    def pairs(self, partition: str) -> Pairs:
        """The links of the unseen papers of ``val`` or ``test`` to training papers, and pairs without one.

        Raises:
            ConfigError: if there are no links, or more than pairs without one.
        """
        rows, columns = self.parts[partition], self.parts["train"]
        links = self._to_training()[rows]
        linked, free = links.nonzero().T, (~links).nonzero().T
        number = linked.shape[1]
        if not number or number > free.shape[1]:
            raise ConfigError(
                f"the {len(rows)} papers of {partition} have {number} links to training papers, and {free.shape[1]} "
                "pairs without one: too few to score"
            )
        generator = torch.Generator().manual_seed(self._seed("pairs of papers", partition=partition))
        free = free[:, torch.randperm(free.shape[1], generator=generator)[:number].sort().values]
        return Pairs(*(torch.stack([rows[each[0]], columns[each[1]]]) for each in (linked, free)))

    def setup(self, stage: str | None = None) -> None:
        """Divides the papers."""
        words, links = torch.from_numpy(self.whole.words), self._to_training().long()
        train = self.parts["train"]
        links[train, torch.arange(len(train))] = 1
        for name in PARTITIONS:
            self._of_partition[name] = PaperStore(words, links, self.graph(name, links="training"))
        self._store = self._of_partition["train"]

    def to(self, device: torch.device | str) -> None:
        """Moves the papers to a device, where they stay."""
        self._of_partition = {name: store.to(device) for name, store in self._of_partition.items()}
        self._store = self._of_partition["train"]

    def rows(self, partition: str, *, split: str | None = None) -> Tensor:
        """Long[n]: the papers of a partition."""
        if partition not in PARTITIONS:
            raise ValueError(f"unknown partition {partition!r}; choices: {', '.join(PARTITIONS)}")
        return self.parts[partition].to(self.store.concepts.device)

    def batches(self, partition: str, *, batch_size: int = 256, limit: int | None = None) -> OrderedBatches:
        """The papers of a partition in order, at most ``limit`` of them."""
        return OrderedBatches(self._of_partition[partition], self.rows(partition)[:limit], batch_size=batch_size)

    def graph_papers(self, partition: str) -> Tensor:
        """Long[nodes]: the papers that are nodes of a partition's graph: of training, then the unseen ones."""
        unseen = [] if partition == "train" else [self.parts[partition]]
        return torch.cat([self.parts["train"], *unseen])

    def _partition_sizes(self) -> dict[str, Any]:
        links = self._to_training()
        return {
            "sizes": {name: len(rows) for name, rows in self.parts.items()},
            "sizes_of": "papers",
            "links_to_training": {name: int(links[rows].sum()) for name, rows in self.parts.items()},
            "without_links_to_training": {name: int((~links[rows].any(1)).sum()) for name, rows in self.parts.items()},
        }

    def graph(self, partition: str, *, links: Literal["none", "training", "all"]) -> Graph:
        """The papers of :meth:`graph_papers` as nodes; the loss explains the links of all of them to training papers.

        Args:
            partition: Whose unseen papers are nodes beside those of training.
            links: Which links are shown. none: every node is alone with its words; training: those between training
                papers, as when the model is trained; all: also those of unseen papers to training papers.
        """
        papers, num_training = self.graph_papers(partition), len(self.parts["train"])
        linked = self._to_training()[papers].nonzero().T
        # Each link between training papers is there from both of them.
        linked = linked[:, linked[1] < linked[0]].flip(0)
        most = {"none": 0, "training": num_training, "all": len(papers)}[links]
        shown = normalised(linked[:, linked[1] < most], len(papers))
        features = torch.from_numpy(self.whole.words)[papers].float().to_sparse().coalesce()
        return Graph(features, shown, linked)

    def _seed(self, purpose: str, **components: object) -> int:
        of_trial = {"training_seed": self.training_seed} if self.spec.split == "papers_by_seed" else {}
        components = {"split": self.spec.split, "seed": self.spec.split_seed, **of_trial, **components}
        return derive_seed(purpose, **components) % 2**62

    def _to_training(self) -> Tensor:
        """Bool[N, n]: links to the training papers, without loops."""
        first, second = torch.from_numpy(self.whole.links)
        matrix = torch.zeros(len(self.labels), len(self.labels), dtype=torch.bool)
        matrix[first, second] = matrix[second, first] = True
        return matrix[:, self.parts["train"]]
