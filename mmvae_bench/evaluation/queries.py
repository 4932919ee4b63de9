"""The fixed questions that every model trained on the same dataset and split is asked.

On ``iid`` splits: every combination of values, several times, at each level; a level is a number of specified
attributes, and which ones stay is drawn uniformly for each query. On ``comp``: the combinations held out, in full.
Nothing here depends on the objective, so scores can be compared query by query.

Shapes: Q query, A attribute, N image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..concepts import Schema, compositional_split, keep_random
from ..data.base import ConceptDataModule
from ..specs.seeds import derive_seed
from ..specs.trial import EvaluationSpec

MAX_COMBINATIONS = 4096
"""A schema with more combinations of values than this is asked about concepts of real images."""
NUM_SAMPLED = 240
"""How many such concepts, before repeats: as many as MNIST-A has combinations."""
COMPOSITIONAL = "comp"


@dataclass(frozen=True)
class Queries:
    """Concepts to imagine.

    Attributes:
        partition: val or test.
        level: Number of specified attributes.
        concepts: Long[Q, A], -1 where unspecified.
        groups: Long[Q], the number of the full concept that each was made from. Queries of one group are one question
            asked again, and an interval resamples groups. None: each is one of its own.
    """

    partition: str
    level: int
    concepts: Tensor
    groups: Tensor | None = None

    def __len__(self) -> int:
        return len(self.concepts)


def fixed_queries(data: ConceptDataModule, evaluation: EvaluationSpec, partition: str) -> list[Queries]:
    """The queries of a partition, from the highest level down; see :func:`make_queries`."""
    return make_queries(
        data.schema,
        split=data.spec.split,
        split_seed=data.spec.split_seed,
        partition=partition,
        evaluation=evaluation,
        concepts=lambda: data.concepts(partition),
    )


def make_queries(
    schema: Schema,
    *,
    split: str,
    split_seed: int,
    partition: str,
    evaluation: EvaluationSpec,
    concepts: Callable[[], Tensor],
) -> list[Queries]:
    """The queries of a partition, from the highest level down.

    Args:
        schema: Of the concepts.
        split: ``comp`` asks full concepts only.
        split_seed: Seed of the split.
        partition: val or test.
        evaluation: Levels, repeats and seed.
        concepts: Gives the concepts of the partition's images, Long[N, A]; called where the schema has more than 4,096
            combinations. There 240 images (times the repeats) are drawn without replacement, as far as there are any.
    """
    identity = {
        "names": list(schema.names),
        "sizes": list(schema.sizes),
        "split": split,
        "split_seed": split_seed,
        "partition": partition,
        "repeats": evaluation.query_repeats,
        "seed": evaluation.seed,
    }
    levels = evaluation.levels or tuple(range(1, len(schema) + 1))
    if split == COMPOSITIONAL:
        levels = tuple(level for level in levels if level == len(schema))
    if math.prod(schema.sizes) > MAX_COMBINATIONS:
        every, repeats = concepts().cpu(), evaluation.query_repeats
        order = torch.randperm(len(every), generator=_generator("query images", identity))
        full = every[order[: NUM_SAMPLED * repeats]]
    else:
        if split == COMPOSITIONAL:
            combinations = compositional_split(schema, seed=split_seed)[partition]
        else:
            combinations = schema.combinations()
        full = combinations.repeat(evaluation.query_repeats, 1)
    groups = full.unique(dim=0, return_inverse=True)[1]
    queries = []
    for level in sorted(levels, reverse=True):
        generator = _generator("queries", identity | {"level": level})
        queries.append(Queries(partition, level, keep_random(full, level, generator=generator), groups))
    return queries


def _generator(purpose: str, identity: dict[str, object]) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(purpose, **identity))
