"""Datasets whose images are made once from a recipe and stored in shards: a subclass gives the recipe and the splits.

Shapes: N image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..base.errors import BenchmarkError
from ..base.files import cache_root
from ..specs.components import DatasetSpec
from ..worlds.recipe import ImageRecipe
from .base import Progress
from .cache import require_prepared
from .origin import recorded
from .shards.importing import import_store
from .shards.manifest import MANIFEST, Manifest, open_manifest
from .shards.prepare import prepare_store
from .shards.shard import Planes, decode
from .shards.verify import verify_store
from .splits import PartitionedDataModule
from .store import ByteStore


@dataclass(frozen=True)
class Loaded:
    """A store in memory.

    Attributes:
        manifest: Manifest of the store.
        store: The images, mapped from their files.
        columns: The scalars of each image by name, [N] each.
    """

    manifest: Manifest
    store: ByteStore
    columns: Mapping[str, np.ndarray]


class ShardedDataModule(PartitionedDataModule):
    """A data module over a shard store. A subclass implements :meth:`recipe` and :meth:`assign`.

    Args:
        spec: What to make and how to split it.
        progress: Called while images are made, with the numbers done and in all.
    """

    parallel: ClassVar[bool] = True
    num_verified: ClassVar[int] = 64
    """Images that :meth:`verify` makes again, evenly spread; all of a smaller dataset."""

    def __init__(self, spec: DatasetSpec, *, progress: Progress | None = None) -> None:
        super().__init__(spec)
        self.progress = progress
        self._loaded: Loaded | None = None

    # ---- what a subclass implements (and assign(), combinations(), too_small of PartitionedDataModule)

    def recipe(self) -> ImageRecipe:
        """The recipe of the images; called once, when needed. Raises BenchmarkError if they cannot be made."""
        raise NotImplementedError

    def extras(self) -> dict[str, Any]:
        """More for :meth:`describe`: plain JSON. Called after :meth:`setup`."""
        return {}

    def strengths(self) -> Tensor | None:
        """Float[N, A], the score of each attribute of each image, see ``Batch.strength``, from the concepts of the
        store and :attr:`columns`. None if there are none. Called by :meth:`setup`, once both are there."""
        return None

    # ---- what a subclass may use

    @cached_property
    def images(self) -> ImageRecipe:
        """The recipe."""
        return self.recipe()

    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        """The scalars of each image by name, [N] each, as the recipe gave them; needs :meth:`setup`."""
        return self._ready.columns

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the recipe: configuration without the split, generator version, checksum of the source."""
        return self.images.fingerprint

    @property
    def cache_path(self) -> Path:
        """``datasets/<name>-<fingerprint>`` in the cache: shards and a manifest."""
        return cache_root() / "datasets" / f"{self.spec.name}-{self.fingerprint}"

    @property
    def made_from(self) -> str | None:
        """See :attr:`ConceptDataModule.made_from`."""
        return recorded(self.cache_path)

    def prepare_data(self) -> None:
        """Makes the images that are missing from the cache, damaged there or made from files that have since changed;
        one process does it for all.

        Raises:
            BenchmarkError: if they cannot be made, or the disk is full.
        """
        prepare_store(
            self.cache_path,
            self.images,
            name=self.spec.name,
            fingerprint=self.fingerprint,
            workers=self.workers if self.parallel else 0,
            progress=self.progress,
        )

    def setup(self, stage: str | None = None) -> None:
        """Maps the prepared images into memory, which the processes of one machine share."""
        if not (self.cache_path / MANIFEST).is_file():
            raise RuntimeError("call prepare_data() first")
        self._loaded = load_all(self.cache_path)
        self.schema.check(self._loaded.store.concepts)
        self._store = self._loaded.store
        self._loaded.store.strengths = self.strengths()
        self._partitions.clear()

    def describe(self) -> dict[str, Any]:
        """Plain JSON: the recipe, sizes of the partitions, marginals of the training concepts, fingerprints."""
        manifest = self._ready.manifest
        return {
            **super().describe(),
            "storage_bytes": manifest.num_bytes,
            "num_shards": len(manifest.shards),
            "pixel_hash": manifest.pixel_hash,
            "recipe": dict(manifest.recipe),
            "made_with": dict(manifest.made_with),
            **self.extras(),
        }

    def verify(self) -> dict[str, Any]:
        """Checks every shard against its checksums, and makes evenly spread images again.

        Differences despite correct checksums point to another processor or library version, or to a change of the
        renderer without a new version.

        Raises:
            BenchmarkError: if the dataset is not prepared, or its images cannot be made.
        """
        folder = self.cache_path
        require_prepared(folder, name=self.spec.name, fingerprint=self.fingerprint)
        report = verify_store(
            folder,
            self.images,
            num_verified=self.num_verified,
            fingerprint=self.fingerprint,
            workers=self.workers if self.parallel else 0,
            progress=self.progress,
        )
        about = {"name": self.spec.name, "source": self.spec.source, "fingerprint": self.fingerprint}
        return {**about, "path": str(folder), **report}

    def import_from(self, folder: Path) -> dict[str, Any]:
        """Reads an export of these images into the cache instead of making them.

        Raises:
            BenchmarkError: if it is an export of another dataset, incomplete or damaged.
        """
        return import_store(
            folder,
            self.cache_path,
            self.images,
            name=self.spec.name,
            fingerprint=self.fingerprint,
            schema=self.schema.to_dict(),
            workers=self.workers if self.parallel else 0,
            progress=self.progress,
        )

    @property
    def _ready(self) -> Loaded:
        if self._loaded is None:
            raise RuntimeError("call prepare_data() and setup() first")
        return self._loaded


def load_all(folder: Path) -> Loaded:
    """The images of a finished store, mapped into memory, which the processes of one machine share.

    Of the checksums only the cheap ones are checked: the manifest's own, and the size of every file.

    Raises:
        BenchmarkError: if the store is not prepared or of another version, or files are missing or of another size.
    """
    manifest = open_manifest(folder)
    for shard in manifest.shards:
        path = folder / shard.file
        if not path.is_file() or path.stat().st_size != shard.num_bytes:
            raise _unusable(path, manifest)
    parts = [_planes(folder / shard.file, manifest) for shard in manifest.shards]
    masks = [part.masks for part in parts if part.masks is not None]
    store = ByteStore(
        [part.pixels for part in parts],
        torch.from_numpy(np.concatenate([part.concepts for part in parts])),
        image_shape=manifest.image_shape,
        masks=masks or None,
    )
    names = parts[0].columns
    return Loaded(manifest, store, {name: np.concatenate([part.columns[name] for part in parts]) for name in names})


def _planes(path: Path, manifest: Manifest) -> Planes:
    try:
        return decode(path)[0]
    except (ValueError, OSError) as error:
        raise _unusable(path, manifest) from error


def _unusable(path: Path, manifest: Manifest) -> BenchmarkError:
    return BenchmarkError(
        f"{path} is damaged or missing: run `mmvae-bench data prepare {manifest.name}` with the same settings to make "
        "it again"
    )
