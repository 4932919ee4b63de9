"""One shard: images as colour planes, hashes of them, and the Arrow file that holds both.

Planes, not interleaved colours, because a training step wants planes: converting 64 images of 64x64 takes a third of
the time.

The hash of a set of images does not depend on how it is divided among files. A part's hash is the sum, modulo 2^256, of
the sha256 of each image with its number (the incremental hash of Bellare and Micciancio 1997, "A new paradigm for
collision-free hashing", with addition). The hash of the whole is the sum of those of its parts, however it is cut and
whichever process made them; it changes if an image is changed, lost, added or moved.

The file is an Arrow stream as Hugging Face ``datasets`` memory-maps it, with a passport in its metadata. Columns:
``index`` int64, ``image`` binary (raw planes), ``concept`` fixed list of int16, ``mask`` binary (bits) where there are
masks, and the scalars. The sha256 of the stream is appended after its end, where no reader looks: a shard without a
manifest is checked before anything parses it. Written with pyarrow alone, which starts sooner in each process than
``datasets`` does; ``datasets.Dataset.from_file`` reads it.

Shapes: n image, C channel, H height, W width, K byte (C x H x W), A attribute, M mask, L mask byte (M x H x W / 8,
rounded up).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from einops import rearrange

from ...base.errors import BenchmarkError
from ...worlds.recipe import ImageRecipe, Images

RESERVED = ("index", "image", "mask", "concept")
"""Column names of a shard that no scalar may have."""


@dataclass(frozen=True)
class Planes:
    """Consecutive images of a set, as they are stored.

    Attributes:
        pixels: Byte[n, K], flattened in the order channel, row, column.
        concepts: Short[n, A].
        masks: Byte[n, L], as numpy.packbits; None if the set has none.
        columns: Scalars of each image by name, [n] each.
    """

    pixels: np.ndarray
    concepts: np.ndarray
    masks: np.ndarray | None
    columns: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.pixels)


def make_planes(recipe: ImageRecipe, start: int, stop: int) -> Planes:
    """Makes images ``start`` to ``stop``, and checks that they are what the recipe says.

    Raises:
        BenchmarkError: if the recipe returns something else, which is a mistake in the recipe.
    """
    images = recipe.make(start, stop)
    wrong = _wrong(images, recipe, stop - start)
    if wrong:
        call = f"{type(recipe).__name__}.make({start}, {stop})"
        raise BenchmarkError(f"{call} does not return what the recipe declares: {'; '.join(wrong)}")
    masks = None
    if images.masks is not None:
        masks = np.packbits(rearrange(images.masks, "n m h w -> n (m h w)"), axis=1)
    return Planes(
        np.ascontiguousarray(rearrange(images.pixels, "n h w c -> n (c h w)")),
        images.concepts.astype(np.int16),
        masks,
        {name: np.asarray(values) for name, values in images.columns.items()},
    )


def join_planes(parts: list[Planes]) -> Planes:
    """Joins the images of consecutive parts."""
    return Planes(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.concepts for part in parts]),
        None if parts[0].masks is None else np.concatenate([part.masks for part in parts if part.masks is not None]),
        {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns},
    )


def _wrong(images: Images, recipe: ImageRecipe, num: int) -> list[str]:
    channels, height, width = recipe.image_shape
    wanted: list[tuple[str, np.ndarray | None, tuple[int, ...], str]] = [
        ("pixels", images.pixels, (num, height, width, channels), "u"),
        ("concepts", images.concepts, (num, recipe.num_attributes), "iu"),
    ]
    if recipe.num_masks or images.masks is not None:
        wanted.append(("masks", images.masks, (num, recipe.num_masks, height, width), "b"))
    wanted += [(f"column {name}", np.asarray(values), (num,), "biufU") for name, values in images.columns.items()]
    problems = [f"the column name {name} is reserved" for name in images.columns if name in RESERVED]
    for name, array, shape, kinds in wanted:
        if array is None or array.shape != shape or array.dtype.kind not in kinds:
            found = "nothing" if array is None else f"{array.dtype}{list(array.shape)}"
            problems.append(f"{name} must have the shape {list(shape)} and a type of kind {kinds!r}, got {found}")
    if not problems and images.pixels.dtype != np.uint8:
        problems.append(f"pixels must be uint8, got {images.pixels.dtype}")
    if not problems and num and (images.concepts.min() < 0 or images.concepts.max() > np.iinfo(np.int16).max):
        problems.append("concepts must be fully specified value indices")
    return problems


_DIGITS = 64
_MODULUS = 1 << (4 * _DIGITS)


def add_hashes(parts: Iterable[str]) -> str:
    """The hash of a whole from those of its parts, in any order.

    >>> add_hashes(["0f", "01"]) == add_hashes(["01", "0f"]) == f"{0x10:064x}"
    True
    """
    return f"{sum(int(part, 16) for part in parts) % _MODULUS:0{_DIGITS}x}"


def pixel_digests(planes: Planes, numbers: Sequence[int]) -> list[str]:
    """The sha256 of each image's number (one of ``numbers``) and pixels."""
    rows = np.ascontiguousarray(planes.pixels)
    return [_digest(number, pixels.data) for number, pixels in zip(numbers, rows, strict=True)]


