"""Single-Object CLEVR: a sphere that is red or blue, small or large, somewhere on a plane."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ..specs.built_in.datasets import SingleObjectClevrSpec
from ..worlds.clevr.recipe import SingleObjectRecipe
from .sharded import ShardedDataModule
from .splits import random_partition


class SingleObjectClevrDataModule(ShardedDataModule):
    """Single spheres, path-traced, for pictures of a two-dimensional latent space."""

    spec: SingleObjectClevrSpec
    too_small: ClassVar[str] = "raise num_images"

    def recipe(self) -> SingleObjectRecipe:
        """See :meth:`ShardedDataModule.recipe`."""
        return SingleObjectRecipe(self.spec)

    def assign(self, split: str, seed: int) -> Tensor:
        """See :meth:`PartitionedDataModule.assign`."""
        if split == "iid":
            return random_partition(torch.arange(len(self.store)), seed=seed)
        raise ValueError(f"no split is called {split!r}: iid")
