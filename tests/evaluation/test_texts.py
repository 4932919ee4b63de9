"""Images against texts: the protocol of Cremer and Kushman, and images and texts of one z from the prior."""

from __future__ import annotations

from typing import ClassVar, Literal, cast

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal
from torch.nn import functional as F

from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.concepts.captions import Captions, PresenceCaptions
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.evaluation.classifier import HeldOut, ObservationClassifier
from mmvae_bench.evaluation.evaluate import evaluate
from mmvae_bench.evaluation.questions.texts import Wording
from mmvae_bench.objectives.base import CapabilityError, Objective
from mmvae_bench.specs.built_in.datasets import CaptionedSpec
from mmvae_bench.specs.components import datasets
from mmvae_bench.specs.trial import EvaluationSpec

from .fakes import Store, context, question
from .squares import SquaresData, SquaresOracle, SquaresSpec, exact_order

CREMER = {"protocols": ["cremer"]}


@pytest.fixture(scope="module")
def squares() -> SquaresData:
    data = SquaresData(SquaresSpec())
    data.setup()
    return data


class Generator(SquaresOracle):
    """z is a number of a drawing: the image is that drawing, and the text names it, or another drawing."""

    def __init__(self, *, wrong: float, flow: bool = True) -> None:
        super().__init__()
        self.wrong, self.flow = wrong, flow
        self.latent_size = 1

    def _number(self, z: Tensor) -> Tensor:
        return (z[:, 0].sigmoid() * (len(self.images) - 1)).long()

    def image_likelihood(self, z: Tensor, concept: Tensor | None = None) -> Distribution:
        return Independent(Normal(self.images[self._number(z)], 1e-9), 3)

    def describe_latents(self, z: Tensor, *, sample: bool = False) -> Tensor:
        assert sample
        number = self._number(z)
        texts = self.concepts[number].clone()
        other = torch.rand(len(z)) < self.wrong
        texts[other, 0] = (texts[other, 0] + 1) % 4
        return texts

    def aggregate_prior(self) -> Distribution:
        if not self.flow:
            raise CapabilityError("has no flow")
        return Independent(Normal(torch.zeros(1), torch.ones(1)), 1)


def test_an_oracle_shows_every_text_and_the_relation_is_not_scored(squares: SquaresData) -> None:
    classifier = exact_order(squares)
    scores = question("texts").ask(context(SquaresOracle(), squares, classifier, "val", **CREMER))
    found = {score.attribute: score for score in scores}
    assert found.keys() == {None, "colour_1", "colour_2"}
    assert all(score.protocol == "cremer" and score.metric == "correctness" for score in scores)
    assert found[None].value == 1.0
    assert found[None].num_samples == 1
    assert found[None].num_queries == len(squares.rows("val"))
    assert found[None].floor == pytest.approx(0.25, abs=0.01)  # four colours, about uniform


def test_the_mean_image_is_shown(squares: SquaresData) -> None:
    class Asked(SquaresOracle):
        means: ClassVar[set[bool]] = set()

        def imagine(
            self,
            concept: Tensor,
            *,
            num_samples: int = 10,
            mean: bool = False,
            generator: torch.Generator | None = None,
        ) -> Tensor:
            assert num_samples == 1
            self.means.add(mean)
            return super().imagine(concept, num_samples=num_samples, mean=mean, generator=generator)

    classifier = exact_order(squares)
    question("texts").ask(context(Asked(), squares, classifier, "val", **CREMER))
    assert Asked.means == {True}


@pytest.mark.parametrize("wrong", [0.0, 0.5, 1.0])
def test_images_agree_with_texts_of_the_same_z(squares: SquaresData, wrong: float) -> None:
    """One of two scored attributes is named wrongly with the given probability."""
    classifier = exact_order(squares)
    asked = context(Generator(wrong=wrong), squares, classifier, prior_images=400)
    scores = question("prior").ask(asked)
    assert not asked.left_out
    assert [score.metric for score in scores] == ["prior_correctness", "prior_correctness_flow_prior"]
    assert [score.proposal for score in scores] == ["p(z)", "q(z)"]
    for score in scores:
        assert score.value == pytest.approx(1 - wrong / 2, abs=0.05)
        assert score.floor == pytest.approx(0.25, abs=0.05)
        assert score.num_queries == 400


