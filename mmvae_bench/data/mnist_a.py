"""MNIST-A: handwritten digits with scale, orientation and location (Vedantam et al. 2018, Appendix A.2).

Shapes: N image, R row, A attribute, S side of the canvas, K packed byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..base.canonical import content_hash
from ..base.errors import ConfigError, Problem
from ..base.files import cache_root, read_json
from ..base.heartbeat import beat
from ..concepts import compositional_split
from ..specs.built_in.datasets import MnistASpec
from ..worlds.mnist_a import GENERATOR_VERSION, draw_geometry, render
from .base import Progress
from .cache import META, build_once, checked
from .origin import Origin
from .sources.digits import Digits, DigitSource, digit_source
from .splits import FRACTIONS, PartitionedDataModule, compositional_partition, random_partition
from .store import BitStore, pack_bits

CHUNK = 256
"""Images rendered at a time: the fastest batch size measured."""


class MnistAImages:
    """The images that a spec describes. Row ``i * replicas + r`` is replica r of the i-th source digit used.

    A picture depends on the seed, on the digit's index in its source and on r alone.

    Args:
        spec: What to make.
        source: Where the digits come from; read when images are made, not kept in memory.
    """

    def __init__(self, spec: MnistASpec, source: DigitSource) -> None:
        self.spec, self.source = spec, source

    @property
    def fingerprint(self) -> str:
        """Hash of the recipe, the generator's version and the checksum of the source."""
        return content_hash(
            {"recipe": self.spec.recipe(), "generator": GENERATOR_VERSION, "source": self.source.checksum}
        )

    def identity(self, rows: Tensor, *, num_digits: int) -> tuple[Tensor, Tensor]:
        """Index in the source, and replica, of each row: Long[R] to two of Long[R].

        Args:
            rows: Long[R].
            num_digits: Number of digits in the source. ``num_sources`` of them are used, evenly spread.
        """
        used = self.num_used(num_digits)
        return rows // self.spec.replicas * num_digits // used, rows % self.spec.replicas

    def num_used(self, num_digits: int) -> int:
        """How many of the source's digits are used; raises ConfigError if there are too few."""
        wanted = num_digits if self.spec.num_sources is None else self.spec.num_sources
        if wanted > num_digits:
            raise ConfigError(
                [Problem(f"source {self.source.name} has only {num_digits} digits", ("num_sources",), str(wanted))]
            )
        return wanted

    def make(self, rows: Tensor, *, digits: Digits) -> tuple[np.ndarray, np.ndarray]:
        """The packed images (Byte[R, K]) and the concepts (Byte[R, A]) of Long[R], from the digits of the source."""
        source, replica = self.identity(rows, num_digits=len(digits))
        geometry = draw_geometry(source, replica, seed=self.spec.seed)
        images = render(digits.images[source], geometry, canvas=self.spec.canvas)
        concepts = torch.cat([digits.labels[source, None], geometry.concept], 1)
        return pack_bits(images.flatten(1)).numpy(), concepts.byte().numpy()

    def chunks(
        self, rows: Tensor, *, digits: Digits, progress: Progress | None = None
    ) -> Iterator[tuple[Tensor, np.ndarray, np.ndarray]]:
        """Makes rows in chunks: yields the rows, their packed images and their concepts."""
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            yield chunk, *self.make(chunk, digits=digits)
            beat()
            if progress is not None:
                progress(start + len(chunk), len(rows))

    def write(self, folder: Path, progress: Progress | None = None) -> dict[str, Any]:
        """Writes images.npy (Byte[N, K]) and concepts.npy (Byte[N, A]) by chunks; returns what describes them.

        Raises:
            SourceError: if the digits are missing or damaged.
        """
        digits = self.source.load()
        num_images = self.num_used(len(digits)) * self.spec.replicas
        num_bytes = (self.spec.canvas**2 + 7) // 8
        images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (num_images, num_bytes))
        concepts = np.lib.format.open_memmap(folder / "concepts.npy", "w+", np.uint8, (num_images, 4))
        pixels = hashlib.sha256()
        for rows, packed, labels in self.chunks(torch.arange(num_images), digits=digits, progress=progress):
            images[rows.numpy()], concepts[rows.numpy()] = packed, labels
            pixels.update(packed.tobytes())
        images.flush()
        concepts.flush()
        return {
            "name": self.spec.name,
            "recipe": self.spec.recipe(),
            "generator": GENERATOR_VERSION,
            "fingerprint": self.fingerprint,
            "pixel_hash": pixels.hexdigest(),
            "source": self.source.name,
            "source_md5": self.source.checksum,
            "num_digits": len(digits),
            "made_with": {"torch": torch.__version__, "numpy": np.__version__},
        }

    def count_different(
        self, rows: Tensor, images: np.ndarray, concepts: np.ndarray, progress: Progress | None = None
    ) -> int:
        """How many of Long[R], made again, differ from the stored images (Byte[N, K]) or concepts (Byte[N, A])."""
        return sum(
            int(((images[chunk.numpy()] != packed).any(1) | (concepts[chunk.numpy()] != labels).any(1)).sum())
            for chunk, packed, labels in self.chunks(rows, digits=self.source.load(), progress=progress)
        )


