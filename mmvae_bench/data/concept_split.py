"""A split by concept where far fewer concepts occur than there are combinations of values.

Shapes: N image, D distinct concept, A attribute, Q query.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..base import randomness
from ..base.errors import BenchmarkError
from ..base.hashing import derive_seed
from ..concepts import Schema, satisfies
from .base import PARTITIONS
from .splits import FRACTIONS

TRAIN, VAL, TEST = range(3)


def observed_partition(schema: Schema, concepts: Tensor, *, held_out: Tensor, seed: int) -> Tensor:
    """Each image to a partition by its concept: whole concepts go to train, val and test.

    The distinct concepts are ordered by a hash of what they say, so that another source or a larger copy orders them
    alike, and cut at 0.85, 0.05 and 0.10 of their number. Concepts that satisfy a query of ``held_out`` always go to
    test. Where a value of an attribute would not be seen in training, the first concept that has it is moved there.

    Args:
        schema: Of the concepts.
        concepts: Long[N, A], fully specified.
        held_out: Long[Q, A], -1 where unspecified.
        seed: Seed of the split.

    Returns:
        Byte[N], index into ``PARTITIONS``.

    Raises:
        BenchmarkError: where every concept with some value is held out.
    """
    distinct, of_image = torch.unique(concepts.cpu(), dim=0, return_inverse=True)
    key = randomness.keys(derive_seed("split of observed concepts", seed=seed), *distinct.unbind(1))
    held = satisfies(distinct, held_out).any(0)
    order = randomness.uniform(key, 1)[:, 0].masked_fill(held, 2.0).argsort()
    cuts = [math.floor(total * len(distinct)) for total in (FRACTIONS[0], FRACTIONS[0] + FRACTIONS[1])]
    partition = torch.full((len(distinct),), TEST, dtype=torch.uint8)
    partition[order[: cuts[0]]] = TRAIN
    partition[order[cuts[0] : cuts[1]]] = VAL
    partition[held] = TEST
    for position, attribute in enumerate(schema.attributes):
        for value in range(len(attribute)):
            having = (distinct[order, position] == value).nonzero()[:, 0]
            candidates = order[having]
            if not len(candidates) or (partition[candidates] == TRAIN).any():
                continue
            if held[candidates].all():
                raise BenchmarkError(
                    f"every concept with {attribute.name}={attribute.values[value]} is held out for the test part; "
                    "use more images"
                )
            partition[candidates[0]] = TRAIN
    return partition[of_image]


def combinations_of(concepts: Tensor, partition: Tensor) -> dict[str, list[list[int]]]:
    """The distinct concepts of each partition.

    Args:
        concepts: Long[N, A].
        partition: Byte[N], index into ``PARTITIONS``.
    """
    return {name: torch.unique(concepts[partition == index], dim=0).tolist() for index, name in enumerate(PARTITIONS)}
