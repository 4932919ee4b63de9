"""Which image belongs to which partition: by a hash of what the image is, so adding images moves no other.

Shapes: N image, A attribute.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..base import randomness
from ..base.hashing import derive_seed
from ..concepts import Schema, compositional_split
from .base import PARTITIONS

FRACTIONS = (0.85, 0.05, 0.10)
"""Of train, val and test (Vedantam et al. 2018, released code)."""


def random_partition(*counters: Tensor, seed: int, fractions: tuple[float, float, float] = FRACTIONS) -> Tensor:
    """Each item to train, val or test with probability 0.85, 0.05, 0.10 or as told, independently.

    Args:
        *counters: Long[N] each; items with equal counters share a partition.
        seed: Seed of the split.
        fractions: Of train, val and test.

    Returns:
        Byte[N], index into ``PARTITIONS``.

    >>> random_partition(torch.arange(20_000), seed=42).bincount().tolist()
    [16964, 1027, 2009]
    """
    u = randomness.uniform(randomness.keys(derive_seed("split", seed=seed), *counters), 1)[:, 0]
    return ((u >= fractions[0]).byte() + (u >= fractions[0] + fractions[1]).byte()).to(torch.uint8)


def compositional_partition(schema: Schema, concepts: Tensor, *, seed: int) -> Tensor:
    """Each image to the partition that :func:`mmvae_bench.concepts.compositional_split` gives its concept.

    Args:
        schema: Of the concepts.
        concepts: Long[N, A], fully specified.
        seed: Seed of the split.

    Returns:
        Byte[N], index into ``PARTITIONS``.
    """
    partition_of = torch.zeros(schema.sizes, dtype=torch.uint8, device=concepts.device)
    for index, name in enumerate(PARTITIONS):
        combinations = compositional_split(schema, seed=seed, fractions=FRACTIONS)[name]
        partition_of[combinations.unbind(-1)] = index
    return partition_of[concepts.unbind(-1)]
