"""Small random questions and answers, with everything a metric must bear: -1s, uneven attributes, both references."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor


@dataclass(frozen=True)
class Queries:
    predictions: Tensor
    concepts: Tensor
    reference: list[Tensor]
    num_values: list[int]


def _distribution(*shape: int, generator: torch.Generator) -> Tensor:
    weights = torch.rand(*shape, generator=generator, dtype=torch.float64)
    weights[weights < 0.2] = 0.0  # zeros are what logarithms break on
    weights[..., 0] += 0.1
    return weights / weights.sum(-1, keepdim=True)


def _random_queries(
    seed: int,
    *,
    num_queries: int = 6,
    num_samples: int = 5,
    num_values: tuple[int, ...] = (4, 2, 3, 5),
    per_query: bool = False,
    unscored: float = 0.15,
) -> Queries:
    generator = torch.Generator().manual_seed(seed)

    def draw(shape: tuple[int, ...], hidden: float) -> Tensor:
        values = torch.stack([torch.randint(n, shape, generator=generator) for n in num_values], -1)
        return values.masked_fill(torch.rand(values.shape, generator=generator) < hidden, -1)

    predictions = draw((num_queries, num_samples), unscored)
    if unscored:
        predictions[1, :, 2] = -1  # an attribute of one query without any scored sample
    concepts = draw((num_queries,), 0.5)
    concepts[0] = -1
    concepts[-1] = torch.tensor([n - 1 for n in num_values])
    reference = [
        _distribution(*((num_queries, n) if per_query and k % 2 == 0 else (n,)), generator=generator)
        for k, n in enumerate(num_values)
    ]
    return Queries(predictions, concepts, reference, list(num_values))


@pytest.fixture
def random_queries() -> Callable[..., Queries]:
    return _random_queries
