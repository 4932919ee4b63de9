"""References that a blind model cannot pass: floors, constants and ceilings against enumeration and simulation.

The figures are those of the drawn faces of configs/tour.yaml, whose rows need no pixels.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from mmvae_bench.concepts import UNSPECIFIED, Attribute, Schema
from mmvae_bench.data.splits import random_partition
from mmvae_bench.evaluation.classifier import HeldOut
from mmvae_bench.evaluation.queries import Queries, make_queries
from mmvae_bench.evaluation.questions.named_queries import named_query_scores
from mmvae_bench.evaluation.questions.three_cs import three_cs
from mmvae_bench.evaluation.references import BlindGenerator, TrainingConcepts
from mmvae_bench.evaluation.scoring import Judge
from mmvae_bench.metrics.functional import coverage, joint_divergence
from mmvae_bench.metrics.protocols import PROTOCOL_RULES
from mmvae_bench.runs.scores import Score, share_of_way
from mmvae_bench.specs.built_in.datasets import CELEBA18_SCHEMA
from mmvae_bench.specs.trial import EvaluationSpec
from mmvae_bench.worlds.attribute_model import celeba_model

LEVELS = (18, 9, 3, 2, 1)
NUM_SAMPLES = 20
FEW = EvaluationSpec.parse({"num_samples": NUM_SAMPLES, "num_queries": 60, "query_repeats": 1, "num_resamples": 10})
BALD_AND_NOT_MALE = CELEBA18_SCHEMA.parse("Bald=yes, Male=no")


@functools.cache
def faces() -> dict[str, Tensor]:
    """The concepts of the 12,000 drawn faces of configs/tour.yaml, by partition."""
    rows = torch.from_numpy(celeba_model().sample(np.arange(12_000), seed=0).astype(np.int64))
    part = random_partition(torch.arange(len(rows)), seed=42, fractions=(0.8, 0.1, 0.1))
    return {name: rows[part == number] for number, name in enumerate(("train", "val", "test"))}


@functools.cache
def queries_of_faces() -> dict[int, Queries]:
    """Its 60 queries of each level."""
    found = make_queries(
        CELEBA18_SCHEMA, split="iid", split_seed=42, partition="test", evaluation=FEW, concepts=faces().__getitem__
    )
    return {queries.level: queries for queries in found}


def judge_of_faces(predictions: Tensor | None = None) -> Judge:
    """A classifier that is always right, or that reads the test faces as given."""
    truth = faces()["test"]
    training = TrainingConcepts(faces()["train"], sizes=CELEBA18_SCHEMA.sizes)
    held_out = HeldOut(truth, truth if predictions is None else predictions)
    return Judge(CELEBA18_SCHEMA, "iid", training, held_out)


def scores_of_faces(protocol: str, level: int, num_samples: int = NUM_SAMPLES) -> dict[str, Score]:
    queries = queries_of_faces()[level]
    anything = torch.zeros(len(queries), num_samples, 18, dtype=torch.long)
    found = three_cs(judge_of_faces(), PROTOCOL_RULES[protocol], queries, anything)
    return {score.metric: score for score in found if score.attribute is None}


@pytest.mark.parametrize("protocol", ["official", "paper", "corrected"])
def test_the_floor_of_correctness_is_what_deafness_scores_on_these_queries(protocol: str) -> None:
    """Not a coin's 50 %: most attributes are absent from most faces."""
    scores = [scores_of_faces(protocol, level)["correctness"] for level in LEVELS]
    assert [100 * score.floor for score in scores] == pytest.approx([73.5, 74.1, 74.1, 70.2, 70.3], abs=0.05)
    assert [100 * score.constant for score in scores] == pytest.approx([80.6, 80.9, 81.1, 80.0, 76.7], abs=0.05)
    assert all(score.deaf == score.floor for score in scores)


def test_the_floor_is_the_mean_over_training_rows_of_their_agreement_with_each_query() -> None:
    """By enumeration, for an attribute too."""
    queries, rows = queries_of_faces()[3], faces()["train"]
    asked = (queries.concepts != UNSPECIFIED)[:, None]
    agrees = ((queries.concepts[:, None] == rows) & asked).double()
    found = three_cs(judge_of_faces(), PROTOCOL_RULES["paper"], queries, rows[:60, None])
    floors = {score.attribute: score.floor for score in found if score.metric == "correctness"}
    assert floors[None] == pytest.approx(float((agrees.sum(2) / 3).mean()), abs=1e-12)
    for k, name in enumerate(CELEBA18_SCHEMA.names):
        if name in floors:
            assert floors[name] == pytest.approx(float(agrees[asked[:, 0, k], :, k].mean()), abs=1e-12)


def test_bald_and_not_male() -> None:
    named = Queries("test", 2, BALD_AND_NOT_MALE[None], name="bald and not male")
    part, whole = named_query_scores(judge_of_faces(), named, torch.zeros(1, 5, 18, dtype=torch.long))
    assert (100 * part.floor, 100 * whole.floor) == pytest.approx((30.5, 0.02), abs=0.02)
    assert (part.constant, whole.constant) == (0.5, 0.0)


