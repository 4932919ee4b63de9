"""The built-in parts for papers as examples of two modalities: a paper's words are x, and its links to others are y.

The graph is that of :mod:`.graphs`, but here nodes, not links, are held out: a paper that no model has seen.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ...concepts import Attribute, Schema
from ..components import BackboneSpec, Domain, QuestionSpec, backbones, datasets, questions
from .graphs import CitationSpec, CiteseerSpec, CoraSpec, GraphSize

VALIDATION, TEST = 20, 10
"""One paper in 20 validates, one in 10 tests, rounded down; of links the same shares are held out elsewhere."""


@cache
def _links_to(num_papers: int) -> Schema:
    return Schema(tuple(Attribute(f"link {number}", ("no", "yes")) for number in range(num_papers)))


class PapersSpec(CitationSpec):
    """Papers as examples: which words occur in one (x), and which of the training papers it is linked to (y)."""

    domain: ClassVar[Domain] = "papers"
    implementation: ClassVar[str] = "mmvae_bench.data.papers:PapersDataModule"
    graph: ClassVar[str]
    """The graph, as its files are called."""

    features: Literal["words"] = "words"
    """What x is: which words occur in the paper."""
    split: Literal["papers_by_seed", "papers"] = "papers_by_seed"  # type: ignore[assignment]
    """5 % of the papers validate and 10 % test: no model sees their words or links. papers_by_seed: drawn separately
    for each training seed, so that an interval over seeds covers the splits; papers: one split for all seeds."""

    def partition_sizes(self) -> dict[str, int]:
        """The number of papers of each partition."""
        total = self.most_images()
        val, test = total // VALIDATION, total // TEST
        return {"train": total - val - test, "val": val, "test": test}

    def nodes_per_step(self) -> int | None:
        """The training papers."""
        return self.partition_sizes()["train"]

    def concept_schema(self) -> Schema:
        """One attribute for each training paper, in their order: whether there is a link to it."""
        return _links_to(self.partition_sizes()["train"])


@datasets.register
class CoraPapersSpec(PapersSpec):
    """The 2,708 papers of cora, each with its words and its links."""

    summary: ClassVar[str] = "papers with two modalities, words and links: those of cora, or a drawn stand-in"
    graph: ClassVar[str] = "cora"
    size: ClassVar[GraphSize] = CoraSpec.size

    name: Literal["cora_papers"] = "cora_papers"
    """The dataset's name."""


@datasets.register
class CiteseerPapersSpec(PapersSpec):
    """The 3,327 papers of citeseer, each with its words and its links."""

    summary: ClassVar[str] = "papers with two modalities, words and links: those of citeseer, or a drawn stand-in"
    graph: ClassVar[str] = "citeseer"
    size: ClassVar[GraphSize] = CiteseerSpec.size

    name: Literal["citeseer_papers"] = "citeseer_papers"
    """The dataset's name."""


@backbones.register
class PapersBackboneSpec(BackboneSpec):
    """One hidden layer in each encoder, and decoders without one: a word, or a link to a training paper, has the
    probability sigmoid(w . z + b), with a vector w and a number b of its own."""

    domain: ClassVar[Domain] = "papers"
    implementation: ClassVar[str] = "mmvae_bench.backbones.papers:PapersBackbone"
    summary: ClassVar[str] = "bags of words and rows of links: encoders of one hidden layer, linear decoders"
    reference: ClassVar[str] = (
        "this project; rows as in Liang et al. 2018, Variational Autoencoders for Collaborative Filtering"
    )

    name: Literal["papers"] = "papers"
    """The backbone's name."""
    hidden: Annotated[int, Field(gt=0, le=4096)] = 64
    """Width of the hidden layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of the words, and of the links, that an encoder is not shown in a training step."""
    latent_size: Annotated[int, Field(gt=0, le=4096)] = 16
    """Number of latent dimensions."""


@questions.register
class ColdStartSpec(QuestionSpec):
    """Predicts the links of unseen papers from their words, and their class from links or words."""

    domain: ClassVar[Domain] = "papers"
    implementation: ClassVar[str] = "mmvae_bench.evaluation.questions.cold_start:ColdStart"
    summary: ClassVar[str] = "predicts an unseen paper's links from its words alone, and its class from either"
    reference: ClassVar[str] = "this project"
    metrics: ClassVar[tuple[str, ...]] = (
        "cold_auc", "cold_ap", "cold_auc_cosine", "cold_ap_cosine", "cold_auc_similar", "cold_ap_similar",
        "class_from_words", "class_from_links", "class_from_both", "class_from_raw_words", "class_from_raw_links",
    )  # fmt: skip

    name: Literal["cold_start"] = "cold_start"
    """The question's name."""
