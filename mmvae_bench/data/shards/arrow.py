"""One shard: an Arrow stream file as Hugging Face ``datasets`` memory-maps it, with its own passport.

Columns: ``index`` int64, ``image`` binary (raw planes), ``concept`` fixed list of int16, ``mask`` binary (bits) where
there are masks, and the scalars. After the end of the stream, where no reader looks, stands the sha256 of what is
before it: a shard without a manifest is checked before anything parses it. Written with pyarrow alone, which starts
sooner in each process than ``datasets`` does; ``datasets.Dataset.from_file`` reads it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from .hashing import add_hashes, label_digests, pixel_digests
from .planes import RESERVED, Planes

FORMAT = 1
"""Version of the files of a store; one of another version is made again."""

_KEY = b"mmvae_bench"
_OFFSET_LIMIT = 2**31 - 1  # offsets of a binary column are 32-bit


@dataclass(frozen=True)
class Passport:
    """What a shard says of itself, in its metadata.

    Attributes:
        format: Version of the file format.
        fingerprint: Of the recipe.
        start: Number of the first image.
        stop: Number after the last.
        pixel_hash: See :mod:`mmvae_bench.data.shards.hashing`.
        label_hash: The same of concepts, scalars and masks.
    """

    format: int
    fingerprint: str
    start: int
    stop: int
    pixel_hash: str
    label_hash: str


def make_passport(planes: Planes, *, start: int, fingerprint: str) -> Passport:
    """The passport of images that begin with number ``start``."""
    numbers = range(start, start + len(planes))
    pixels, labels = pixel_digests(planes, numbers), label_digests(planes, numbers)
    return Passport(FORMAT, fingerprint, start, numbers.stop, add_hashes(pixels), add_hashes(labels))


def encode(planes: Planes, passport: Passport) -> bytes:
    """The content of a shard's file: equal images give equal bytes.

    Raises:
        ValueError: where the images take 2 GiB or more.
    """
    columns: dict[str, pa.Array] = {
        "index": pa.array(np.arange(passport.start, passport.stop)),
        "image": _binary(planes.pixels),
        "concept": pa.FixedSizeListArray.from_arrays(
            pa.array(np.ascontiguousarray(planes.concepts).reshape(-1)), planes.concepts.shape[1]
        ),
    }
    if planes.masks is not None:
        columns["mask"] = _binary(planes.masks)
    columns |= {name: pa.array(values) for name, values in planes.columns.items()}
    table = pa.table(columns).replace_schema_metadata({_KEY: json.dumps(asdict(passport), sort_keys=True)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    stream = sink.getvalue()
    return memoryview(stream).tobytes() + hashlib.sha256(stream).digest()


def is_sealed(content: bytes) -> bool:
    """Whether a shard's content ends with its own sha256: whether it is what was written, whatever it is."""
    size = len(content) - hashlib.sha256().digest_size
    return size > 0 and hashlib.sha256(memoryview(content)[:size]).digest() == content[size:]


def decode(source: Path | bytes) -> tuple[Planes, Passport]:
    """Images and passport of a shard: of a file, mapped into memory, or of its bytes.

    Raises:
        ValueError: where it is no shard, or of another format.
        OSError: where the file cannot be read.
    """
    try:
        stream = pa.memory_map(str(source)) if isinstance(source, Path) else pa.BufferReader(source)
        table: pa.Table = pa.ipc.open_stream(stream).read_all()
        passport = Passport(**json.loads((table.schema.metadata or {})[_KEY]))
        if passport.format != FORMAT:
            raise ValueError(f"format {passport.format}, not {FORMAT}")
        if table.num_rows != passport.stop - passport.start or table.column("image").num_chunks != 1:
            raise ValueError("its rows are not those it names")
        names = table.column_names
        concept = table.column("concept").chunk(0)
        return Planes(
            _rows(table.column("image").chunk(0)),
            concept.flatten().to_numpy().reshape(len(concept), -1),
            _rows(table.column("mask").chunk(0)) if "mask" in names else None,
            {name: scalars(table.column(name)) for name in names if name not in RESERVED},
        ), passport
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError, TypeError) as error:
        raise ValueError(f"not a shard of images ({error})") from error


def scalars(column: pa.ChunkedArray) -> np.ndarray:
    """A column of scalars as numpy: text as text, not as objects."""
    values: np.ndarray = column.to_numpy()
    return values.astype(str) if values.dtype == object else values


def _binary(rows: np.ndarray) -> pa.Array:
    """Byte[n, K] as n values of a binary column, not copied."""
    if rows.nbytes > _OFFSET_LIMIT:
        raise ValueError(f"{len(rows)} images of {rows.shape[1]} bytes are too many for one shard: make shards smaller")
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * np.int32(rows.shape[1])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(rows))]
    return pa.Array.from_buffers(pa.binary(), len(rows), buffers)


def _rows(values: pa.Array) -> np.ndarray:
    """The inverse of :func:`_binary`, not copied; raises ValueError unless the values are of one length."""
    _, offset_buffer, data = values.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32, len(values) + 1)
    if not len(values) or (np.diff(offsets) != offsets[1]).any() or offsets[0]:
        raise ValueError("its images are not of one size")
    return np.frombuffer(data, np.uint8, int(offsets[-1])).reshape(len(values), -1)
