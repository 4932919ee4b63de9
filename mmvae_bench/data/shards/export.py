"""Writes the images of a dataset as Parquet files that ``datasets.load_dataset`` reads."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from einops import rearrange

from ...base.errors import BenchmarkError
from ...base.files import write_text
from ...runs.names import CARD_FILE
from ..base import PARTITIONS, ConceptDataModule
from ..batch import Batch
from .parquet_form import (
    FOLDER,
    FORMAT,
    SPLITS,
    ExportPassport,
    column_names,
    features,
    mask_names,
    to_png,
    value_type,
)
from .shard import Planes, add_hashes, label_digests, pixel_digests

_ROWS_OF_GROUP = 1000


Card = Callable[[ExportPassport], str]
"""The text of a card from what an export says of itself."""


def export(
    data: ConceptDataModule,
    out: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
    card: Card | None = None,
) -> dict[str, Any]:
    """Writes one Parquet file per partition, in the order of the images, and a passport; completely or not at all.

    Args:
        data: After ``setup()``.
        out: Folder that does not exist yet, or is empty.
        progress: Called with the numbers of images written and in all.
        card: Makes the text of ``README.md``; None: there is none.

    Returns:
        Plain JSON: folder, files, sizes of the partitions, fingerprint, pixel hash.

    Raises:
        BenchmarkError: if the folder is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BenchmarkError(f"{out} is not an empty folder: choose a new one with --out")
    unfinished = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / FOLDER).mkdir(parents=True)
    try:
        passport, files = _write(data, unfinished, progress)
        passport.write(unfinished)
        if card is not None:
            write_text(unfinished / CARD_FILE, card(passport))
        if out.exists():
            out.rmdir()
        unfinished.rename(out)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return {
        "name": passport.name,
        "folder": str(out),
        "files": files,
        "sizes": passport.sizes,
        "fingerprint": passport.fingerprint,
        "pixel_hash": passport.pixel_hash,
    }


def _write(
    data: ConceptDataModule, folder: Path, progress: Callable[[int, int], None] | None
) -> tuple[ExportPassport, list[str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    about = data.describe()
    schema = data.schema.to_dict()
    # As they are stored: with the margin, if there is one.
    example = data.widened(data.store.batch(data.rows("train")[:1]))
    channels, height, width = example.image.shape[1:]
    num_masks = 0 if example.mask is None else example.mask.shape[1]
    names = column_names(data.columns, schema, num_masks)
    columns = {name: {"name": names[name], "type": value_type(values)} for name, values in data.columns.items()}
    arrow_schema = features(schema, num_masks, columns).arrow_schema
    hashes: list[tuple[str, str]] = []
    files, done = [], 0
    for partition in PARTITIONS:
        if not about["sizes"][partition]:
            continue
        files.append(f"{FOLDER}/{SPLITS[partition]}-00000-of-00001.parquet")
        with pq.ParquetWriter(folder / files[-1], arrow_schema) as writer:
            for batch in data.batches(partition, batch_size=_ROWS_OF_GROUP):
                numbers, planes = batch.index.tolist(), _planes(data, data.widened(batch))
                table = _table(
                    planes, numbers, data=data, names=names, num_masks=num_masks, sides={"h": height, "w": width}
                )
                writer.write_table(pa.table(table, schema=arrow_schema))
                hashes.append((add_hashes(pixel_digests(planes, numbers)), add_hashes(label_digests(planes, numbers))))
                done += len(numbers)
                if progress is not None:
                    progress(done, len(data.store))
    pixel_hashes, label_hashes = zip(*hashes, strict=True)
    passport = ExportPassport(
        FORMAT,
        data.spec.name,
        about["source"],
        data.fingerprint,
        schema,
        (channels, height, width),
        num_masks,
        about["sizes"],
        {"name": about["split"], "seed": about["split_seed"]},
        columns,
        about["recipe"],
        add_hashes(pixel_hashes),
        add_hashes(label_hashes),
    )
    return passport, files


def _planes(data: ConceptDataModule, batch: Batch) -> Planes:
    """The images of a batch in the form in which they are hashed."""
    batch = batch.to("cpu")
    numbers = batch.index.numpy()
    masks = None if batch.mask is None else np.packbits(rearrange(batch.mask, "b m h w -> b (m h w)").numpy(), axis=1)
    pixels = rearrange((batch.image * 255).round().byte(), "b c h w -> b (c h w)").numpy()
    columns = {name: values[numbers] for name, values in data.columns.items()}
    return Planes(pixels, batch.concept.numpy().astype(np.int16), masks, columns)


def _table(
    planes: Planes,
    numbers: Sequence[int],
    *,
    data: ConceptDataModule,
    names: dict[str, str],
    num_masks: int,
    sides: dict[str, int],
) -> dict[str, Any]:
    """The columns of a row group, as lists; of images whose height and width are ``h`` and ``w`` of ``sides``."""
    table: dict[str, Any] = {
        "index": numbers,
        "image": list(_pictures(rearrange(planes.pixels, "n (c h w) -> n c h w", **sides))),
        **{name: planes.concepts[:, position].tolist() for position, name in enumerate(data.schema.names)},
    }
    if planes.masks is not None:
        bits = np.unpackbits(planes.masks, axis=1, count=num_masks * sides["h"] * sides["w"]).astype(bool)
        masks = rearrange(bits, "n (m h w) -> n m h w", **sides)
        table |= {name: list(_pictures(masks[:, number])) for number, name in enumerate(mask_names(num_masks))}
    return table | {names[name]: values.tolist() for name, values in planes.columns.items()}


def _pictures(images: np.ndarray) -> Iterator[dict[str, bytes | None]]:
    """The value of an Image feature for each image."""
    return ({"bytes": to_png(image), "path": None} for image in images)
