"""MNIST-A: handwritten digits with scale, orientation and location (Vedantam et al. 2018, Appendix A.2).

Shapes: N image, R row, A attribute.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..base.errors import BenchmarkError
from ..base.files import cache_root, read_json
from ..concepts import compositional_split
from ..specs.built_in.datasets import MnistASpec
from .cache import META, build_once, inspect
from .mnist_a_images import MnistAImages, Progress
from .partitions import PartitionedDataModule
from .sources import DigitSource, digit_source
from .splits import FRACTIONS, compositional_partition, random_partition
from .store import BitStore

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
        """Renders the images where they are not in the cache, or not intact there; one process does it for all.

        Raises:
            SourceError: where the digits are missing or damaged.
        """
        build_once(self.cache_path, lambda folder: self.images.write(folder, self.progress))

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

        Differences under right checksums point to another processor or library version, or to a change of the generator
        without a new version.

        Raises:
            BenchmarkError: where the dataset is not prepared, or its source cannot be read.
        """
        folder = self.cache_path
        if not folder.is_dir():
            raise BenchmarkError(f"{self.spec.name} with fingerprint {self.fingerprint} is not prepared: no {folder}")
        files = inspect(folder)
        report: dict[str, Any] = {
            "name": self.spec.name,
            "source": self.spec.source,
            "fingerprint": self.fingerprint,
            "path": str(folder),
            "files": [
                {"file": state.name, "ok": state.ok, "expected": state.expected, "found": state.found}
                for state in files
            ],
        }
        if not all(state.ok for state in files):
            return {**report, "ok": False, "pixel_hash": None, "num_images": None, "compared": 0, "different": None}
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
        raise ValueError(f"no split is called {split!r}: iid, iid_disjoint, comp")

    def combinations(self) -> dict[str, list[list[int]]] | None:
        """The compositional split, in its own order; None for the other splits."""
        if self.spec.split != "comp":
            return None
        parts = compositional_split(self.schema, seed=self.spec.split_seed, fractions=FRACTIONS)
        return {name: part.tolist() for name, part in parts.items()}


def _arrays(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images and concepts, mapped from their files: written to by nobody, but writable because torch wants that."""
    images, concepts = (np.load(folder / name, mmap_mode="c") for name in ("images.npy", "concepts.npy"))
    return images, concepts
