"""dSprites: the factor grid, drawn when it is needed, or the original images.

Shapes: N image, B batch, S side of an image in pixels, K packed byte.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..base import randomness
from ..base.canonical import content_hash
from ..base.files import cache_root, read_json
from ..base.heartbeat import beat
from ..base.seeds import derive_seed
from ..concepts import Schema
from ..specs.built_in.datasets import NUM_DSPRITES, SPRITE_FACTORS, DSpritesSpec
from ..worlds.dsprites import GENERATOR_VERSION, NUM_PLACES, SIZES, Shifts, factors, same_sprite
from .batch import Batch
from .cache import META, build_once, checked
from .drawn import DrawnDataModule
from .sources.dsprites_file import DSpritesFile
from .splits import combinations_of, observed_partition, random_partition
from .store import BitStore


class GridStore:
    """Images of the grid on one device; each batch is drawn again.

    Args:
        numbers: Long[N], their places in the grid, on the device.
    """

    def __init__(self, numbers: Tensor) -> None:
        self.numbers, self.concepts = numbers, factors(numbers)
        self._shifts = Shifts(numbers.device)

    def __len__(self) -> int:
        return len(self.numbers)

    def batch(self, rows: Tensor) -> Batch:
        """The images of ``rows`` (Long[B]), as floats 0 and 1; the mask is where they are 1."""
        beat()
        rows = rows.to(self.numbers.device)
        pixels = self._shifts.draw(self.numbers[rows])[:, None]
        return Batch(pixels.float(), self.concepts[rows], rows, mask=pixels.bool())

    def to(self, device: torch.device | str) -> GridStore:
        """The store on another device; itself if it is already there."""
        return self if self.numbers.device == torch.device(device) else GridStore(self.numbers.to(device))


def chosen(num_images: int | None, *, num_all: int = NUM_DSPRITES) -> Tensor:
    """The places in the grid of the images that are used, ascending: Long[N]. A smaller number is part of a larger."""
    numbers = torch.arange(num_all)
    if num_images is None or num_images >= num_all:
        return numbers
    lots = randomness.uniform(randomness.keys(derive_seed("dsprites subset"), numbers), 1)[:, 0]
    return lots.argsort()[:num_images].sort().values


def sprite_partition(numbers: Tensor, *, schema: Schema, seed: int) -> Tensor:
    """The partition of the sprite of each image, wherever it stands: Long[N] to Byte[N].

    Sprites with equal bitmaps count as the first of them, for the drawn images and the original ones alike: whoever
    saw one in training has seen the other.
    """
    first = same_sprite()
    concepts = factors(first * NUM_PLACES**2)[:, :SPRITE_FACTORS]
    sprite_schema = Schema(schema.attributes[:SPRITE_FACTORS])
    nothing = torch.empty(0, SPRITE_FACTORS, dtype=torch.long)
    partition = observed_partition(sprite_schema, concepts, held_out=nothing, seed=seed)
    return partition[numbers.cpu() // NUM_PLACES**2]


class DSpritesDataModule(DrawnDataModule):
    """The grid, or part of it.

    Args:
        spec: Which images, from where, and how to split them.
        file: The original file; by default the one under the data root, looked for when it is needed.
    """

    spec: DSpritesSpec
    generator = GENERATOR_VERSION
    too_small: ClassVar[str] = "raise num_images"

    def __init__(self, spec: DSpritesSpec, *, file: DSpritesFile | None = None) -> None:
        super().__init__(spec)
        self.file = file or DSpritesFile()
        self.sizes = SIZES if self.is_drawn else self.file.sizes
        self.numbers = chosen(spec.num_images, num_all=math.prod(self.sizes))

    @property
    def is_drawn(self) -> bool:
        """Whether the images are drawn here."""
        return self.spec.source == "drawn"

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the recipe, and of the generator's version or the md5 of the original file."""
        made = {"generator": GENERATOR_VERSION} if self.is_drawn else {"source": self.file.checksum}
        return content_hash({"recipe": self.spec.recipe(), **made})

    @property
    def cache_path(self) -> Path | None:
        """``datasets/dsprites-<fingerprint>`` in the cache: the original images, as bits. None if they are drawn."""
        return None if self.is_drawn else cache_root() / "datasets" / f"{self.spec.name}-{self.fingerprint}"

    def prepare_data(self) -> None:
        """Reads the original file into the cache, once; nothing to do if the images are drawn.

        Raises:
            SourceError: if the file is missing, damaged or another one.
        """
        if (folder := self.cache_path) is not None:
            build_once(folder, self._write)

    def setup(self, stage: str | None = None) -> None:
        """Draws the sprites, or maps the prepared images into memory."""
        folder = self.cache_path
        if folder is None:
            self._store = GridStore(self.numbers)
        elif not (folder / META).is_file():
            raise RuntimeError("call prepare_data() first")
        else:
            packed = torch.from_numpy(np.load(folder / "images.npy", mmap_mode="c"))
            self._store = BitStore(packed, factors(self.numbers, self.sizes), image_shape=self.image_shape)
        self._partitions.clear()

    def assign(self, split: str, seed: int) -> Tensor:
        """See :meth:`PartitionedDataModule.assign`."""
        if split == "iid":
            return random_partition(self.numbers, seed=seed)
        if split == "comp":
            return sprite_partition(self.numbers, schema=self.schema, seed=seed)
        raise ValueError(f"unknown split {split!r}; choices: iid, comp")

    def combinations(self) -> dict[str, list[list[int]]] | None:
        """The sprites of each partition, [shape, scale, orientation], if the split holds out sprites."""
        if self.spec.split != "comp":
            return None
        partition = self._partition(self.spec.split, self.spec.split_seed).cpu()
        return combinations_of(factors(self.numbers)[:, :SPRITE_FACTORS], partition)

    def describe(self) -> dict[str, Any]:
        """As of other datasets; with what the numbers in ``combinations`` mean, and how many sprites differ."""
        about = super().describe()
        about["combinations_of"] = None if self.spec.split != "comp" else list(self.schema.names[:SPRITE_FACTORS])
        if (folder := self.cache_path) is None:
            return {**about, "distinct_sprites": len(same_sprite().unique())}
        files = read_json(folder / META)["files"]
        del about["generator"]
        return {
            **about,
            "source_md5": self.file.checksum,
            "storage_bytes": sum(entry["bytes"] for entry in files.values()),
        }

    def verify(self) -> dict[str, Any]:
        """Draws images alone and together; of the original ones, checks the sha256 of the prepared file, and compares
        the images with those of the user's file.

        Raises:
            BenchmarkError: if the dataset is not prepared, or the user's file cannot be read.
        """
        if (folder := self.cache_path) is None:
            return super().verify()
        spec = self.spec
        report = checked(folder, name=spec.name, source=spec.source, fingerprint=self.fingerprint)
        if not report["ok"]:
            return {**report, "compared": 0, "different": None, "num_images": None, "pixel_hash": None}
        self.setup()
        stored, start, different = np.load(folder / "images.npy", mmap_mode="r"), 0, 0
        for packed in self._packed():
            different += int((stored[start : start + len(packed)] != packed).any(1).sum())
            start += len(packed)
        return {
            **report,
            "ok": not different,
            "pixel_hash": self.pixel_hash,
            "num_images": len(stored),
            "compared": start,
            "different": different,
        }

    def _write(self, folder: Path) -> dict[str, Any]:
        """Writes images.npy, Byte[N, K]; returns what describes it."""
        num_bytes = self.file.side**2 // 8
        shape = (len(self.numbers), num_bytes)
        images, start = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, shape), 0
        for packed in self._packed():
            images[start : start + len(packed)] = packed
            start += len(packed)
            if self.progress is not None:
                self.progress(start, len(self.numbers))
        images.flush()
        return {"name": self.spec.name, "recipe": self.spec.recipe(), "source_md5": self.file.checksum}

    def _packed(self) -> Iterator[np.ndarray]:
        """The chosen images of the file as bits, in parts: Byte[n, K]."""
        numbers, start = self.numbers.numpy(), 0
        for images in self.file.images():
            beat()
            first, last = np.searchsorted(numbers, (start, start + len(images)))
            yield np.packbits(images[numbers[first:last] - start].reshape(last - first, self.file.side**2), axis=1)
            start += len(images)