def test_a_model_that_shows_one_image_is_at_its_base_rate(squares: SquaresData) -> None:
    class Collapsed(Generator):
        def image_likelihood(self, z: Tensor, concept: Tensor | None = None) -> Distribution:
            return Independent(Normal(self.images[:1].expand(len(z), -1, -1, -1), 1e-9), 3)

    classifier = exact_order(squares)
    asked = context(Collapsed(wrong=0.0, flow=False), squares, classifier, prior_images=400)
    (score,) = question("prior").ask(asked)
    assert score.value == pytest.approx(score.floor, abs=0.06)
    assert asked.left_out == {"prior_correctness_flow_prior": "has no flow"}


def test_what_captions_leave_unsaid() -> None:
    wording = Wording.of(datasets.parse("celeba18"))
    schema = datasets.parse("celeba18").concept_schema()
    man = schema.parse("Male=yes, Smiling=yes").clamp(min=0)[None]
    woman = torch.zeros(1, 18, dtype=torch.long)
    assert wording.silent
    assert {schema.names[k] for k in (wording.said(man)[0] == 1).nonzero()[:, 0]} == {"Male", "Smiling"}
    assert int((wording.said(man) >= 0).sum()) == 2
    assert {schema.names[k] for k in (wording.said(woman)[0] == 0).nonzero()[:, 0]} == {"Male"}
    assert torch.equal(wording.completed(wording.said(man)), man)
    told_nothing = torch.full((1, 18), -1)
    assert int((wording.completed(told_nothing) == -1).sum()) == 1  # Male: neither word was said
    for name in ("two_object_clevr", "single_object_clevr"):
        assert not Wording.of(datasets.parse(name)).silent


