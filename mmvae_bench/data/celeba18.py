"""CelebA-18: faces with 18 binary attributes, photographed or drawn.

Shapes: N image, n image of a batch, C channel, H height, W width.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from ..base.files import data_root
from ..specs.built_in.datasets import NUM_DRAWN, CelebA18Spec
from ..worlds.attribute_model import stored
from ..worlds.faces.recipe import DrawnFaces
from ..worlds.faces.strengths import strengths
from ..worlds.recipe import ImageRecipe
from .base import PARTITIONS, Progress
from .sharded import ShardedDataModule
from .sources.celeba_photos import CroppedPhotos, Photos, find_photos
from .splits import combinations_of, observed_partition, random_partition

FRACTIONS = (0.8, 0.1, 0.1)
"""Fractions of train, val and test if the official partition cannot be used: about those of the official one."""


class CelebA18DataModule(ShardedDataModule):
    """Photographs cropped once, or faces drawn once, and kept as bytes.

    The split ``iid`` of the photographs is CelebA's official partition. A partial copy that lacks a whole part of it
    (the first images all belong to the training part) is divided by a hash of the ids instead, and says so.

    Args:
        spec: What to make and how to split it.
        photos: The photographs; by default those under the data root, searched for when they are first needed.
        progress: Called while images are made, with the numbers done and in all.
    """

    spec: CelebA18Spec
    too_small: ClassVar[str] = "raise num_images"

    def __init__(self, spec: CelebA18Spec, *, photos: Photos | None = None, progress: Progress | None = None) -> None:
        super().__init__(spec, progress=progress)
        self.photos = photos

    def recipe(self) -> ImageRecipe:
        """See :meth:`ShardedDataModule.recipe`; raises SourceError if photographs are requested but not found."""
        spec = self.spec
        if spec.source == "drawn":
            return DrawnFaces(num_images=spec.num_images or NUM_DRAWN, size=spec.size, seed=spec.seed)
        photos = find_photos(data_root()) if self.photos is None else self.photos
        return CroppedPhotos(photos, size=spec.size, num_images=spec.num_images, side=spec.crop)

    def assign(self, split: str, seed: int) -> Tensor:
        """See :meth:`PartitionedDataModule.assign`. The official partition has no seed."""
        if split == "comp":
            held_out = torch.stack([self.schema.parse(query) for query in self.spec.named_queries().values()])
            return observed_partition(self.schema, self.store.concepts, held_out=held_out, seed=seed)
        if split != "iid":
            raise ValueError(f"unknown split {split!r}; choices: iid, comp")
        if self.is_official:
            return torch.from_numpy(np.array(self.columns["official_partition"], np.uint8))
        ids = np.arange(len(self.store)) if self.spec.source == "drawn" else self.columns["id"]
        return random_partition(torch.from_numpy(np.array(ids, np.int64)), seed=seed, fractions=FRACTIONS)

    def strengths(self) -> Tensor | None:
        """See :meth:`ShardedDataModule.strengths`; photographs have none."""
        if self.spec.source != "drawn":
            return None
        return torch.from_numpy(strengths(self.store.concepts.numpy(), self.columns))

    def backgrounds(self, rows: Tensor) -> Tensor | None:
        """See :meth:`ConceptDataModule.backgrounds`; drawings are drawn again without the person, photographs have
        none."""
        if not isinstance(self.images, DrawnFaces):
            return None
        pixels = torch.from_numpy(self.images.backgrounds(rows.cpu().numpy()))
        return rearrange(pixels, "n h w c -> n c h w").float().div_(255).to(rows.device)

    @property
    def is_official(self) -> bool:
        """Whether the split ``iid`` is CelebA's own partition: all three of its parts have images here."""
        return self.spec.source == "celeba" and len(np.unique(self.columns["official_partition"])) == len(PARTITIONS)

    def combinations(self) -> dict[str, list[list[int]]] | None:
        """The distinct concepts of each part of the split ``comp``; None for the other split."""
        if self.spec.split != "comp":
            return None
        partition = self._partition(self.spec.split, self.spec.split_seed)
        return combinations_of(self.store.concepts, partition)

    def extras(self) -> dict[str, Any]:
        """What was found, or the error of the model of the attribute rows; and what the split ``iid`` is."""
        rule = "official" if self.is_official else f"{' / '.join(map(str, FRACTIONS))} by hash of the number"
        about: dict[str, Any] = {"iid": rule, "distinct_concepts": len(self.store.concepts.unique(dim=0))}
        if isinstance(self.images, CroppedPhotos):
            return {**about, "photographs": self.images.photos.describe()}
        return {**about, "attribute_model": stored()["distance"]}
