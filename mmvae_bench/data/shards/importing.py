"""Reads an export back into the cache, after checking that it is intact and of the dataset requested."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from einops import rearrange

from ...base.errors import BenchmarkError
from ...worlds.recipe import ImageRecipe, Images
from .manifest import is_whole, open_manifest
from .parquet_form import FOLDER, PASSPORT, ExportPassport, features, from_png, mask_names
from .prepare import prepare_store, store_lock


@dataclass
class ParquetImages(ImageRecipe):
    """The images of an export as a recipe: made by reading them.

    Args:
        folder: Folder of the export.
        passport: Its metadata.
    """

    folder: Path
    passport: ExportPassport

    def __post_init__(self) -> None:
        self.num_images = self.passport.num_images
        self.image_shape = self.passport.image_shape
        self.num_attributes = len(self.passport.schema)
        self.num_masks = self.passport.num_masks

    def describe(self) -> dict[str, Any]:
        """The description of the recipe that made the images."""
        return dict(self.passport.recipe or {})

    @cached_property
    def files(self) -> list[str]:
        """The Parquet files, in order."""
        return sorted(map(str, (self.folder / FOLDER).glob("*.parquet")))

    def make(self, start: int, stop: int) -> Images:
        """Reads the row groups that hold the images.

        Raises:
            BenchmarkError: if images are missing, duplicated, or not pictures of the right shape.
        """
        import pyarrow as pa
        import pyarrow.dataset as ds

        wanted = (ds.field("index") >= start) & (ds.field("index") < stop)
        _, height, width = self.image_shape
        try:
            table = ds.dataset(self.files, format="parquet").to_table(filter=wanted).sort_by("index")
            if table.column("index").to_pylist() != list(range(start, stop)):
                raise ValueError("some are missing or duplicated")
            pictures = [from_png(row["bytes"], self.image_shape) for row in table.column("image").to_pylist()]
            masks = [
                [from_png(row["bytes"], (1, height, width))[0] > 0 for row in table.column(name).to_pylist()]
                for name in mask_names(self.num_masks)
            ]
        except (pa.ArrowException, ValueError, TypeError, LookupError, OSError, NotImplementedError) as error:
            raise BenchmarkError(
                f"{self.folder}: images {start:,} to {stop - 1:,}: {error}; export it again"
            ) from error
        concepts = [table.column(name).to_numpy() for name in self.passport.schema]
        columns = {name: _scalars(table, **about) for name, about in self.passport.columns.items()}
        pixels = rearrange(pictures, "n c h w -> n h w c")
        return Images(pixels, np.stack(concepts, 1), np.stack(masks, 1) if masks else None, columns)


def _scalars(table: Any, *, name: str, type: str) -> np.ndarray:
    return np.array(table.column(name).to_pylist(), None if type == "string" else type)


def import_store(
    source: Path,
    folder: Path,
    recipe: ImageRecipe,
    *,
    name: str,
    fingerprint: str,
    schema: dict[str, list[str]],
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Makes a store from an export, or compares the export with an existing store.

    Args:
        source: Folder of the export.
        folder: Folder of the store.
        recipe: Recipe of the images.
        name: Name of the dataset.
        fingerprint: Fingerprint of the recipe.
        schema: Attribute names to value names.
        workers: Processes; see :func:`mmvae_bench.data.shards.prepare.prepare_store`.
        progress: Called with the numbers of images read and in all.

    Returns:
        Plain JSON: name, fingerprint, path, number of images, pixel hash, and whether the store already existed.

    Raises:
        BenchmarkError: if the export is of another dataset, incomplete or damaged. The store is then unchanged.
    """
    passport = ExportPassport.read(source)
    images = ParquetImages(source.resolve(), passport)
    _check(images, recipe, name=name, fingerprint=fingerprint, schema=schema)
    there = is_whole(folder, fingerprint=fingerprint)
    read = folder.with_name(folder.name + ".import")
    if not there:
        try:
            prepare_store(read, images, name=name, fingerprint=fingerprint, workers=workers, progress=progress)
            _compare(read, passport, source)
            with store_lock(folder):
                shutil.rmtree(folder, ignore_errors=True)
                os.rename(read, folder)
        finally:
            shutil.rmtree(read, ignore_errors=True)
    else:
        _compare(folder, passport, source)
    return {
        "name": name,
        "fingerprint": fingerprint,
        "num_images": passport.num_images,
        "pixel_hash": passport.pixel_hash,
        "path": str(folder),
        "already_there": there,
    }


def _check(
    images: ParquetImages, recipe: ImageRecipe, *, name: str, fingerprint: str, schema: dict[str, list[str]]
) -> None:
    """Raises BenchmarkError unless an export is of this dataset and has every column and row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    passport, folder = images.passport, images.folder
    told: dict[str, Any] = {**(passport.recipe or {}), "dataset": passport.name, "attributes": passport.schema}
    asked: dict[str, Any] = {**json.loads(json.dumps(recipe.describe())), "dataset": name, "attributes": schema}
    told |= {"image_shape": list(passport.image_shape), "num_images": passport.num_images}
    asked |= {"image_shape": list(recipe.image_shape), "num_images": recipe.num_images}
    keys = {**told, **asked}
    differences = [
        f"  {key}: {told.get(key)} in the export, {asked.get(key)} requested"
        for key in keys
        if told.get(key) != asked.get(key)
    ]
    if differences or passport.fingerprint != fingerprint:
        raise BenchmarkError(
            f"{folder} contains other images: fingerprint {passport.fingerprint}, expected {fingerprint}; give the "
            "dataset and the --set options that were exported\n" + "\n".join(differences)
        )
    expected = features(schema, passport.num_masks, passport.columns).arrow_schema
    num_rows = 0
    for file in images.files:
        try:
            about = pq.ParquetFile(pa.OSFile(file))
            columns = about.schema_arrow
        except (pa.ArrowException, ValueError, LookupError, OSError) as error:
            raise BenchmarkError(f"{file} is damaged or not a Parquet file ({error}); export it again") from error
        if not columns.equals(expected) or (columns.metadata != expected.metadata):
            raise BenchmarkError(f"{file} does not have the columns that {PASSPORT} lists; export it again")
        num_rows += about.metadata.num_rows
    if num_rows != passport.num_images:
        raise BenchmarkError(
            f"{folder} contains {num_rows:,} images, but {PASSPORT} says {passport.num_images:,}; export it again"
        )


def _compare(folder: Path, passport: ExportPassport, source: Path) -> None:
    manifest = open_manifest(folder)
    if manifest.pixel_hash != passport.pixel_hash:
        raise BenchmarkError(
            f"the pixels in {source} do not match {PASSPORT}: pixel hash {manifest.pixel_hash}, expected "
            f"{passport.pixel_hash}; export it again"
        )
    if manifest.label_hash != passport.label_hash:
        raise BenchmarkError(f"the labels in {source} do not match {PASSPORT}: export it again")
