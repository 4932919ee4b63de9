"""Citation graphs: Cora and Citeseer from the user's files, or a drawn stand-in.

Shapes: N node, V column of X, E link.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..base.canonical import content_hash
from ..base.errors import BenchmarkError
from ..base.heartbeat import beat
from ..base.seeds import derive_seed
from ..specs.built_in.graphs import CitationSpec
from ..worlds.block_model import GENERATOR_VERSION, CitationGraph, draw_graph
from .base import PARTITIONS, ConceptDataModule, OrderedBatches
from .batch import Batch
from .graph import Graph, LinkSplit, normalised, split_links
from .sources.planetoid import PlanetoidFiles


class GraphStore:
    """One graph on one device, whose batch is the whole of it.

    Args:
        graph: The graph.
        labels: Long[N], the class of each node; -1 where it is not known.
    """

    def __init__(self, graph: Graph, labels: Tensor) -> None:
        self.graph, self.concepts = graph, labels[:, None]
        self._rows = torch.arange(len(labels), device=labels.device)
        self._features = graph.features.to_dense()[:, None, None]

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, rows: Tensor) -> Batch:
        """All nodes, in order, whatever the order of ``rows``.

        Raises:
            BenchmarkError: if ``rows`` are not all of them: of a part of the nodes there is no graph.
        """
        if len(rows) != len(self):
            raise BenchmarkError(
                f"a graph of {len(self)} nodes is taken whole: it has no single images to show or ask of"
            )
        beat()
        return Batch(self._features, self.concepts, self._rows, graph=self.graph)

    def to(self, device: torch.device | str) -> GraphStore:
        """The store on another device; itself if it is already there."""
        if self.concepts.device == torch.device(device):
            return self
        return GraphStore(self.graph.to(device), self.concepts[:, 0].to(device))


class GraphDataModule(ConceptDataModule):
    """A graph whose links are divided: a model is shown those of training, and told from them about all nodes.

    Every partition has all nodes. What a batch of a partition explains differs: in training the links that are shown;
    in validation also those of validation, and in testing also those of testing, so that the loss of these partitions
    counts links that the model was not shown.

    Args:
        spec: Which graph, what is known of its nodes, and how to split its links.
        files: The user's files; by default those under the data root, looked for when they are needed.
    """

    spec: CitationSpec

    def __init__(self, spec: CitationSpec, *, files: PlanetoidFiles | None = None) -> None:
        super().__init__(spec)
        self.files = files or PlanetoidFiles(spec.name, spec.size)
        self.batch_size = spec.most_images()
        self._stores: dict[str, GraphStore] = {}

    @property
    def is_drawn(self) -> bool:
        """Whether the graph is the stand-in."""
        return self.spec.source == "drawn"

    @cached_property
    def whole(self) -> CitationGraph:
        """The graph with all its links.

        Raises:
            SourceError: if the user's files are missing, damaged, or another graph's.
        """
        if not self.is_drawn:
            return self.files.load()
        spec = self.spec
        return draw_graph(
            num_nodes=spec.most_images(), num_words=spec.num_words(), num_classes=spec.size.classes, seed=spec.seed
        )

    @cached_property
    def divided(self) -> LinkSplit:
        """The links of each partition, on the CPU."""
        spec = self.spec
        of_trial = {"training_seed": self.training_seed} if spec.split == "links_by_seed" else {}
        seed = derive_seed("links", split=spec.split, seed=spec.split_seed, **of_trial) % 2**62
        return split_links(torch.from_numpy(self.whole.links), len(self.whole.labels), seed=seed)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the recipe, and of the generator's version or the sha256 of the user's files."""
        made = {"generator": GENERATOR_VERSION} if self.is_drawn else {"source": self.files.checksum}
        return content_hash({"recipe": self.spec.recipe(), **made})

    @property
    def cache_path(self) -> None:
        """There is none: the user's files are read in a tenth of a second."""
        return

    def prepare_data(self) -> None:
        """Nothing to make; what is wrong with the user's files is said here.

        Raises:
            SourceError: if they are missing, damaged, or another graph's.
        """
        self.whole  # noqa: B018

    def setup(self, stage: str | None = None) -> None:
        """Divides the links, and makes the graph of each partition."""
        whole, links = self.whole, self.divided.links
        num_nodes = len(whole.labels)
        words = torch.from_numpy(whole.words).float()
        features = words if self.spec.features == "words" else torch.eye(num_nodes)
        shown = normalised(links["train"], num_nodes)
        sparse, labels = features.to_sparse().coalesce(), torch.from_numpy(whole.labels)
        for place, partition in enumerate(PARTITIONS):
            targets = torch.cat([links[name] for name in PARTITIONS[: place + 1]], 1)
            self._stores[partition] = GraphStore(Graph(sparse, shown, targets), labels)
        self._store = self._stores["train"]

    def to(self, device: torch.device | str) -> None:
        """Moves the graph to a device, where it stays."""
        super().to(device)
        self._stores = {name: store.to(device) for name, store in self._stores.items()}

    def rows(self, partition: str, *, split: str | None = None) -> Tensor:
        """Long[N]: all nodes, in every partition."""
        if partition not in PARTITIONS:
            raise ValueError(f"unknown partition {partition!r}; choices: {', '.join(PARTITIONS)}")
        return torch.arange(len(self.store), device=self.store.concepts.device)

    def batches(self, partition: str, *, batch_size: int = 256, limit: int | None = None) -> OrderedBatches:
        """One batch of the whole graph, whatever the size and the limit, with what the partition explains."""
        rows = self.rows(partition)
        return OrderedBatches(self._stores[partition], rows, batch_size=len(rows))

    def describe(self) -> dict[str, Any]:
        """Plain JSON: the classes, what the graph consists of, the links of each partition, fingerprint."""
        whole, spec = self.whole, self.spec
        known = whole.labels[whole.labels >= 0]
        num_nodes, linked = len(whole.labels), torch.from_numpy(whole.links).unique()
        shares = torch.from_numpy(known).bincount(minlength=spec.size.classes).double() / len(known)
        return {
            "name": spec.name,
            "source": spec.source,
            "schema": CitationSpec.concept_schema(spec).to_dict(),
            "image_shape": list(self.image_shape),
            "split": spec.split,
            "split_seed": spec.split_seed,
            "num_images": num_nodes,
            **self._partition_sizes(),
            "combinations": None,
            "marginals": {"class": shares.tolist()},
            "num_links": whole.links.shape[1],
            "num_words": whole.words.shape[1],
            "words_per_node": round(float(whole.words.sum(1).mean()), 3),
            "nodes_without_links": num_nodes - len(linked),
            "nodes_without_class": num_nodes - len(known),
            "fingerprint": self.fingerprint,
            "path": None,
            "recipe": spec.recipe(),
            **({"generator": GENERATOR_VERSION} if self.is_drawn else {"source_sha256": self.files.checksum}),
        }

    def _partition_sizes(self) -> dict[str, Any]:
        return {
            "sizes": {name: part.shape[1] for name, part in self.divided.links.items()},
            "sizes_of": "links; validation and test have as many pairs of nodes without one",
        }

    def verify(self) -> dict[str, Any]:
        """Nothing is stored that could be damaged: the graph is drawn, or the user's files read, and counted."""
        whole = self.whole
        return {
            "name": self.spec.name,
            "source": self.spec.source,
            "fingerprint": self.fingerprint,
            "path": None,
            "files": [],
            "ok": True,
            "num_images": len(whole.labels),
            "num_links": whole.links.shape[1],
        }