def test_the_errors_of_the_classifier_belong_to_the_floor() -> None:
    """A deaf model whose faces are read with errors scores the floor, not what it would score if read exactly."""
    truth = faces()["test"]
    generator = torch.Generator().manual_seed(0)
    wrong = torch.rand(truth.shape, generator=generator) < 0.1
    judge = judge_of_faces(torch.where(wrong, 1 - truth, truth))
    rows = faces()["train"]
    many = rows[torch.randint(len(rows), (200_000,), generator=generator)]
    # Read with the error rates that the classifier shows on held-out faces.
    rates = torch.stack(judge.blind.confusion)[torch.arange(18), many, 1]
    read = torch.bernoulli(rates, generator=generator).long()
    bald, not_male = read[:, 0] == 1, read[:, 9] == 0
    named = Queries("test", 2, BALD_AND_NOT_MALE[None], name="bald and not male")
    part, whole = named_query_scores(judge, named, read[None, :1000])
    assert part.floor == pytest.approx(float((bald.double() + not_male.double()).mean() / 2), abs=0.003)
    assert whole.floor == pytest.approx(float((bald & not_male).double().mean()), abs=0.002)
    assert whole.floor > 0.03


def test_a_value_that_no_held_out_image_has_counts_as_read_correctly() -> None:
    held_out = HeldOut(torch.tensor([[0, 0], [0, 1]]), torch.tensor([[1, -1], [0, -1]]))
    first, second = held_out.confusion((2, 2))
    assert first.tolist() == [[0.5, 0.5], [0.0, 1.0]]
    assert second.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_an_attribute_that_is_not_scored_is_in_no_floor() -> None:
    schema = Schema((Attribute("a", ("no", "yes")), Attribute("b", ("no", "yes"))), given=("b",))
    training = TrainingConcepts(torch.tensor([[1, 0], [1, 1], [0, 1]]), sizes=schema.sizes)
    blind = BlindGenerator(training, [torch.eye(2, dtype=torch.float64)] * 2, torch.tensor([True, False]))
    query = torch.tensor([[1, 0], [-1, 0]])
    assert blind.correctness(query).tolist() == pytest.approx([2 / 3, math.nan], nan_ok=True)
    assert blind.all_correct(query).tolist() == pytest.approx([2 / 3, math.nan], nan_ok=True)
    assert blind.constant(1).tolist() == [[[1, -1]]]


def test_no_ceiling_is_called_perfect_that_an_exact_conditional_generator_misses() -> None:
    """Level 9 of the faces: what a deaf generator scores under ``paper``, the generator that listens does not."""
    paper, corrected = (scores_of_faces(protocol, 9, 100)["coverage"] for protocol in ("paper", "corrected"))
    assert (100 * paper.ceiling, 100 * paper.deaf) == pytest.approx((96.8, 99.8), abs=0.1)
    assert corrected.deaf + 0.015 < corrected.ceiling
    # Its share of the way would be above one there: the deaf generator is never closer to the ceiling here.
    assert share_of_way(paper.deaf, paper.floor, paper.ceiling) > 1.15
    assert share_of_way(corrected.deaf, corrected.floor, corrected.ceiling) < 0.95


@pytest.mark.parametrize("protocol", ["official", "paper", "corrected"])
@pytest.mark.parametrize("level", [9, 2])
def test_references_of_variety_against_simulation(protocol: str, level: int) -> None:
    """An exact conditional generator, one concept drawn blindly, and blind images, each drawn many times over."""
    rule, queries, judge = PROTOCOL_RULES[protocol], queries_of_faces()[level], judge_of_faces()
    scores, number = scores_of_faces(protocol, level), scores_of_faces(protocol, level)["coverage"].num_samples
    assert number is not None
    concepts, generator = queries.concepts, torch.Generator().manual_seed(1)
    target = judge.training.target(rule.target, concepts)
    exact = torch.stack([table[:, 1] for table in judge.training.conditional(concepts, smoothing=1e-9)], 1)
    rows = faces()["train"]
    drawn: dict[str, list[tuple[float, float]]] = {"ceiling": [], "floor": [], "deaf": []}
    for _ in range(60):
        once = rows[torch.randint(len(rows), (60, 1), generator=generator)].expand(-1, number, -1)
        anew = rows[torch.randint(len(rows), (60, number), generator=generator)]
        listening = torch.bernoulli(exact[:, None].expand(-1, number, -1), generator=generator).long()
        for name, seen in (("ceiling", listening), ("floor", once), ("deaf", anew)):
            covered, diverged = (
                float(metric(seen, concepts, target, rule.base).mean()) for metric in (coverage, joint_divergence)
            )
            drawn[name].append((covered, diverged))
    for name, found in drawn.items():
        mean, error = np.mean(found, 0), 1e-9 + 4 * np.std(found, 0) / math.sqrt(len(found))
        for metric, value, tolerance in zip(("coverage", "joint_divergence"), mean, error, strict=True):
            assert abs(getattr(scores[metric], name) - value) < tolerance, (name, metric)