def test_the_evaluation_asks_only_what_it_is_told_to(squares: SquaresData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmvae_bench.evaluation.evaluate.judge_of", lambda *_, **__: exact_order(squares))
    model = cast(Objective, Generator(wrong=0.0, flow=False))
    asked = EvaluationSpec(protocols=("cremer",), num_samples=2, num_queries=4, query_repeats=1, levels=(3,))
    result = evaluate(model, squares, asked)
    assert {score.protocol for score in result.scores} == {"cremer", None}
    result = evaluate(model, squares, EvaluationSpec.parse(asked.canonical() | {"prior_images": 20}))
    assert {score.protocol for score in result.scores} == {"cremer", "likelihood", None}
    assert result.left_out == {"prior_correctness_flow_prior": "has no flow"}


FLAGS = Schema(tuple(Attribute(name, ("no", "yes")) for name in ("Bald", "Hat", "Male")))


class FlagsSpec(CaptionedSpec):
    """Three stripes, white where a flag is up; a caption has at most two words."""

    implementation: ClassVar[str] = "tests.evaluation.test_texts:FlagsData"
    summary: ClassVar[str] = "flags"
    reference: ClassVar[str] = "none"

    name: Literal["flags"] = "flags"
    source: str = "drawn"
    split: str = "iid"
    split_seed: int = 42

    def concept_schema(self) -> Schema:
        return FLAGS

    def image_shape(self) -> tuple[int, int, int]:
        return (1, 1, 3)

    def captions(self) -> Captions:
        return PresenceCaptions(FLAGS, opposites={"Male": "Female"}, max_words=2)


class FlagsData(ConceptDataModule):
    def setup(self, stage: str | None = None) -> None:
        concepts = FLAGS.combinations().repeat(8, 1)
        self._store = Store(concepts[:, None, None].float(), concepts)

    def rows(self, partition: str, *, split: str | None = None) -> Tensor:
        return torch.arange(len(self.store))


class FlagsReader(nn.Module):
    def forward(self, images: Tensor) -> list[Tensor]:
        return [F.one_hot((images[:, 0, 0, k] > 0.5).long(), 2).float() for k in range(3)]


class FlagsOracle:
    """Shows what a caption says; of what it leaves unsaid, nothing is up."""

    can_imagine = True

    def __init__(self, captions: Captions | None) -> None:
        self.captions, self.asked = captions, torch.empty(0, 3, dtype=torch.long)

    def imagine(self, concept: Tensor, *, num_samples: int, mean: bool, generator: torch.Generator) -> Tensor:
        if self.captions is not None:
            self.captions.require_sayable(concept)
        self.asked = concept
        return concept.clamp_min(0).float()[:, None, None, None]


@pytest.mark.parametrize("view", ["attributes", "text"])
def test_each_view_is_asked_what_its_descriptions_say(view: str) -> None:
    """Captions have no word for an absence, and of three words one is lost: in the text view nobody can be asked more.

    Two of the eight concepts have three words: everything at once, of a man or of a woman.
    """
    data = FlagsData(FlagsSpec.parse({"view": view}))
    data.setup()
    classifier = ObservationClassifier(
        "exact", "0" * 12, FlagsReader(), FLAGS, HeldOut(data.concepts("test"), data.concepts("test").clone())
    )
    model = FlagsOracle(data.captions)
    scores = question("texts").ask(context(model, data, classifier, "val", **CREMER))
    found = {score.metric: score for score in scores if score.attribute is None}
    told, silent = found["correctness_words"], (model.asked == -1).sum(1)
    assert told.value == 1.0
    assert found["correctness"].num_queries == told.num_queries == 64
    if view == "attributes":
        assert found["correctness"].value == 1.0
        assert int(silent.sum()) == 0
    else:
        # The texts of 16 images have three words; that a man lost one always shows, that a woman lost hers does not.
        concepts, said = data.concepts("val"), data.said("val")
        lost = int(((concepts == 1) & (said == -1)).sum())
        assert 8 <= lost <= 16
        assert found["correctness"].value == pytest.approx(1 - lost / (64 * 3))
        # Every row is what some image's own caption says.
        assert sorted(map(tuple, model.asked.tolist())) == sorted(map(tuple, said.tolist()))


class WatchedFlagsSpec(FlagsSpec):
    name: Literal["flags"] = "flags"
    watched_attributes: ClassVar[tuple[str, ...]] = ("Hat",)


class Captioner(FlagsOracle):
    """The exact generator of captions: an attribute that is not said is absent."""

    schema, takes_partial_concepts = FLAGS, True

    def imagine(self, concept: Tensor, *, num_samples: int, mean: bool, generator: torch.Generator) -> Tensor:
        assert self.captions is not None
        self.captions.require_sayable(concept)
        shown = concept.clamp_min(0).float()[:, None, None, None]
        return shown.expand(-1, num_samples, -1, -1, -1)


def test_what_a_caption_leaves_unsaid_is_absent_and_not_open() -> None:
    """An exact generator of captions is at the ceiling of everything it is scored on; what would hold its silence
    against it is left out, with the reason."""
    data = FlagsData(WatchedFlagsSpec.parse({"view": "text"}))
    data.setup()
    concepts = data.concepts("test")
    classifier = ObservationClassifier("exact", "0" * 12, FlagsReader(), FLAGS, HeldOut(concepts, concepts.clone()))
    asked = context(Captioner(data.captions), data, classifier, num_samples=10, levels=[1, 2])
    scores = [score for name in ("three_cs", "frequencies") for score in question(name).ask(asked)]
    assert {score.metric for score in scores} == {"correctness"}
    assert {score.level for score in scores} == {1, 2}
    assert all(score.value == score.ceiling == 1.0 for score in scores)
    assert asked.left_out.keys() == {"coverage", "joint_divergence", "frequency_unspecified"}
    assert all("unsaid is absent" in reason for reason in asked.left_out.values())
    assert {point["metric"] for point in question("three_cs").points(asked)} == {"correctness"}


def test_captions_that_say_everything_leave_nothing_out() -> None:
    assert Wording(None).silent is False
    assert not Wording.of(datasets.parse("two_object_clevr")).silent
    assert Wording.of(datasets.parse("celeba18")).silent
