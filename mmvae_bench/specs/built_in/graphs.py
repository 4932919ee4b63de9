"""The built-in parts for graphs, of every kind: datasets, networks, objectives, and what their models are asked.

A graph is one example of many nodes. Here a node is an example: its words are x, its class is y, and the links between
nodes are what a model explains.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from ...base.errors import ConfigError, Problem
from ...concepts import Attribute, Schema
from ..components import (
    BackboneSpec,
    DatasetSpec,
    Domain,
    Modality,
    ObjectiveSpec,
    Posterior,
    QuestionSpec,
    backbones,
    datasets,
    objectives,
    questions,
)


class GraphSize(NamedTuple):
    """What is known of a citation graph: its nodes, distinct words, classes, and links without loops."""

    nodes: int
    words: int
    classes: int
    links: int


NUM_DRAWN_NODES, NUM_DRAWN_WORDS = 300, 200


class CitationSpec(DatasetSpec):
    """Papers that cite each other, each with the words that occur in it and a class."""

    domain: ClassVar[Domain] = "graph"
    implementation: ClassVar[str] = "mmvae_bench.data.graphs:GraphDataModule"
    reference: ClassVar[str] = (
        "Sen et al. 2008, Collective Classification in Network Data; files of Yang et al. 2016 (planetoid)"
    )
    size: ClassVar[GraphSize]
    """Of the real graph."""

    source: Literal["planetoid", "drawn"] = "drawn"
    """planetoid: the files ind.NAME.* under the data root; drawn: a stand-in that needs no file, a stochastic block
    model with words that depend on the class, never to be compared with numbers of the real graph."""
    features: Literal["words", "none"] = "words"
    """What a model is told of a node. words: which words occur in the paper; none: only which node it is (X = I)."""
    num_nodes: Annotated[int, Field(ge=60, le=5000)] | None = None
    """Nodes of the drawn graph; null: 300. The real one is taken whole."""
    seed: Annotated[int, Field(ge=0, le=2**53)] = 0
    """Seed of the drawn graph."""
    split: Literal["links_by_seed", "links"] = "links_by_seed"
    """5 % of the links validate and 10 % test, with as many pairs of nodes that are not linked. links_by_seed: drawn
    anew for each training seed, so that an interval over seeds covers the splits; links: one split for all seeds."""
    split_seed: Annotated[int, Field(ge=0, le=2**53)] = 0
    """Seed of the split or, with the training seed, of the splits."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.source != "drawn" and self.num_nodes is not None:
            message = f"only applies to the stand-in (source: drawn): {self.name} has {self.size.nodes:,} nodes"
            raise ConfigError([Problem(message, ("num_nodes",), str(self.num_nodes), ("null",), "null")])
        return self

    def most_images(self) -> int:
        """The nodes."""
        return self.size.nodes if self.source == "planetoid" else self.num_nodes or NUM_DRAWN_NODES

    def nodes_per_step(self) -> int | None:
        """All of them."""
        return self.most_images()

    def num_words(self) -> int:
        """The distinct words."""
        return self.size.words if self.source == "planetoid" else NUM_DRAWN_WORDS

    def concept_schema(self) -> Schema:
        """The class, by the number of its column in the files."""
        return Schema((Attribute("class", tuple(map(str, range(self.size.classes)))),))

    def image_shape(self) -> tuple[int, int, int]:
        """(1, 1, V): a node's row of X, with a column for each word, or for each node."""
        return (1, 1, self.num_words() if self.features == "words" else self.most_images())

    def default_classifier(self) -> None:
        """There is none."""
        return


@datasets.register
class CoraSpec(CitationSpec):
    """2,708 papers on machine learning, 1,433 words, 7 classes, 5,278 links."""

    summary: ClassVar[str] = "a graph of 2,708 papers that cite each other, or a drawn stand-in of 300 nodes"
    size: ClassVar[GraphSize] = GraphSize(2708, 1433, 7, 5278)

    name: Literal["cora"] = "cora"
    """The dataset's name."""