WITHHELD = [(0, 1, 0), (0, 1, 1), (1, 2, 1)]
ERRORS = [torch.tensor(rows, dtype=torch.float64) / 10 for rows in (
    [[8, 2], [1, 9]], [[7, 2, 1], [1, 8, 1], [2, 2, 6]], [[9, 1], [4, 6]],
)]  # fmt: skip


def small_judge() -> tuple[Judge, dict[tuple[int, ...], int]]:
    """Three attributes, a training set that withholds three concepts, and held-out images read with ERRORS."""
    schema = Schema((Attribute("a", ("0", "1")), Attribute("b", ("0", "1", "2")), Attribute("c", ("0", "1"))))
    concepts = list(itertools.product(*map(range, schema.sizes)))
    counts = {concept: 1 + 3 * place % 8 for place, concept in enumerate(concepts)}
    shown = [(true, read, counts[true] * math.prod(int(10 * ERRORS[k][true[k], read[k]] + 0.5) for k in range(3)))
             for true in concepts for read in concepts]  # fmt: skip
    times = torch.tensor([number for *_, number in shown])
    true, read = (torch.tensor([each[side] for each in shown]).repeat_interleave(times, 0) for side in (0, 1))
    kept = {concept: number for concept, number in counts.items() if concept not in WITHHELD}
    rows = torch.tensor([concept for concept, number in kept.items() for _ in range(number)])
    return Judge(schema, "comp", TrainingConcepts(rows, sizes=schema.sizes), HeldOut(true, read)), kept


@pytest.mark.parametrize("protocol", ["official", "paper", "corrected"])
def test_references_where_training_withholds_concepts_by_enumeration(protocol: str) -> None:
    """All queries of two attributes, of which one has no training row at all, and every sequence of three samples."""
    judge, kept = small_judge()
    rule, sizes, number = PROTOCOL_RULES[protocol], judge.schema.sizes, 3
    asked = [
        [values[0] if k == first else values[1] if k == second else UNSPECIFIED for k in range(3)]
        for first, second in itertools.combinations(range(3), 2)
        for values in itertools.product(range(sizes[first]), range(sizes[second]))
    ]
    target = judge.training.target(rule.target, torch.tensor(asked))

    def frequencies(k: int, query: list[int]) -> list[float]:
        matching = {
            concept: many
            for concept, many in kept.items()
            if all(said in (UNSPECIFIED, has) for said, has in zip(query, concept, strict=True))
        } or kept
        of_value = [sum(many for concept, many in matching.items() if concept[k] == value) for value in range(sizes[k])]
        return [many / sum(of_value) for many in of_value]

    def expected(query: int, k: int, shown: list[float], sequences: list[tuple[int, ...]]) -> float:
        found = 0.0
        for seen in sequences:
            images = torch.zeros(1, len(seen), 3, dtype=torch.long)
            images[0, :, k] = torch.tensor(seen)
            of_query = [table if table.ndim == 1 else table[query : query + 1] for table in target]
            found += math.prod(shown[value] for value in seen) * float(
                coverage(images, torch.tensor([asked[query]]), of_query, rule.base)[0]
            )
        return found

    exact, blind, once, right, lucky = [], [], [], [], []
    for place, query in enumerate(asked):
        k = query.index(UNSPECIFIED)
        many = list(itertools.product(range(sizes[k]), repeat=number))
        marginal = frequencies(k, [UNSPECIFIED] * 3)
        exact.append(expected(place, k, frequencies(k, query), many))
        blind.append(expected(place, k, marginal, many))
        once.append(expected(place, k, marginal, [(value,) for value in range(sizes[k])]))
        named = [each for each in range(3) if each != k]
        right.append(sum(float(ERRORS[each][query[each], query[each]]) for each in named) / 2)
        read = [sum(share * float(ERRORS[each][value, query[each]]) for value, share in
                    enumerate(frequencies(each, [UNSPECIFIED] * 3))) for each in named]  # fmt: skip
        lucky.append(sum(read) / 2)
    queries = Queries("test", 2, torch.tensor(asked))
    found = three_cs(judge, rule, queries, torch.zeros(len(asked), number, 3, dtype=torch.long))
    scores = {score.metric: score for score in found if score.attribute is None}
    covered, correct, new = (scores[name] for name in ("coverage", "correctness", "compositionality"))
    assert (covered.ceiling, covered.deaf, covered.floor) == pytest.approx(
        tuple(float(np.mean(each)) for each in (exact, blind, once)), abs=1e-9
    )
    assert (correct.ceiling, correct.floor) == pytest.approx((np.mean(right), np.mean(lucky)), abs=1e-9)
    alone = asked.index([0, 1, UNSPECIFIED])
    assert (new.ceiling, new.floor) == pytest.approx((right[alone], lucky[alone]), abs=1e-9)