def label_digests(planes: Planes, numbers: Sequence[int]) -> list[str]:
    """The sha256 of each image's number, concept, scalars and masks."""
    names = sorted(planes.columns)
    scalars = zip(*(planes.columns[name].tolist() for name in names), strict=True) if names else None
    digests = []
    for row, (number, concept) in enumerate(zip(numbers, planes.concepts.tolist(), strict=True)):
        values = dict(zip(names, next(scalars), strict=True)) if scalars is not None else {}
        text = json.dumps([concept, values], sort_keys=True).encode()
        masks = b"" if planes.masks is None else planes.masks[row].tobytes()
        digests.append(_digest(number, text + masks))
    return digests


def _digest(number: int, content: bytes | memoryview) -> str:
    sha = hashlib.sha256(number.to_bytes(8, "little"))
    sha.update(content)
    return sha.hexdigest()


FORMAT = 1
"""Version of the files of a store; one of another version is made again."""

_KEY = b"mmvae_bench"
_OFFSET_LIMIT = 2**31 - 1  # offsets of a binary column are 32-bit


@dataclass(frozen=True)
class Passport:
    """The metadata of a shard.

    Attributes:
        format: Version of the file format.
        fingerprint: Fingerprint of the recipe.
        start: Number of the first image.
        stop: Number after the last.
        pixel_hash: See :mod:`mmvae_bench.data.shards.shard`.
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
        ValueError: if the images take 2 GiB or more.
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
    """Whether a shard's content ends with its own sha256: whether it is unchanged since it was written."""
    size = len(content) - hashlib.sha256().digest_size
    return size > 0 and hashlib.sha256(memoryview(content)[:size]).digest() == content[size:]


def decode(source: Path | bytes) -> tuple[Planes, Passport]:
    """Images and passport of a shard: of a file, mapped into memory, or of its bytes.

    Raises:
        ValueError: if it is not a shard, or of another format.
        OSError: if the file cannot be read.
    """
    try:
        stream = pa.memory_map(str(source)) if isinstance(source, Path) else pa.BufferReader(source)
        table: pa.Table = pa.ipc.open_stream(stream).read_all()
        table.validate(full=True)
        passport = Passport(**json.loads((table.schema.metadata or {})[_KEY]))
        if passport.format != FORMAT:
            raise ValueError(f"format {passport.format}, not {FORMAT}")
        if table.num_rows != passport.stop - passport.start or table.column("image").num_chunks != 1:
            raise ValueError("its rows do not match its passport")
        names = table.column_names
        concept = table.column("concept").chunk(0)
        return Planes(
            _rows(table.column("image").chunk(0)),
            concept.flatten().to_numpy().reshape(len(concept), -1),
            _rows(table.column("mask").chunk(0)) if "mask" in names else None,
            {name: scalars(table.column(name)) for name in names if name not in RESERVED},
        ), passport
    except (pa.ArrowException, ArithmeticError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"not a shard of images ({error})") from error


def scalars(column: pa.ChunkedArray) -> np.ndarray:
    """A column of scalars as a numpy array: text as text, not as objects."""
    values: np.ndarray = column.to_numpy()
    return values.astype(str) if values.dtype == object else values


def _binary(rows: np.ndarray) -> pa.Array:
    """Byte[n, K] as n values of a binary column, not copied."""
    if rows.nbytes > _OFFSET_LIMIT:
        raise ValueError(f"{len(rows)} images of {rows.shape[1]} bytes do not fit into one shard: make shards smaller")
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * np.int32(rows.shape[1])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(rows))]
    return pa.Array.from_buffers(pa.binary(), len(rows), buffers)


def _rows(values: pa.Array) -> np.ndarray:
    """The inverse of :func:`_binary`, not copied; raises ValueError unless the values are of one length."""
    _, offset_buffer, data = values.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32, len(values) + 1)
    if not len(values) or (np.diff(offsets) != offsets[1]).any() or offsets[0]:
        raise ValueError("its images differ in size")
    return np.frombuffer(data, np.uint8, int(offsets[-1])).reshape(len(values), -1)