NUM_VERIFIED = 20_000
"""Images that :meth:`MnistADataModule.verify` makes again; all of a smaller dataset."""


class MnistADataModule(PartitionedDataModule):
    """The images of MNIST-A, rendered once into the cache and kept as bits.

    Args:
        spec: What to make and how to split it.
        source: The digits; by default those that the spec names.
        progress: Called while images are made, with the numbers done and in all.
    """

    spec: MnistASpec
    too_small = "raise num_sources or replicas"

    def __init__(
        self, spec: MnistASpec, *, source: DigitSource | None = None, progress: Progress | None = None
    ) -> None:
        super().__init__(spec)
        self.images = MnistAImages(spec, source or digit_source(spec.source))
        self.progress = progress
        self.meta: dict[str, Any] = {}

    @property
    def fingerprint(self) -> str:
        """Hash of the recipe, the generator's version and the checksum of the source."""
        return self.images.fingerprint

    @property
    def cache_path(self) -> Path:
        """``datasets/mnist_a-<fingerprint>`` in the cache: images.npy, concepts.npy, meta.json."""
        return cache_root() / "datasets" / f"{self.spec.name}-{self.fingerprint}"

    def prepare_data(self) -> None:
        """Renders the images that are missing from the cache or damaged there; one process does it for all.

        Raises:
            SourceError: if the digits are missing or damaged. Digits that were rendered before may be missing.
        """
        build_once(self.cache_path, lambda folder: self.images.write(folder, self.progress))
        if (files := self.images.source.user_files) is not None:
            # Their content is known beforehand, so reading them is all: it raises where a new cache would refuse them.
            origin = Origin(files)
            origin.made(self.cache_path, ())
            origin.remember(self.cache_path)

    def setup(self, stage: str | None = None) -> None:
        """Maps the prepared images into memory, which the processes of one machine share."""
        folder = self.cache_path
        if not (folder / META).is_file():
            raise RuntimeError("call prepare_data() first")
        self.meta = read_json(folder / META)
        images, concepts = (torch.from_numpy(array) for array in _arrays(folder))
        self._store = BitStore(images, concepts, image_shape=self.image_shape)
        self._partitions.clear()

    def describe(self) -> dict[str, Any]:
        """Plain JSON: the recipe, sizes of the partitions, marginals of the training concepts, fingerprints."""
        return {
            **super().describe(),
            "source": self.meta["source"],
            "storage_bytes": sum(entry["bytes"] for entry in self.meta["files"].values()),
            **{key: self.meta[key] for key in ("pixel_hash", "recipe", "generator", "source_md5", "made_with")},
        }

    def verify(self) -> dict[str, Any]:
        """Checks the sha256 of the files and of the pixels, and makes images again: all of them, or evenly spread ones.

        Differences despite correct checksums point to another processor or library version, or to a change of the
        generator without a new version.

        Raises:
            BenchmarkError: if the dataset is not prepared, or its source cannot be read.
        """
        folder = self.cache_path
        spec = self.spec
        report = checked(folder, name=spec.name, source=spec.source, fingerprint=self.fingerprint)
        if not report["ok"]:
            return {**report, "pixel_hash": None, "num_images": None, "compared": 0, "different": None}
        meta, (images, concepts) = read_json(folder / META), _arrays(folder)
        pixel_hash = hashlib.sha256(images.data).hexdigest()
        compared = min(len(images), NUM_VERIFIED)
        rows = torch.arange(compared) * len(images) // compared
        different = self.images.count_different(rows, images, concepts, self.progress)
        return {
            **report,
            "ok": not different and pixel_hash == meta["pixel_hash"] and meta["fingerprint"] == self.fingerprint,
            "pixel_hash": pixel_hash,
            "num_images": len(images),
            "compared": compared,
            "different": different,
        }

    def assign(self, split: str, seed: int) -> Tensor:
        """Byte[N]: by image, by source digit or by concept."""
        rows = torch.arange(len(self.store))
        source, replica = self.images.identity(rows, num_digits=self.meta["num_digits"])
        if split == "iid":
            return random_partition(source, replica, seed=seed)
        if split == "iid_disjoint":
            return random_partition(source, seed=seed)
        if split == "comp":
            return compositional_partition(self.schema, self.store.concepts, seed=seed)
        raise ValueError(f"unknown split {split!r}; choices: iid, iid_disjoint, comp")

    def combinations(self) -> dict[str, list[list[int]]] | None:
        """The compositional split, in its own order; None for other splits."""
        if self.spec.split != "comp":
            return None
        parts = compositional_split(self.schema, seed=self.spec.split_seed, fractions=FRACTIONS)
        return {name: part.tolist() for name, part in parts.items()}


def _arrays(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images and concepts, mapped from their files. Nothing writes to them; torch requires them to be writable."""
    images, concepts = (np.load(folder / name, mmap_mode="c") for name in ("images.npy", "concepts.npy"))
    return images, concepts
