"""Imputing the unspecified attributes of a concept from the training concepts seen."""

from __future__ import annotations

import pytest
import torch

from mmvae_bench.objectives.cvae import ConceptMemory


def memory_of(rows: list[list[int]], *, capacity: int = 100) -> ConceptMemory:
    memory = ConceptMemory((3, 4, 2), capacity=capacity)
    if rows:
        memory.remember(torch.tensor(rows))
    return memory


def test_what_is_specified_stays() -> None:
    torch.manual_seed(0)
    query = torch.tensor([[0, -1, 1], [2, 3, -1], [1, 2, 0]])
    for memory in (memory_of([]), memory_of([[1, 1, 0], [2, 2, 1]])):
        full = memory.complete(query, num_samples=50)
        assert full.shape == (3, 50, 3)
        assert bool((full >= 0).all())
        assert bool(((full == query[:, None]) | (query < 0)[:, None]).all())


def test_missing_values_follow_the_conditional_frequencies() -> None:
    """Attribute 1 equals attribute 0 in the training concepts, three times of four; attribute 2 depends on both."""
    torch.manual_seed(0)
    memory = memory_of([[0, 0, 0]] * 3 + [[0, 1, 1]] + [[1, 1, 0]] * 5)
    full = memory.complete(torch.tensor([[0, -1, -1]]), num_samples=4000)[0]
    pairs = {tuple(row) for row in full[:, 1:].tolist()}
    assert pairs == {(0, 0), (1, 1)}, "values of one training concept stay together"
    assert (full[:, 1] == 0).double().mean().item() == pytest.approx(0.75, abs=0.03)


def test_a_concept_that_no_training_concept_has_takes_the_closest() -> None:
    torch.manual_seed(0)
    memory = memory_of([[0, 0, 0], [0, 1, 1], [1, 2, 1]])
    full = memory.complete(torch.tensor([[1, 0, -1]]), num_samples=2000)[0]
    # No row has (1, 0); the first and the third agree in one attribute, the second in none.
    assert bool((full[:, :2] == torch.tensor([1, 0])).all())
    assert (full[:, 2] == 0).double().mean().item() == pytest.approx(0.5, abs=0.04)


def test_nothing_specified_gives_training_concepts() -> None:
    torch.manual_seed(0)
    rows = [[0, 0, 0], [0, 0, 0], [2, 3, 1]]
    full = memory_of(rows).complete(torch.full((1, 3), -1), num_samples=3000)[0]
    assert (full == torch.tensor(rows[0])).all(1).double().mean().item() == pytest.approx(2 / 3, abs=0.03)
    assert {tuple(row) for row in full.tolist()} == {(0, 0, 0), (2, 3, 1)}


def test_before_anything_was_seen_values_are_uniform() -> None:
    torch.manual_seed(0)
    full = memory_of([]).complete(torch.full((1, 3), -1), num_samples=8000)[0]
    for k, size in enumerate((3, 4, 2)):
        assert (full[:, k].bincount(minlength=size) / 8000 - 1 / size).abs().max() < 0.025


def test_the_oldest_concepts_go_first() -> None:
    memory = memory_of([[0, 0, 0]] * 3, capacity=4)
    memory.remember(torch.tensor([[1, 1, 1], [2, 2, 1]]))
    assert sorted(memory.concepts.tolist()) == [[0, 0, 0], [0, 0, 0], [1, 1, 1], [2, 2, 1]]
    memory.remember(torch.tensor([[0, 1, 0]] * 9))
    assert memory.concepts.tolist() == [[0, 1, 0]] * 4
    assert int(memory.num_seen) == 14


def test_it_is_saved_with_the_weights() -> None:
    one, other = memory_of([[1, 2, 1], [2, 0, 0]]), memory_of([])
    other.load_state_dict(one.state_dict())
    query = torch.tensor([[-1, -1, -1]] * 4)
    torch.manual_seed(3)
    first = one.complete(query, num_samples=5)
    torch.manual_seed(3)
    assert torch.equal(first, other.complete(query, num_samples=5))
