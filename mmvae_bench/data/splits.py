"""Which image belongs to which partition: by a hash of its number or concept, so that adding images moves no others.

Shapes: N image, R row, D distinct concept, A attribute, Q query.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..base import randomness
from ..base.errors import ConfigError
from ..base.seeds import derive_seed
from ..concepts import Schema, compositional_split, satisfies
from ..specs.components import DatasetSpec
from .base import PARTITIONS, ConceptDataModule

FRACTIONS = (0.85, 0.05, 0.10)
"""Fractions of train, val and test (Vedantam et al. 2018, released code)."""


def random_partition(*counters: Tensor, seed: int, fractions: tuple[float, float, float] = FRACTIONS) -> Tensor:
    """Assigns each item independently to train, val or test, with probabilities ``fractions``.

    Args:
        *counters: Long[N] each; items with equal counters share a partition.
        seed: Seed of the split.
        fractions: Fractions of train, val and test.

    Returns:
        Byte[N], index into ``PARTITIONS``.

    >>> random_partition(torch.arange(20_000), seed=42).bincount().tolist()
    [16964, 1027, 2009]
    """
    u = randomness.uniform(randomness.keys(derive_seed("split", seed=seed), *counters), 1)[:, 0]
    return ((u >= fractions[0]).byte() + (u >= fractions[0] + fractions[1]).byte()).to(torch.uint8)


def compositional_partition(schema: Schema, concepts: Tensor, *, seed: int) -> Tensor:
    """Assigns each image to the partition that :func:`mmvae_bench.concepts.compositional_split` gives its concept.

    Args:
        schema: Schema of the concepts.
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


TRAIN, VAL, TEST = range(3)


def observed_partition(schema: Schema, concepts: Tensor, *, held_out: Tensor, seed: int) -> Tensor:
    """Assigns each image to a partition by its concept: whole concepts go to train, val and test.

    The distinct concepts are ordered by a hash of their values, so that another source or a larger copy has the same
    order, and cut at 0.85, 0.05 and 0.10 of their number. Concepts that satisfy a query of ``held_out`` always go to
    test. If a value of an attribute would not occur in training, the first concept that has it is moved there.

    Args:
        schema: Schema of the concepts.
        concepts: Long[N, A], fully specified.
        held_out: Long[Q, A], -1 where unspecified.
        seed: Seed of the split.

    Returns:
        Byte[N], index into ``PARTITIONS``.

    Raises:
        ConfigError: if every concept with some value is held out.
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
                raise ConfigError(
                    f"every concept with {attribute.name}={attribute.values[value]} is held out for testing; "
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


OTHER_SPLIT_SEED = 42
"""Seed of a split other than the spec's own: that of the published one."""


def _check_assigned(partition: Tensor, number: int, what: str) -> None:
    """Raises ValueError if images would be lost: too few numbers, or one that is no index into ``PARTITIONS``."""
    if partition.shape != (number,) or partition.is_floating_point() or partition.dtype == torch.bool:
        raise ValueError(
            f"{what} must be whole numbers, one for each of the {number:,} images, got {partition.dtype} of shape "
            f"{tuple(partition.shape)}"
        )
    odd = partition[(partition < 0) | (partition >= len(PARTITIONS))]
    if len(odd):
        names = ", ".join(f"{index} for {name}" for index, name in enumerate(PARTITIONS))
        raise ValueError(f"{what} has {int(odd[0])} for {len(odd):,} images: the numbers are {names}")


class PartitionedDataModule(ConceptDataModule):
    """A data module whose :meth:`rows` come from the partition of each image; a subclass implements :meth:`assign`."""

    too_small: ClassVar[str] = "use more images"
    """Advice for the error about an empty partition."""

    def __init__(self, spec: DatasetSpec) -> None:
        super().__init__(spec)
        self._partitions: dict[tuple[str, int], Tensor] = {}

    def assign(self, split: str, seed: int) -> Tensor:
        """Byte[N]: the index into ``PARTITIONS`` of every image, under a split that the spec may name, with a seed.

        Called after :meth:`setup`. Must depend on the arguments and on the dataset's fingerprint only, not on the
        spec's split. Raises ValueError for an unknown split.
        """
        raise NotImplementedError

    def combinations(self) -> dict[str, list[list[int]]] | None:
        """The concepts of each partition where the spec's split divides concepts, else None."""
        return None

    def rows(self, partition: str, *, split: str | None = None) -> Tensor:
        """Long[R], ascending, on the store's device.

        Args:
            partition: train, val or test.
            split: None for the spec's split under the spec's split seed; a name for that split under seed 42 whatever
                the spec says, so that a classifier trained on it depends on the fingerprint only.

        Raises:
            ConfigError: if the dataset is so small that the partition is empty.
        """
        if partition not in PARTITIONS:
            raise ValueError(f"unknown partition {partition!r}; choices: {', '.join(PARTITIONS)}")
        name, seed = (self.spec.split, self.spec.split_seed) if split is None else (split, OTHER_SPLIT_SEED)
        rows = (self._partition(name, seed) == PARTITIONS.index(partition)).nonzero()[:, 0]
        if not len(rows):
            raise ConfigError(
                f"{self.spec.name}: split {name} with seed {seed} leaves no image for {partition} among the "
                f"{len(self.store):,} images of source {self.spec.source}; {self.too_small}"
            )
        return rows

    def describe(self) -> dict[str, Any]:
        """Plain JSON: schema, split, sizes of the partitions, marginals of the training concepts, fingerprint."""
        partition = self._partition(self.spec.split, self.spec.split_seed)
        training = self.store.concepts[partition == PARTITIONS.index("train")]
        return {
            "name": self.spec.name,
            "source": self.spec.source,
            "schema": self.schema.to_dict(),
            "image_shape": list(self.image_shape),
            "split": self.spec.split,
            "split_seed": self.spec.split_seed,
            "num_images": len(self.store),
            "sizes": {name: int((partition == index).sum()) for index, name in enumerate(PARTITIONS)},
            "combinations": self.combinations(),
            "marginals": {
                attribute.name: _frequencies(training[:, index], len(attribute))
                for index, attribute in enumerate(self.schema.attributes)
            },
            "fingerprint": self.fingerprint,
            "path": None if self.cache_path is None else str(self.cache_path),
        }

    def _partition(self, split: str, seed: int) -> Tensor:
        """Byte[N]: the partition of every image, on the store's device."""
        if (split, seed) not in self._partitions:
            assigned = self.assign(split, seed)
            _check_assigned(assigned, len(self.store), f"{type(self).__name__}.assign({split!r}, {seed})")
            self._partitions[split, seed] = assigned
        return self._partitions[split, seed].to(self.store.concepts.device)


def _frequencies(values: Tensor, num_values: int) -> list[float]:
    """How often each value occurs, as fractions."""
    frequencies: list[float] = (values.bincount(minlength=num_values).double() / max(1, len(values))).tolist()
    return frequencies
