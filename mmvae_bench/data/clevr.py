"""Single-Object and Two-Object CLEVR: path-traced objects on a plane.

Single-Object: a sphere that is red or blue, small or large. Two-Object: two objects and nine words about them (Cremer
and Kushman 2018, section 5).

Shapes: N image, A attribute.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..base.errors import ConfigError
from ..concepts import compositional_split
from ..specs.built_in.datasets import OBJECT_SCHEMA, SingleObjectClevrSpec, TwoObjectClevrSpec
from ..specs.components import DatasetSpec
from ..worlds.clevr.recipe import SingleObjectRecipe, TwoObjectRecipe
from .base import PARTITIONS
from .sharded import ShardedDataModule
from .shards.manifest import MANIFEST
from .splits import FRACTIONS, compositional_partition, random_partition

LEAST_OF_SHEET = 200
"""Scenes that are made for a contact sheet at least, so that no partition is empty."""
_LEAST_SHARE = {"train": 0.72, "val": 0.05, "test": 0.10}
"""Of the images, under either split."""


class SceneDataModule(ShardedDataModule):
    """Path-traced scenes."""

    spec: SingleObjectClevrSpec | TwoObjectClevrSpec
    too_small: ClassVar[str] = "raise num_images"

    def of_sheet(self, partition: str, num_images: int) -> DatasetSpec:
        """See :meth:`ConceptDataModule.of_sheet`: the first scenes alone, since a smaller set is the beginning of a
        larger one; one and a half times as many as hold that number of images on average."""
        if (self.cache_path / MANIFEST).is_file():
            return self.spec
        first = max(LEAST_OF_SHEET, math.ceil(1.5 * num_images / _LEAST_SHARE[partition]))
        return self.spec.model_copy(update={"num_images": min(first, self.spec.num_images)})


class SingleObjectClevrDataModule(SceneDataModule):
    """Single spheres, path-traced, for pictures of a two-dimensional latent space."""

    spec: SingleObjectClevrSpec

    def recipe(self) -> SingleObjectRecipe:
        """See :meth:`ShardedDataModule.recipe`."""
        return SingleObjectRecipe(self.spec)

    def assign(self, split: str, seed: int) -> Tensor:
        """See :meth:`PartitionedDataModule.assign`."""
        if split == "iid":
            return random_partition(torch.arange(len(self.store)), seed=seed)
        raise ValueError(f"unknown split {split!r}; choices: iid")


FIRST, SECOND = slice(0, 4), slice(5, 9)
"""The part of a pair's concept that is about each object."""


class TwoObjectClevrDataModule(SceneDataModule):
    """Pairs of objects, path-traced; masks are those of the first and the second object of the concept."""

    spec: TwoObjectClevrSpec

    def recipe(self) -> TwoObjectRecipe:
        """See :meth:`ShardedDataModule.recipe`."""
        return TwoObjectRecipe(self.spec)

    def assign(self, split: str, seed: int) -> Tensor:
        """See :meth:`PartitionedDataModule.assign`.

        ``iid`` divides the images by a hash of their number, 0.85 / 0.05 / 0.10 as on MNIST-A; the paper has 0.9 of
        training and 0.1 of validation images, and no test part. ``comp`` holds out objects; see
        :func:`object_partition`.
        """
        if split == "iid":
            return random_partition(torch.arange(len(self.store)), seed=seed)
        if split == "comp":
            return object_partition(self.store.concepts, seed=seed)
        raise ValueError(f"unknown split {split!r}; choices: iid, comp")

    def combinations(self) -> dict[str, list[list[int]]] | None:
        """The objects of each partition, [size, colour, material, shape], if the split holds out objects."""
        if self.spec.split != "comp":
            return None
        return {name: part.tolist() for name, part in held_out_objects(seed=self.spec.split_seed).items()}

    def extras(self) -> dict[str, Any]:
        """What the numbers in ``combinations`` mean: attributes of one object, not of the whole concept."""
        return {"combinations_of": None if self.spec.split != "comp" else list(OBJECT_SCHEMA.names)}


def held_out_objects(*, seed: int) -> dict[str, Tensor]:
    """The 96 objects divided into 81, 5 and 10: partition to Long[object, 4].

    Raises:
        ConfigError: if some value would be in no training object.
    """
    parts = compositional_split(OBJECT_SCHEMA, seed=seed, fractions=FRACTIONS)
    for attribute, values in zip(OBJECT_SCHEMA.attributes, parts["train"].unbind(1), strict=True):
        missing = [value for index, value in enumerate(attribute.values) if index not in values]
        if missing:
            raise ConfigError(f"split_seed {seed} holds out every object that is {missing[0]}; choose another seed")
    return parts


def object_partition(concepts: Tensor, *, seed: int) -> Tensor:
    """An image with a test object is a test image, else one with a validation object a validation image.

    So about 0.72, 0.09 and 0.19 of the images are for training, validation and test.

    Args:
        concepts: Long[N, 9].
        seed: Seed of the split.

    Returns:
        Byte[N], index into ``PARTITIONS``.
    """
    held_out_objects(seed=seed)
    assert PARTITIONS == ("train", "val", "test")
    first, second = (compositional_partition(OBJECT_SCHEMA, concepts[:, place], seed=seed) for place in (FIRST, SECOND))
    return torch.maximum(first, second)
