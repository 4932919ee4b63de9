"""Named queries and watched attributes, against counting by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.evaluation.classifier import HeldOut
from mmvae_bench.evaluation.queries import Queries
from mmvae_bench.evaluation.questions.frequencies import real_frequency_scores, watched_scores
from mmvae_bench.evaluation.questions.named_queries import named_query_scores
from mmvae_bench.evaluation.references import TrainingConcepts
from mmvae_bench.evaluation.scoring import Judge

FACES = Schema(
    (Attribute("Bald", ("no", "yes")), Attribute("Male", ("no", "yes")), Attribute("Hair", ("black", "grey", "red"))),
    given=(),
)


def drawn(number: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(size, (number,), generator=generator) for size in FACES.sizes], 1)


def judge(schema: Schema = FACES, held_out: HeldOut | None = None) -> Judge:
    truth = drawn(300, 0)
    seen = torch.where(torch.rand(truth.shape, generator=torch.Generator().manual_seed(1)) < 0.3, 0, truth)
    training = TrainingConcepts(drawn(500, 2), sizes=FACES.sizes)
    return Judge(schema, "iid", training, held_out or HeldOut(truth, seen))


def test_a_named_query_is_counted_over_its_images() -> None:
    queries = Queries("test", 2, torch.tensor([[1, 0, -1]] * 2), name="bald and not male")
    predictions = drawn(2 * 50, 3).reshape(2, 50, 3)
    asked = judge()
    part, whole = named_query_scores(asked, queries, predictions)
    hits = [(bald == 1, male == 0) for bald, male, _ in predictions.flatten(0, 1).tolist()]
    assert part.value == pytest.approx(sum(a + b for a, b in hits) / 200)
    assert whole.value == pytest.approx(sum(a and b for a, b in hits) / 100)
    assert whole.per_query == [float(a and b) for a, b in hits]
    real = [
        (said[0] == 1, said[1] == 0)
        for truth, said in zip(asked.held_out.concepts.tolist(), asked.held_out.predictions.tolist(), strict=True)
        if truth[0] == 1 and truth[1] == 0
    ]
    assert part.ceiling == pytest.approx(sum(a + b for a, b in real) / len(real) / 2)
    assert whole.ceiling == pytest.approx(sum(a and b for a, b in real) / len(real))
    # Training rows, each read as the classifier reads held-out images of its values: errors independent of each other.
    truth, said = asked.held_out.concepts.tolist(), asked.held_out.predictions.tolist()

    def read_as(k: int, true: int, value: int) -> float:
        seen = [b[k] == value for a, b in zip(truth, said, strict=True) if a[k] == true]
        return sum(seen) / len(seen)

    rows = [(read_as(0, row[0], 1), read_as(1, row[1], 0)) for row in drawn(500, 2).tolist()]
    assert part.floor == pytest.approx(sum(a + b for a, b in rows) / 1000)
    assert whole.floor == pytest.approx(sum(a * b for a, b in rows) / 500)
    majority = drawn(500, 2).mode(0).values
    hit = (int(majority[0] == 1), int(majority[1] == 0))
    assert (part.constant, whole.constant) == (sum(hit) / 2, min(hit))
    for score in (part, whole):
        assert (score.attribute, score.level, score.protocol, score.partition) == ("bald and not male", 2, None, "test")
        assert (score.num_queries, score.num_samples) == (1, 100)
        assert score.ci_low < score.value < score.ci_high


def test_a_concept_that_no_real_image_shows_has_no_ceiling() -> None:
    truth = torch.zeros(10, 3, dtype=torch.long)
    queries = Queries("test", 2, torch.tensor([[1, 0, -1]]), name="rare")
    for score in named_query_scores(judge(held_out=HeldOut(truth, truth)), queries, drawn(20, 3)[None]):
        assert math.isnan(score.ceiling)


def test_a_given_attribute_of_a_named_query_is_not_scored() -> None:
    schema = Schema(FACES.attributes, given=("Male",))
    predictions = drawn(40, 3)[None]
    predictions[..., 1] = -1
    queries = Queries("test", 2, torch.tensor([[1, 0, -1]]), name="bald")
    part, whole = named_query_scores(judge(schema), queries, predictions)
    bald = float((predictions[..., 0] == 1).double().mean())
    assert part.value == whole.value == pytest.approx(bald)
    assert part.floor == whole.floor == pytest.approx(0.367158, abs=1e-6)
    only_given = Queries("test", 1, torch.tensor([[-1, 0, -1]]), name="male")
    assert named_query_scores(judge(schema), only_given, predictions) == []


def test_the_frequency_of_a_watched_attribute_is_over_the_queries_that_leave_it_open() -> None:
    asked, watching = [], judge()
    for level, concepts in ((2, [[1, 0, -1], [-1, 1, 0], [-1, 0, 0]]), (1, [[-1, -1, 2], [-1, 1, -1], [0, -1, -1]])):
        groups = torch.tensor([4, 7, 7])
        asked.append((Queries("val", level, torch.tensor(concepts), groups), drawn(3 * 30, level).reshape(3, 30, 3)))
    (score,) = watched_scores(watching, ["Bald"], asked, num_samples=30)
    shown = [[sum(s[0] for s in samples) / 30 for samples in predictions.tolist()] for _, predictions in asked]
    frequencies = [shown[0][1], shown[0][2], shown[1][0], shown[1][1]]
    assert score.value == pytest.approx(sum(frequencies) / 4)
    # The ceiling is an exact conditional generator's on these queries, the deaf one's is the frequency in training.
    rows = drawn(500, 2).tolist()
    open_queries = [query for each, _ in asked for query in each.concepts.tolist() if query[0] == -1]
    exact = [
        [row[0] for row in rows if all(want in (-1, got) for want, got in zip(query, row, strict=True))]
        for query in open_queries
    ]
    assert score.ceiling == pytest.approx(sum(sum(bald) / len(bald) for bald in exact) / len(exact))
    assert score.deaf == pytest.approx(sum(row[0] for row in rows) / 500)
    assert math.isnan(score.floor)
    assert (score.metric, score.attribute, score.level) == ("frequency_unspecified", "Bald", None)
    assert (score.num_queries, score.num_samples, score.partition) == (4, 30, "val")
    assert score.groups == [4, 7, 7] * 2
    full = [(Queries("test", 3, torch.tensor([[1, 0, 1]])), drawn(5, 0)[None])]
    assert watched_scores(watching, ["Bald"], full, num_samples=5) == []
    assert watched_scores(watching, ["Bald"], [], num_samples=5) == []


def test_what_the_classifier_sees_in_real_images_stands_beside_it() -> None:
    watching = judge()
    (score,) = real_frequency_scores(watching, ["Male"])
    seen = watching.held_out.predictions[:, 1].tolist()
    assert score.value == pytest.approx(sum(seen) / len(seen))
    assert score.ceiling == pytest.approx(sum(watching.held_out.concepts[:, 1].tolist()) / len(seen))
    assert score.value < score.ceiling - 0.05
    assert score.per_query is None
