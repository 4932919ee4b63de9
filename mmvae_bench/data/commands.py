"""What ``mmvae-bench data`` does, for any dataset of the registry. Results are plain JSON; nothing is printed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ..specs.components import DatasetSpec
from .base import ConceptDataModule
from .rendering.image_set import Progress


def prepare(spec: DatasetSpec, *, progress: Progress | None = None) -> dict[str, Any]:
    """Makes the dataset, or finds it made already."""
    started = time.perf_counter()
    data = _ready(spec, progress)
    return {
        "name": spec.name,
        "source": spec.source,
        "fingerprint": data.fingerprint,
        "num_images": len(data.store),
        "path": str(data.cache_path),
        "seconds": round(time.perf_counter() - started, 3),
    }


def describe(spec: DatasetSpec, *, progress: Progress | None = None) -> dict[str, Any]:
    """What is in the dataset; makes it where needed."""
    return _ready(spec, progress).describe()


def preview(
    spec: DatasetSpec, *, out: Path, num_images: int, partition: str = "train", progress: Progress | None = None
) -> dict[str, Any]:
    """Writes a labelled contact sheet; makes the dataset where needed."""
    from .preview import preview as write

    return write(_ready(spec, progress), out, num_images=num_images, partition=partition)


def verify(spec: DatasetSpec, *, progress: Progress | None = None) -> dict[str, Any]:
    """Compares the prepared dataset with its checksums and with images made again; ``ok`` sums it up."""
    report: dict[str, Any] = _module(spec, progress).verify()
    return report


def _ready(spec: DatasetSpec, progress: Progress | None) -> ConceptDataModule:
    data = _module(spec, progress)
    data.prepare_data()
    data.setup()
    return data


def _module(spec: DatasetSpec, progress: Progress | None) -> ConceptDataModule:
    data: ConceptDataModule = spec.build(progress=progress)
    return data
