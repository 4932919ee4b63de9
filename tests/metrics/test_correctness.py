from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmvae_bench.metrics.functional import correctness, correctness_chance


def enumerate_correctness(predictions: list[list[list[int]]], concepts: list[list[int]]) -> list[float]:
    scores = []
    for samples, concept in zip(predictions, concepts, strict=True):
        hits = []
        for sample in samples:
            for predicted, specified in zip(sample, concept, strict=True):
                if specified != -1 and predicted != -1:
                    hits.append(1.0 if predicted == specified else 0.0)
        scores.append(sum(hits) / len(hits) if hits else math.nan)
    return scores


@pytest.mark.parametrize("seed", range(20))
def test_equals_enumeration(random_queries: Callable[..., Any], seed: int) -> None:
    case = random_queries(seed)
    expected = enumerate_correctness(case.predictions.tolist(), case.concepts.tolist())
    value = correctness(case.predictions, case.concepts)
    torch.testing.assert_close(value, torch.tensor(expected, dtype=torch.float64), equal_nan=True, rtol=0, atol=1e-15)
    assert math.isnan(expected[0])  # the case holds a query that specifies nothing
    assert len({round(score, 6) for score in expected[1:]}) > 1  # and queries that differ


@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_the_order_of_samples_does_not_matter(seed: int, random: Any) -> None:
    generator = torch.Generator().manual_seed(seed)
    predictions = torch.randint(-1, 3, (4, 6, 3), generator=generator)
    concepts = torch.randint(-1, 3, (4, 3), generator=generator)
    order = list(range(6))
    random.shuffle(order)
    torch.testing.assert_close(
        correctness(predictions[:, order], concepts), correctness(predictions, concepts), equal_nan=True, rtol=0, atol=0
    )


def test_a_relation_that_is_specified_but_never_scored_changes_nothing() -> None:
    predictions, concepts = torch.tensor([[[1, 2], [0, 2]]]), torch.tensor([[1, 2]])
    relation = torch.full((1, 2, 1), -1)
    with_relation = correctness(torch.cat([predictions, relation], -1), torch.tensor([[1, 2, 3]]))
    assert with_relation.tolist() == correctness(predictions, concepts).tolist() == [0.75]


def test_nan_where_nothing_is_specified_or_scored() -> None:
    predictions = torch.tensor([[[0, 1]], [[-1, 1]], [[0, 1]]])
    concepts = torch.tensor([[-1, -1], [0, -1], [0, -1]])
    assert correctness(predictions, concepts).isnan().tolist() == [True, True, False]


def test_no_queries_and_no_samples() -> None:
    empty = correctness(torch.zeros(0, 5, 2, dtype=torch.long), torch.zeros(0, 2, dtype=torch.long))
    assert empty.shape == (0,)
    assert empty.dtype == torch.float64
    assert correctness(torch.zeros(1, 0, 2, dtype=torch.long), torch.zeros(1, 2, dtype=torch.long)).isnan().all()


def test_other_integer_types_count_the_same(random_queries: Callable[..., Any]) -> None:
    case = random_queries(3)
    small = correctness(case.predictions.to(torch.int8), case.concepts.int())
    torch.testing.assert_close(small, correctness(case.predictions, case.concepts), equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize("concept", [(1, 0, 2), (-1, 1, 0), (3, -1, -1)])
def test_chance_is_the_mean_over_all_answers(concept: tuple[int, ...]) -> None:
    num_values = [4, 2, 3]
    answers = list(itertools.product(*(range(n) for n in num_values)))
    predictions, concepts = torch.tensor([answers]), torch.tensor([concept])
    torch.testing.assert_close(
        correctness_chance(concepts, num_values), correctness(predictions, concepts), rtol=0, atol=1e-15
    )


def test_chance_leaves_out_what_is_not_scored() -> None:
    concepts, scored = torch.tensor([[1, 0], [-1, 0], [-1, -1]]), torch.tensor([True, False])
    chance = correctness_chance(concepts, [4, 2], scored=scored)
    assert float(chance[0]) == 0.25
    assert chance[1:].isnan().all()


@pytest.mark.parametrize(
    ("predictions", "concepts", "message"),
    [
        (torch.zeros(2, 3, 4).long(), torch.zeros(2, 5).long(), r"disagree: got \(2, 3, 4\) and \(2, 5\)"),
        (torch.zeros(2, 3, 4).long(), torch.zeros(3, 4).long(), "disagree"),
        (torch.zeros(2, 4).long(), torch.zeros(2, 4).long(), r"predictions must have the shape \[query, sample"),
        (torch.zeros(2, 3, 4), torch.zeros(2, 4).long(), "predictions must be an integer tensor"),
        (torch.zeros(2, 3, 4).long(), torch.zeros(2, 4).bool(), "concepts must be an integer tensor"),
        (torch.zeros(2, 3, 4).long(), [[0] * 4] * 2, "concepts must be an integer tensor .* got a list"),
        (torch.full((2, 3, 4), -2), torch.zeros(2, 4).long(), "predictions contains -2"),
    ],
)
def test_bad_input_is_refused(predictions: Any, concepts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        correctness(predictions, concepts)


def test_chance_refuses_what_it_cannot_count() -> None:
    with pytest.raises(ValueError, match="concepts contains value 4 of attribute 0"):
        correctness_chance(torch.tensor([[4, 0]]), [4, 2])
    with pytest.raises(ValueError, match="concepts has 2 attributes, the reference has 3"):
        correctness_chance(torch.tensor([[1, 0]]), [4, 2, 2])
    with pytest.raises(ValueError, match="scored must be a boolean tensor with 2 attributes"):
        correctness_chance(torch.tensor([[1, 0]]), [4, 2], scored=torch.tensor([True]))
