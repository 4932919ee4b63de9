from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmvae_bench.concepts import keep_random
from mmvae_bench.evaluation.references import BlindGenerator, TrainingConcepts

SIZES = (3, 2, 4)


@pytest.fixture
def concepts() -> Tensor:
    """Dependent attributes: the second follows the first."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randint(3, (400,), generator=generator)
    second = torch.where(torch.rand(400, generator=generator) < 0.7, first % 2, 1 - first % 2)
    return torch.stack([first, second, torch.randint(4, (400,), generator=generator)], 1)


def test_uniform_and_marginal(concepts: Tensor) -> None:
    training = TrainingConcepts(concepts, sizes=SIZES)
    for k, (size, uniform, marginal) in enumerate(zip(SIZES, training.uniform(), training.marginal(), strict=True)):
        assert torch.equal(uniform, torch.full((size,), 1 / size, dtype=torch.float64))
        counted = [sum(int(row[k]) == value for row in concepts) / len(concepts) for value in range(size)]
        torch.testing.assert_close(marginal, torch.tensor(counted, dtype=torch.float64))


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_conditional_is_what_counting_gives(concepts: Tensor, level: int) -> None:
    training = TrainingConcepts(concepts, sizes=SIZES)
    full = torch.cartesian_prod(*(torch.arange(size) for size in SIZES)).repeat(4, 1)
    queries = keep_random(full, level, generator=torch.Generator().manual_seed(level))
    tables = training.conditional(queries, smoothing=5.0)
    marginal = training.marginal()
    rows = concepts.tolist()
    for q, query in enumerate(queries.tolist()):
        matching = [row for row in rows if all(want in (-1, got) for want, got in zip(query, row, strict=True))]
        for k, size in enumerate(SIZES):
            for value in range(size):
                if query[k] == -1:
                    count = sum(row[k] == value for row in matching)
                    expected = (count + 5 * float(marginal[k][value])) / (len(matching) + 5)
                else:
                    expected = float(query[k] == value)
                assert float(tables[k][q, value]) == pytest.approx(expected, abs=1e-12)


def test_conditional_on_nothing_is_the_marginal(concepts: Tensor) -> None:
    training = TrainingConcepts(concepts, sizes=SIZES)
    for table, marginal in zip(training.conditional(torch.full((2, 3), -1)), training.marginal(), strict=True):
        torch.testing.assert_close(table, marginal.expand(2, -1))


def test_a_query_that_no_row_matches_gets_the_marginal() -> None:
    training = TrainingConcepts(torch.tensor([[0, 0], [1, 1]]), sizes=(3, 2))
    first, second = training.conditional(torch.tensor([[2, -1]]))
    torch.testing.assert_close(second, training.marginal()[1][None])
    assert first.tolist() == [[0.0, 0.0, 1.0]]


def test_conditional_sees_the_dependence(concepts: Tensor) -> None:
    training = TrainingConcepts(concepts, sizes=SIZES)
    table = training.conditional(torch.tensor([[0, -1, -1], [1, -1, -1]]), smoothing=1e-9)[1]
    assert table[0, 0] > 0.6
    assert table[1, 1] > 0.6


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="needs training concepts"):
        TrainingConcepts(torch.zeros(0, 3, dtype=torch.long), sizes=SIZES)
    with pytest.raises(ValueError, match="positive number of training rows, got 0"):
        TrainingConcepts(torch.zeros(1, 3, dtype=torch.long), sizes=SIZES).conditional(torch.zeros(1, 3), smoothing=0)


def test_the_floor_of_each_attribute_is_that_of_a_query_for_it_alone() -> None:
    """To the bit: it was computed so, in the square of the number of attributes."""
    generator = torch.Generator().manual_seed(0)
    sizes = (2, 3, 2, 5)
    concepts = torch.stack([torch.randint(size, (50,), generator=generator) for size in sizes], 1)
    tables = [torch.rand(size, size, generator=generator).double().softmax(1) for size in sizes]
    blind = BlindGenerator(TrainingConcepts(concepts, sizes=sizes), tables, torch.tensor([True, True, False, True]))
    queries = torch.where(torch.rand(12, 4, generator=generator) < 0.6, concepts[:12], -1)
    found = blind.correctness_of_each(queries)
    for k in range(4):
        alone = torch.full_like(queries, -1)
        alone[:, k] = queries[:, k]
        assert torch.equal(found[:, k].nan_to_num(-1), blind.correctness(alone).nan_to_num(-1))
    assert torch.equal(found.isnan(), (queries < 0) | (torch.arange(4) == 2))
