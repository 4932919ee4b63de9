"""Faces under one light, drawn or photographed, with the direction of the light beside their concepts."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..base.files import data_root
from ..specs.built_in.few_labels import AZIMUTHS, ELEVATIONS, PEOPLE, LitFacesSpec
from ..worlds.lit_faces import LitFaces
from ..worlds.recipe import ImageRecipe
from .batch import FactoredStore
from .sharded import ShardedDataModule
from .sources.yale_faces import NUM_IMAGES, YaleFaces, find_photos
from .splits import combinations_of, observed_partition, random_partition

BINS = (AZIMUTHS, ELEVATIONS)


class LitFacesDataModule(ShardedDataModule):
    """Faces made once and kept in shards."""

    spec: LitFacesSpec
    too_small: ClassVar[str] = "raise num_people"
    parallel: ClassVar[bool] = False
    """All of them take seconds, less than processes take to start."""

    def recipe(self) -> ImageRecipe:
        """See :meth:`ShardedDataModule.recipe`; raises SourceError if photographs are requested but not found."""
        spec = self.spec
        if spec.source == "drawn":
            return LitFaces(num_people=spec.num_people, canvas=spec.canvas, seed=spec.seed, bins=BINS)
        photos = find_photos(data_root(), PEOPLE[: spec.num_people])
        return YaleFaces(photos, canvas=spec.canvas, bins=BINS)

    def setup(self, stage: str | None = None) -> None:
        """Maps the prepared images into memory, with the light of each."""
        super().setup(stage)
        light = np.stack([self.columns[name] for name in self.spec.factors], 1)
        self._store = FactoredStore(self.store, torch.from_numpy(light.astype(np.float32)))

    def assign(self, split: str, seed: int) -> Tensor:
        """See :meth:`PartitionedDataModule.assign`. A photograph keeps its partition, whichever others there are."""
        concepts = self.store.concepts.cpu()
        if split == "iid":
            angles = [torch.from_numpy(self.columns[name].astype(np.int64)) for name in ("azimuth", "elevation")]
            return random_partition(concepts[:, 0], *angles, seed=seed)
        if split == "comp":
            nothing = torch.empty(0, len(self.schema), dtype=torch.long)
            return observed_partition(self.schema, concepts, held_out=nothing, seed=seed)
        raise ValueError(f"unknown split {split!r}; choices: iid, comp")

    def combinations(self) -> dict[str, list[list[int]]] | None:
        """The concepts of each partition, if the split holds out concepts."""
        if self.spec.split != "comp":
            return None
        partition = self._partition(self.spec.split, self.spec.split_seed).cpu()
        return combinations_of(self.store.concepts.cpu(), partition)

    def extras(self) -> dict[str, Any]:
        """How many concepts there are, and of photographs how many of the database are missing."""
        about: dict[str, Any] = {"distinct_concepts": len(self.store.concepts.unique(dim=0))}
        if isinstance(self.images, YaleFaces):
            whole = NUM_IMAGES if self.spec.num_people == len(PEOPLE) else None
            about |= {"photographs": len(self.images.photos), "of": whole}
        return about