@datasets.register
class CiteseerSpec(CitationSpec):
    """3,327 papers, 3,703 words, 6 classes, 4,552 links; 15 of the papers have neither words nor class."""

    summary: ClassVar[str] = "a graph of 3,327 papers that cite each other, or a drawn stand-in of 300 nodes"
    size: ClassVar[GraphSize] = GraphSize(3327, 3703, 6, 4552)

    name: Literal["citeseer"] = "citeseer"
    """The dataset's name."""


@backbones.register
class GcnSpec(BackboneSpec):
    """Two layers that each average over a node and its neighbours, without biases; the first one is shared by the mean
    and the scale of z."""

    domain: ClassVar[Domain] = "graph"
    further_domains: ClassVar[frozenset[Domain]] = frozenset({"papers"})
    implementation: ClassVar[str] = "mmvae_bench.backbones.gcn:GcnBackbone"
    summary: ClassVar[str] = "graph convolutions in two layers of 32 and 16 units"
    reference: ClassVar[str] = "Kipf and Welling 2016, Variational Graph Auto-Encoders, section 2"

    name: Literal["gcn"] = "gcn"
    """The backbone's name."""
    hidden: Annotated[int, Field(gt=0, le=4096)] = 32
    """Width of the first layer."""
    latent_size: Annotated[int, Field(gt=0, le=4096)] = 16
    """Number of latent dimensions."""


class LinkObjectiveSpec(ObjectiveSpec):
    """Objectives that explain the links of a graph by inner products of z."""

    domain: ClassVar[Domain] = "graph"
    further_domains: ClassVar[frozenset[Domain]] = frozenset({"papers"})
    posteriors: ClassVar[frozenset[Posterior]] = frozenset()
    likelihoods: ClassVar[frozenset[Modality]] = frozenset()
    partial_concepts: ClassVar[bool] = False
    text_obstacle: ClassVar[str | None] = "it is trained on a graph"

    weighting: Literal["released", "none"] = "released"
    """released: the weights of the authors' code, where the links together weigh as much as all other pairs, and each
    pair of nodes counts about once: links (N^2 - s) / s, everything norm = N^2 / (2 (N^2 - s)), s the sum of A;
    none: the formula of the paper, the sum over all N^2 entries of A."""


@objectives.register
class GAESpec(LinkObjectiveSpec):
    """The graph auto-encoder: z is a function of the node, and there is no prior."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.gae:GAE"
    summary: ClassVar[str] = "graph auto-encoder: links from inner products of a node's z, no prior"
    reference: ClassVar[str] = "Kipf and Welling 2016, Variational Graph Auto-Encoders, section 2"

    name: Literal["gae"] = "gae"
    """The objective's name."""


@objectives.register
class VGAESpec(LinkObjectiveSpec):
    """The variational graph auto-encoder: the ELBO of the links, with the prior N(0, I) for each node."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.gae:VGAE"
    summary: ClassVar[str] = "variational graph auto-encoder: the ELBO of a graph's links"
    reference: ClassVar[str] = "Kipf and Welling 2016, Variational Graph Auto-Encoders, section 1"

    name: Literal["vgae"] = "vgae"
    """The objective's name."""


@questions.register
class LinksSpec(QuestionSpec):
    """Tells held-out links from pairs of nodes that are not linked."""

    domain: ClassVar[Domain] = "graph"
    implementation: ClassVar[str] = "mmvae_bench.evaluation.questions.links:Links"
    summary: ClassVar[str] = "tells a graph's held-out links from as many pairs that are not linked"
    reference: ClassVar[str] = "Kipf and Welling 2016, Variational Graph Auto-Encoders, section 3"
    metrics: ClassVar[tuple[str, ...]] = ("link_auc", "link_ap")

    name: Literal["links"] = "links"
    """The question's name."""
