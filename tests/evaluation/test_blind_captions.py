"""Captions of faces name what is present and nothing else: what they leave unsaid is absent, and no reference may treat
it as open.

The figures are those of 60,000 drawn faces in the text view, whose rows need no pixels.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmvae_bench.concepts import UNSPECIFIED
from mmvae_bench.data.splits import random_partition
from mmvae_bench.evaluation.classifier import HeldOut
from mmvae_bench.evaluation.queries import Queries, make_queries
from mmvae_bench.evaluation.questions.base import UNSAID, Context, Question
from mmvae_bench.evaluation.questions.frequencies import Frequencies, watched_scores
from mmvae_bench.evaluation.questions.three_cs import ThreeCs, three_cs
from mmvae_bench.evaluation.references import TrainingConcepts
from mmvae_bench.evaluation.scoring import Judge
from mmvae_bench.metrics.protocols import PROTOCOL_RULES
from mmvae_bench.runs.scores import Score
from mmvae_bench.specs.built_in.datasets import CELEBA18_SCHEMA as FACES
from mmvae_bench.specs.built_in.datasets import CelebA18Spec
from mmvae_bench.specs.components import questions
from mmvae_bench.specs.trial import EvaluationSpec
from mmvae_bench.worlds.attribute_model import celeba_model

SPEC = CelebA18Spec(view="text")
CAPTIONS = SPEC.captions()
MALE = FACES.names.index("Male")
EVALUATION = EvaluationSpec.parse({"num_samples": 100, "query_repeats": 1, "protocols": ["corrected"]})


@functools.cache
def faces() -> dict[str, Tensor]:
    """The concepts of 60,000 faces, by partition."""
    rows = torch.from_numpy(celeba_model().sample(np.arange(60_000), seed=0).astype(np.int64))
    part = random_partition(torch.arange(len(rows)), seed=42, fractions=(0.8, 0.1, 0.1))
    return {name: rows[part == number] for number, name in enumerate(("train", "val", "test"))}


@functools.cache
def judge() -> Judge:
    """A classifier that is always right."""
    training = TrainingConcepts(faces()["train"], sizes=FACES.sizes)
    return Judge(FACES, "iid", training, HeldOut(faces()["test"], faces()["test"]))


@functools.cache
def asked() -> tuple[Queries, ...]:
    """What the text view asks, from the highest level down: nine words, three, two, one."""
    return tuple(
        make_queries(
            FACES, split="iid", split_seed=42, partition="test", evaluation=EVALUATION, captions=CAPTIONS,
            concepts=faces().__getitem__,
        )
    )  # fmt: skip


def shown(queries: Queries, num_samples: int = 100) -> Tensor:
    """An exact generator of captions: what is said, and nothing else."""
    return queries.concepts.clamp(min=0)[:, None].expand(-1, num_samples, -1)


class Exact(Context):
    """A question to that generator."""

    def predictions(self, queries: Queries, *, num_samples: int | None = None, mean: bool = False) -> Tensor:
        return shown(queries)


def answers(view: str, question: type[Question], name: str, *levels: int) -> tuple[list[Score], dict[str, str]]:
    """Its scores at some levels, or at all of them, and what was left out, with the reasons."""
    captions = CAPTIONS if view == "text" else None
    data: Any = SimpleNamespace(schema=FACES, spec=SPEC, captions=captions)
    nothing: Any = None
    context = Exact(nothing, data, nothing, judge(), EVALUATION, "test", torch.device("cpu"))
    context.__dict__["queries"] = [each for each in asked() if not levels or each.level in levels]
    return question(questions.parse(name)).ask(context), context.left_out


def of_all(scores: list[Score], metric: str) -> dict[int | None, Score]:
    return {score.level: score for score in scores if score.metric == metric and score.attribute is None}


def test_a_reference_that_takes_the_unsaid_for_open_fails_an_exact_generator_of_captions() -> None:
    """What coverage and frequencies would be if they were scored: nine points short, and below a deaf generator."""
    three = next(queries for queries in asked() if queries.level == 3)
    found = of_all(three_cs(judge(), PROTOCOL_RULES["corrected"], three, shown(three)), "coverage")[3]
    assert (100 * found.value, 100 * found.ceiling) == pytest.approx((90.8, 99.8), abs=0.05)
    assert found.value < found.deaf - 0.06
    (glasses,) = watched_scores(
        judge(), ["Eyeglasses"], [(queries, shown(queries)) for queries in asked()], num_samples=100
    )
    assert (100 * glasses.value, 100 * glasses.deaf) == pytest.approx((0.0, 6.3), abs=0.05)
    assert 100 * glasses.ceiling == pytest.approx(5.0, abs=0.05)


def test_what_is_unsaid_is_absent_in_every_training_row_whose_caption_says_just_this() -> None:
    """Conditioned on the caption as said nothing is left to cover; but hardly a caption lacks a word of gender."""
    rows = faces()["train"]
    said = CAPTIONS.parse(CAPTIONS.render(rows, index=torch.arange(len(rows)), seed=0))
    short = (said != UNSPECIFIED).sum(1) < CAPTIONS.max_words
    assert bool((rows[short][said[short] == UNSPECIFIED] == 0).all())
    assert float((said[:, MALE] == UNSPECIFIED).double().mean()) < 0.01
    lacking = [float((queries.concepts[:, MALE] == UNSPECIFIED).double().mean()) for queries in asked()]
    assert max(lacking) > 0.7, "of one word seldom is it about gender"


def test_in_the_text_view_what_has_no_right_reference_is_left_out_with_its_reason() -> None:
    scores, left_out = answers("text", ThreeCs, "three_cs")
    assert left_out == dict.fromkeys(("coverage", "joint_divergence"), UNSAID)
    assert {score.metric for score in scores} == {"correctness"}
    correct = of_all(scores, "correctness")
    assert len(correct) == len(asked()) >= 3
    # What is said is shown: neither reference may tell more than that.
    assert all(score.value == score.ceiling == 1.0 and score.floor < 0.8 for score in correct.values())
    scores, left_out = answers("text", Frequencies, "frequencies")
    assert (scores, left_out) == ([], {"frequency_unspecified": UNSAID})


def test_the_same_queries_to_a_model_of_attributes_leave_them_open() -> None:
    scores, left_out = answers("attributes", ThreeCs, "three_cs", 2)
    assert left_out == {}
    assert {"coverage", "joint_divergence"} < {score.metric for score in scores}
    scores, left_out = answers("attributes", Frequencies, "frequencies", 2)
    assert left_out == {}
    assert "Eyeglasses" in {score.attribute for score in scores}
