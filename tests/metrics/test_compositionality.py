from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from mmvae_bench.metrics.functional import compositionality, correctness, satisfied


def enumerate_satisfied(concepts: list[list[int]], training: list[list[int]]) -> list[bool]:
    return [
        any(all(value in (-1, seen) for value, seen in zip(concept, known, strict=True)) for known in training)
        for concept in concepts
    ]


@pytest.mark.parametrize("seed", range(5))
def test_equals_enumeration_over_every_partial_concept(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("mmvae_bench.metrics.functional.correctness")
    monkeypatch.setattr(module, "_QUERIES_AT_ONCE", 7)
    every = [list(concept) for concept in itertools.product(range(-1, 4), range(-1, 2), range(-1, 3))]
    generator = torch.Generator().manual_seed(seed)
    grounded = [concept for concept in every if -1 not in concept]
    training = [grounded[i] for i in torch.randperm(len(grounded), generator=generator)[: 4 + 3 * seed]]
    expected = enumerate_satisfied(every, training)
    assert satisfied(torch.tensor(every), torch.tensor(training)).tolist() == expected
    assert 0 < sum(expected) < len(expected)


def test_scores_are_correctness_where_training_is_silent(random_queries: Callable[..., Any]) -> None:
    case = random_queries(4)
    training = case.concepts[2:4].clamp(min=0)
    met = satisfied(case.concepts, training)
    scores = compositionality(case.predictions, case.concepts, training)
    assert met.any()
    assert not met.all()
    assert scores[met].isnan().all()
    torch.testing.assert_close(scores[~met], correctness(case.predictions, case.concepts)[~met], equal_nan=True)


def test_a_training_concept_that_says_nothing_of_an_attribute_shows_none_of_its_values() -> None:
    training = torch.tensor([[0, -1]])
    assert satisfied(torch.tensor([[0, 1], [0, -1]]), training).tolist() == [False, True]


def test_without_training_nothing_is_met() -> None:
    none = torch.zeros(0, 2, dtype=torch.long)
    assert satisfied(torch.tensor([[0, 1], [-1, -1]]), none).tolist() == [False, False]
    assert math.isnan(float(compositionality(torch.tensor([[[0, 1]]]), torch.tensor([[-1, -1]]), none)))


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="concepts have 2 attributes, training concepts 3"):
        satisfied(torch.tensor([[0, 1]]), torch.tensor([[0, 1, 2]]))
    with pytest.raises(ValueError, match="training_concepts must have the shape"):
        satisfied(torch.tensor([[0, 1]]), torch.tensor([0, 1]))
