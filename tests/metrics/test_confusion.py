from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from mmvae_bench.metrics.functional import confusion_counts, correctness


@pytest.mark.parametrize("seed", range(8))
def test_equals_enumeration(random_queries: Callable[..., Any], seed: int) -> None:
    case = random_queries(seed)
    sizes = [
        int(max(case.predictions[..., k].max(), case.concepts[:, k].max())) + 1 for k in range(case.concepts.shape[1])
    ]
    expected = [[[0] * size for _ in range(size)] for size in sizes]
    for samples, concept in zip(case.predictions.tolist(), case.concepts.tolist(), strict=True):
        for sample in samples:
            for k, (read, asked) in enumerate(zip(sample, concept, strict=True)):
                if asked != -1 and read != -1:
                    expected[k][asked][read] += 1
    found = confusion_counts(case.predictions, case.concepts, sizes)
    assert [table.tolist() for table in found] == expected
    assert sum(int(table.sum()) for table in found) > 0


def test_the_diagonal_is_the_correctness_of_an_attribute() -> None:
    """One attribute, specified by every query: correctness is the trace over the sum."""
    generator = torch.Generator().manual_seed(0)
    read, asked = torch.randint(3, (20, 7, 1), generator=generator), torch.randint(3, (20, 1), generator=generator)
    (table,) = confusion_counts(read, asked, (3,))
    assert float(table.trace() / table.sum()) == pytest.approx(float(correctness(read, asked).mean()))
    assert table.sum(1).tolist() == [7 * int((asked == value).sum()) for value in range(3)]


def test_a_value_that_the_attribute_does_not_have_is_an_error() -> None:
    with pytest.raises(ValueError, match="predictions contains value 3 of attribute 0"):
        confusion_counts(torch.tensor([[[3]]]), torch.tensor([[0]]), (2,))
