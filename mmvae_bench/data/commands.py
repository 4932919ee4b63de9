"""What ``mmvae-bench data`` does, for any dataset of the registry. Results are plain JSON; nothing is printed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.errors import BenchmarkError
from ..specs.components import DatasetSpec
from .base import ConceptDataModule, Progress

if TYPE_CHECKING:
    from .shards.export import Card


def prepare(spec: DatasetSpec, *, workers: int | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Makes the dataset, unless it is already there."""
    started = time.perf_counter()
    data = _ready(spec, progress, workers)
    return {
        "name": spec.name,
        "source": spec.source,
        "fingerprint": data.fingerprint,
        "num_images": len(data.store),
        "path": None if data.cache_path is None else str(data.cache_path),
        "seconds": round(time.perf_counter() - started, 3),
        **_absent(data),
    }


def describe(spec: DatasetSpec, *, workers: int | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """What is in the dataset; makes it if needed."""
    data = _ready(spec, progress, workers)
    return {**data.describe(), **_absent(data)}


def preview(
    spec: DatasetSpec,
    *,
    out: Path,
    num_images: int,
    partition: str = "train",
    masks: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Writes a labelled contact sheet; makes the dataset if needed, or a part of it; see
    :meth:`ConceptDataModule.of_sheet`. ``of_first`` is how many images that part has."""
    from .preview import preview as write
    from .sheets import check_picture_name

    check_picture_name(out)
    _check_images(spec)
    part = _module(spec, progress, workers).of_sheet(partition, num_images)
    shown = write(_ready(part, progress, workers), out, num_images=num_images, partition=partition, masks=masks)
    return shown if part == spec else {**shown, "of_first": part.most_images()}


def verify(spec: DatasetSpec, *, workers: int | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Compares the prepared dataset with its checksums and with images made again; ``ok`` says whether everything
    matches."""
    report: dict[str, Any] = _module(spec, progress, workers).verify()
    return report


def export(
    spec: DatasetSpec,
    *,
    out: Path,
    workers: int | None = None,
    progress: Progress | None = None,
    card: Card | None = None,
) -> dict[str, Any]:
    """Writes the dataset as Parquet files, with a card if there is one to write; makes the dataset if needed."""
    from .shards.export import export as write

    _check_images(spec)
    return write(_ready(spec, progress, workers), out, progress=progress, card=card)


def import_from(
    spec: DatasetSpec, *, folder: Path, workers: int | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Reads an export into the cache instead of making the images."""
    data = _module(spec, progress, workers)
    if not data.parallel:
        raise BenchmarkError(f"{spec.name} cannot be imported: `mmvae-bench data prepare {spec.name}` makes it quickly")
    from .sharded import ShardedDataModule

    assert isinstance(data, ShardedDataModule)
    return data.import_from(folder)


def _absent(data: ConceptDataModule) -> dict[str, Any]:
    """``absent_in_training``: the values that no training image has, by attribute; nothing where there are none."""
    from .absent import absent_values

    if data.spec.domain != "images":
        return {}
    absent = absent_values(data.schema, data.concepts("train").cpu())
    return {"absent_in_training": absent} if absent else {}


def _check_images(spec: DatasetSpec) -> None:
    """Raises BenchmarkError for papers; a graph says for itself that it is taken whole."""
    if spec.domain == "papers":
        raise BenchmarkError(f"{spec.name} holds words and links of papers: it has no images to show or write")


def _ready(spec: DatasetSpec, progress: Progress | None, workers: int | None) -> ConceptDataModule:
    data = _module(spec, progress, workers)
    data.prepare_data()
    data.setup()
    return data


def _module(spec: DatasetSpec, progress: Progress | None, workers: int | None) -> ConceptDataModule:
    data = spec.build()
    data.progress = progress
    if workers is not None and not data.parallel:
        raise BenchmarkError(f"{spec.name} is always made by a single process: leave out --workers")
    data.workers = workers
    return data
