"""The user's own images as datasets: arrays stored once under the digest of their bytes, and pictures in a folder.

A trial is a process of its own, perhaps on another machine, so it cannot be handed an array. The arrays are stored in
the cache or the data root under their digest, which is what the spec names: the path is not part of a trial's key,
equal bytes are stored once, and other bytes are another dataset.

Shapes: N image, C channel, H height, W width, A attribute, P pixel (C x H x W).
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..base.canonical import canonical_json, content_hash
from ..base.errors import ConfigError, Problem, nearest, unknown
from ..base.files import cache_root, check_cache, data_root, open_regular, read_json
from ..base.heartbeat import beat
from ..base.printable import printable
from ..concepts import Schema
from ..concepts.tables import Row, indices_of, infer_schema, numbered, schema_of, texts
from ..specs.built_in.own_data import (
    LEAST_IMAGES,
    PARTITION_COLUMN,
    STORE,
    ArraysSpec,
    FolderSpec,
    OwnDataSpec,
    array_folders,
)
from .absent import absent_text, absent_values
from .base import PARTITIONS
from .cache import META, build_once, checked, is_intact
from .shards.shard import Planes, add_hashes, pixel_digests
from .sources import SourceError
from .sources.pictures import decoded, opened
from .sources.user_files import read_file
from .splits import PartitionedDataModule, combinations_of, observed_partition, random_partition
from .store import ByteStore

FORM = 1
"""Version of the stored form and of how pictures are scaled."""
Columns = Mapping[str, Sequence[Any]]
Bytes = NDArray[np.uint8]


def from_arrays(
    images: Any,
    concepts: Any,
    schema: Schema | Mapping[str, Sequence[Any]] | None = None,
    *,
    split: str | Sequence[str] = "iid",
    split_seed: int = 42,
    folder: str | Path | None = None,
    view: str = "attributes",
) -> ArraysSpec:
    """A dataset from arrays, usable wherever a dataset is: in a grid, in ``mmvae_bench.run``, or as ``spec.build()``.

    Everything is checked before anything is stored. What is understood is said on stderr.

    Args:
        images: NumPy or torch: [N, H, W], [N, C, H, W] or [N, H, W, C], with one or three channels; bytes or whole
            numbers from 0 to 255, floats in [0, 1] (kept in steps of 1/255), or booleans.
        concepts: By attribute a sequence of N values (a dict or a DataFrame); or Integer[N, A] of value indices, or
            Integer[N] of one attribute. Every image has a value for every attribute.
        schema: The values of each attribute, in order; None: those that occur.
        split: ``iid``, ``comp`` (by concept), or for each image ``train``, ``val`` or ``test``.
        split_seed: Seed of the split.
        folder: Where the arrays are stored; None: in the cache. A folder ``arrays`` under the data root is found too,
            which is for several machines.
        view: ``attributes``, or ``text``: models then read captions, the value of each attribute in order.

    Raises:
        ConfigError: with what is wrong; nothing was stored.
    """
    pixels, binary = as_bytes(images)
    columns = _columns(concepts, schema)
    known = infer_schema(columns) if schema is None else schema_of(schema)
    values = np.array(indices_of(columns, known), np.int64).T
    if len(values) != len(pixels):
        _refuse(
            "concepts", "as many rows as there are images are needed", f"{len(values):,} for {len(pixels):,} images"
        )
    partition, rule = _partition(split, len(pixels))
    arrays = _Arrays(pixels, values, partition, known)
    shape = (int(pixels.shape[1]), int(pixels.shape[2]), int(pixels.shape[3]))
    spec = ArraysSpec.parse(
        {
            "data": arrays.digest, "attributes": known.to_dict(), "num_images": len(pixels), "shape": shape,
            "binary": binary, "split": rule, "split_seed": split_seed, "view": view,
        }
    )  # fmt: skip
    _check_parts(spec, arrays)
    if folder is None:
        check_cache()
    else:
        _check_folder(Path(folder))
    root = cache_root() / STORE if folder is None else Path(folder)
    build_once(root / arrays.digest, lambda unfinished: arrays.write(unfinished, spec))
    if not any(place.is_dir() for place in array_folders(arrays.digest)):
        _say(f"stored in {root}: trials find it where this is the folder {STORE!r} under the data root")
    _say(_described(spec, values))
    _warn_of_absent(spec, arrays)
    return spec


def from_folder(
    path: str | Path,
    table: str | Path = "labels.csv",
    *,
    file_column: str = "file",
    schema: Schema | Mapping[str, Sequence[Any]] | None = None,
    size: int = 64,
    channels: int = 3,
    split: str = "iid",
    split_seed: int = 42,
    view: str = "attributes",
) -> FolderSpec:
    """A dataset from pictures and a table of their attributes, usable wherever a dataset is.

    The table and the names of the pictures are checked now; the pictures are scaled when the dataset is prepared.

    Args:
        path: The folder of the pictures: absolute, under the data root or, where that has none of this name, in the
            working folder (the spec then has the absolute path).
        table: A CSV or Parquet file in it, or an absolute path: a row for each picture, a column for each attribute. A
            column ``partition`` of train, val and test is for the split ``given``.
        file_column: The column with the picture's name, relative to the folder.
        schema: The values of each attribute, in order; None: those that occur.
        size: Height and width; a picture's middle square is scaled to it.
        channels: 3 for colour, 1 for grey.
        split: ``iid``, ``comp`` (by concept) or ``given``.
        split_seed: Seed of the split.
        view: As in :func:`from_arrays`.

    Raises:
        ConfigError: with what is wrong.
    """
    settings = {
        "path": _found(path), "table": str(table), "file_column": file_column, "size": size, "channels": channels,
        "split": split, "split_seed": split_seed, "view": view,
    }  # fmt: skip
    given = {} if schema is None else {"attributes": schema_of(schema).to_dict()}
    spec = FolderSpec.parse(settings | given)
    contents = spec.contents()
    attributes = contents.attributes(spec.concept_schema().names)
    values = np.array(indices_of(attributes, spec.concept_schema(), row=contents.row), np.int64).T
    given_parts = contents.columns.get(PARTITION_COLUMN)
    if given_parts is None and split == "given":
        there = tuple(map(printable, contents.columns))
        message = f"the table has no column {PARTITION_COLUMN!r} of train, val and test"
        raise ConfigError([Problem(message, ("split",), repr(split), there, nearest(PARTITION_COLUMN, there))])
    # Also where another split is used: the cache keeps it, for all splits.
    partition = None if given_parts is None else _words(given_parts, contents.row)
    arrays = _Arrays(np.zeros((len(values), 1, 1, 1), np.uint8), values, partition, spec.concept_schema())
    _check_parts(spec, arrays)
    _say(_described(spec, values))
    _warn_of_absent(spec, arrays)
    return spec


def as_bytes(images: Any) -> tuple[Bytes, bool]:
    """Images as Byte[N, C, H, W], and whether every pixel is 0 or 1; see :func:`from_arrays`.

    Raises:
        ConfigError: for another shape, type or range.
    """
    if isinstance(images, Tensor):
        images = images.detach().cpu()
        images = (images.float() if images.dtype == torch.bfloat16 else images).numpy()
    try:
        array = np.asarray(images)
    except ValueError as error:
        _refuse("images", f"expected images of one shape: {error}", type(images).__name__)
    shape = f"{array.dtype}{list(array.shape)}"
    if array.dtype.kind not in "buif":
        _refuse("images", "expected numbers: bytes, floats in [0, 1] or booleans", shape)
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3):
        _refuse("images", "expected [N, H, W], [N, C, H, W] or [N, H, W, C] with one or three channels", shape)
    if len(array) < LEAST_IMAGES:
        _refuse("images", f"at least {LEAST_IMAGES} are needed, so that some are left to validate and to test", shape)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        _refuse("images", "not finite", f"{int((~np.isfinite(array)).sum()):,} of the values are nan or infinite")
    low, high = array.min(), array.max()
    most = {"f": 1.0, "b": 1}.get(array.dtype.kind, 255)
    if low < 0 or high > most:
        hint = "; divide bytes by 255" if array.dtype.kind == "f" and high > 1 else ""
        _refuse("images", f"{'floats' if most == 1.0 else 'whole numbers'} must be from 0 to {most:g}{hint}",
                f"{shape} from {low:g} to {high:g}")  # fmt: skip
    if low == high:
        _refuse("images", "all pixels are the same", f"{shape} of {low:g}")
    if array.dtype.kind in "ui" and high == 1:
        _refuse("images", "bytes go from 0 to 255, and these are 0 and 1: give booleans or floats instead", shape)
    pixels = array if array.dtype.kind in "ui" else np.rint(array.astype(np.float64) * 255)
    found = np.ascontiguousarray(pixels, np.uint8)
    if found.max() <= 1 and array.dtype.kind == "f":
        _refuse("images", "as bytes these floats are all but black: were they divided by 255 twice?",
                f"{shape} from {low:g} to {high:g}")  # fmt: skip
    if found.min() == found.max():
        _refuse("images", "all pixels are the same as bytes", f"{shape} from {low:g} to {high:g}")
    return found, not ((found != 0) & (found != 255)).any()


class _Arrays:
    """Checked arrays.

    Args:
        pixels: Byte[N, C, H, W].
        concepts: Int[N, A].
        partition: Byte[N], index into ``PARTITIONS``; None where the split is a rule.
        schema: The attributes.
    """

    def __init__(self, pixels: Bytes, concepts: NDArray[np.int64], partition: Bytes | None, schema: Schema) -> None:
        self.pixels, self.concepts, self.partition, self.schema = pixels, concepts, partition, schema

    @cached_property
    def digest(self) -> str:
        """Hash of everything: 16 hex digits."""
        head = [FORM, list(self.pixels.shape), list(map(list, self.schema.to_dict().items())), self.partition is None]
        digest = hashlib.sha256(canonical_json(head).encode())
        for part in (self.pixels, np.ascontiguousarray(self.concepts, "<i8"), self.partition):
            if part is not None:
                digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:16]

    def write(self, folder: Path, spec: OwnDataSpec) -> dict[str, Any]:
        """Writes the arrays; returns what describes them."""
        np.save(folder / "images.npy", self.pixels.reshape(len(self.pixels), -1))
        np.save(folder / "concepts.npy", self.concepts)
        if self.partition is not None:
            np.save(folder / "partition.npy", self.partition)
        told = spec.canonical()
        about = {name: told[name] for name in ("name", "attributes", "num_images", "data")}
        return {**about, "form": FORM, "shape": list(spec.image_shape()), "binary": told.get("binary", False)}


class StoredDataModule(PartitionedDataModule):
    """Images and concepts in a folder that :class:`_Arrays` has written, mapped into memory."""

    spec: OwnDataSpec
    too_small: ClassVar[str] = "use more images (for comp, of more concepts), another split or another seed of it"

    @property
    def folder(self) -> Path:
        """Where they are."""
        raise NotImplementedError

    @property
    def cache_path(self) -> Path:
        """The folder."""
        return self.folder

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the digest of the bytes, the attributes and how the images are scaled."""
        return content_hash({"recipe": self.spec.recipe(), "form": FORM})

    def setup(self, stage: str | None = None) -> None:
        """Maps the images into memory, which the processes of one machine share.

        Raises:
            ConfigError: if a file is missing or damaged.
        """
        folder = self.folder
        if not (folder / META).is_file():
            raise RuntimeError("call prepare_data() first")
        try:
            pixels, concepts = _loaded(folder / "images.npy", np.uint8), _loaded(folder / "concepts.npy", np.int64)
            given = (folder / "partition.npy").exists()
            partition = np.array(_loaded(folder / "partition.npy", np.uint8)) if given else None
            if (
                pixels.shape[1:] != (math.prod(self.image_shape),)
                or concepts.shape != (len(pixels), len(self.schema))
                or (partition is not None and (partition.shape != pixels.shape[:1] or (partition > 2).any()))
            ):
                raise ValueError("its arrays do not fit together")
            self._store = ByteStore([pixels], torch.from_numpy(np.array(concepts)), image_shape=self.image_shape)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{folder} is damaged ({error}): remove it, and make it again") from None
        self.schema.check(self._store.concepts)
        self._given = None if partition is None else torch.from_numpy(partition)
        self._partitions.clear()

    def assign(self, split: str, seed: int) -> Tensor:
        """See :meth:`PartitionedDataModule.assign`. A split that is given has no seed."""
        return _assigned(self.schema, self.store.concepts, self._given, split, seed, self.spec.name)

    def combinations(self) -> dict[str, list[list[int]]] | None:
        """The concepts of each partition, if the split divides concepts."""
        if self.spec.split != "comp":
            return None
        return combinations_of(self.store.concepts, self._partition("comp", self.spec.split_seed))

    @cached_property
    def pixel_hash(self) -> str:
        """The hash of all images, as that of other datasets."""
        pixels, concepts = np.load(self.folder / "images.npy", mmap_mode="r"), self.store.concepts.cpu().numpy()
        return add_hashes(pixel_digests(Planes(pixels, concepts, None, {}), range(len(pixels))))

    def describe(self) -> dict[str, Any]:
        """As of other datasets."""
        stored = sum(path.stat().st_size for path in self.folder.glob("*.npy"))
        return {
            **super().describe(), "storage_bytes": stored, "pixel_hash": self.pixel_hash, "recipe": self.spec.recipe(),
            "made_with": {"numpy": np.__version__},
        }  # fmt: skip

    def verify(self) -> dict[str, Any]:
        """Checks the sha256 of every file.

        Raises:
            BenchmarkError: if the folder does not exist.
        """
        report = checked(self.folder, name=self.spec.name, source=self.spec.source, fingerprint=self.fingerprint)
        num_images, pixel_hash = None, None
        if report["ok"]:
            self.setup()
            num_images, pixel_hash = len(self.store), self.pixel_hash
        return {**report, "pixel_hash": pixel_hash, "num_images": num_images, "compared": 0, "different": None}


class ArraysDataModule(StoredDataModule):
    """Arrays that :func:`from_arrays` has stored."""

    spec: ArraysSpec

    @property
    def folder(self) -> Path:
        """The first place that has them; in the cache where none has."""
        places = array_folders(self.spec.data)
        return next((place for place in places if (place / META).is_file()), places[-1])

    def prepare_data(self) -> None:
        """Checks that they are there, whole, and those that the spec describes.

        Raises:
            SourceError: if they are not.
        """
        if not is_intact(self.folder):
            state = "damaged" if self.folder.exists() else "missing"
            raise SourceError(
                f"the arrays {self.spec.data} are {state} in {self.folder}: call mmvae_bench.data.from_arrays with the "
                "same images and concepts on this machine, or copy the folder from another"
            )
        stored, told = read_json(self.folder / META), json.loads(canonical_json(self.spec.canonical()))
        for key in ("data", "attributes", "num_images", "shape", "binary"):
            # Columns are told apart by their places alone: another order of attributes or values would be other labels.
            if stored.get(key) != told.get(key, False):
                raise SourceError(
                    printable(f"the arrays in {self.folder} have {key} {stored.get(key)}, not {told.get(key)}")
                    + "\n  Leave it out of the grid, or call mmvae_bench.data.from_arrays with the schema you mean."
                )


class FolderDataModule(StoredDataModule):
    """Pictures of the user, scaled once and kept as bytes."""

    spec: FolderSpec

    @property
    def folder(self) -> Path:
        """``datasets/folder-<fingerprint>`` in the cache."""
        return cache_root() / "datasets" / f"{self.spec.name}-{self.fingerprint}"

    def prepare_data(self) -> None:
        """Reads and scales the pictures that are not in the cache yet.

        Raises:
            SourceError: if a picture cannot be read, or something has changed since the digest was taken.
        """
        build_once(self.folder, self._write)

    def _write(self, folder: Path) -> dict[str, Any]:
        spec, contents = self.spec, self.spec.contents()
        if (found := contents.digest()) != spec.data:
            raise SourceError(
                f"the pictures in {contents.folder} or their table have changed: their digest is {found}, the one "
                f"asked for {spec.data}\n  Leave `data` out, so that it is taken again: these are other images."
            )
        given = contents.columns.get(PARTITION_COLUMN)
        partition = None if given is None else _words(given, contents.row)
        attributes = contents.attributes(self.schema.names)
        values = np.array(indices_of(attributes, self.schema, row=contents.row), np.int64).T
        pixels = np.zeros((len(values), *self.image_shape), np.uint8)
        for index, name in enumerate(contents.files):
            pixels[index] = _scaled(contents.folder / name, spec.size, spec.channels)
            beat()
            if self.progress is not None:
                self.progress(index + 1, len(values))
        return _Arrays(pixels, values, partition, self.schema).write(folder, spec)


def _scaled(path: Path, size: int, channels: int) -> Bytes:
    """The middle square of a picture: Byte[C, H, W]."""
    try:
        with opened(read_file(path)) as image:
            plain = decoded(image, "RGB" if channels == 3 else "L")
    except OSError as error:
        raise SourceError(printable(f"{path} cannot be used: {error.strerror or error}")) from None
    shorter = min(plain.size)
    left, top = ((length - shorter) // 2 for length in plain.size)
    cut = plain.crop((left, top, left + shorter, top + shorter)).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(cut, np.uint8).reshape(size, size, channels).transpose(2, 0, 1)


def _loaded(path: Path, dtype: Any) -> NDArray[Any]:
    """A stored array, mapped; raises OSError or ValueError for anything else under its name."""
    with open_regular(path):
        array = np.load(path, mmap_mode="c")
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        raise ValueError(f"{path.name} is not of {np.dtype(dtype)}")
    return array


def _found(path: str | Path) -> str:
    """The path of a spec: what a grid would take, or else the folder of that name where Python is working."""
    try:
        place = Path(path).expanduser()
    except RuntimeError:
        return str(path)  # No home folder: the spec says so.
    return str(path) if (data_root() / place).is_dir() or not place.is_dir() else str(place.absolute())


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        _refuse("folder", f"cannot be written: {error.strerror or error}", str(folder))


def _columns(concepts: Any, schema: Schema | Mapping[str, Sequence[Any]] | None) -> dict[str, list[str]]:
    """The text of every value by attribute, from a mapping, a DataFrame, or an array of value indices."""
    if isinstance(concepts, Mapping) or hasattr(concepts, "columns"):
        names = [str(name) for name in concepts]
        if twice := [name for name in names if names.count(name) > 1]:
            number = names.count(twice[0])
            _refuse("concepts", "every attribute needs a name of its own", f"{number} named {twice[0]!r}")
        columns = {str(name): texts(concepts[name], location=("concepts", str(name))) for name in concepts}
        if len({len(column) for column in columns.values()}) > 1:
            _refuse("concepts", "every attribute needs as many values as there are images",
                    ", ".join(f"{name}: {len(column):,}" for name, column in columns.items()))  # fmt: skip
        return columns
    array = np.asarray(concepts.detach().cpu() if isinstance(concepts, Tensor) else concepts)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or array.dtype.kind not in "iu":
        _refuse("concepts", "expected a column of values for each attribute, or whole numbers [N, A] or [N]",
                f"{array.dtype}{list(array.shape)}")  # fmt: skip
    if (array < 0).any():
        row = int((array < 0).any(1).argmax())
        _refuse("concepts", f"{numbered(row)} has a negative value: every image needs a value for every attribute",
                str(array[row].tolist()))  # fmt: skip
    if schema is None:
        return {f"attribute_{k}": list(map(str, array[:, k].tolist())) for k in range(array.shape[1])}
    known = schema_of(schema)
    if array.shape[1] != len(known):
        _refuse("concepts", f"the schema has {len(known)} attributes: {', '.join(known.names)}", f"{list(array.shape)}")
    if (array >= np.array(known.sizes)).any():
        row, k = map(int, np.argwhere(array >= np.array(known.sizes))[0])
        attribute = known.attributes[k]
        message = f"{numbered(row)}: {attribute.name} has the values 0 to {len(attribute) - 1}, those of the schema"
        _refuse("concepts", message, str(array[row, k]))
    return {each.name: [each.values[value] for value in array[:, k]] for k, each in enumerate(known.attributes)}


def _partition(split: str | Sequence[str], num_images: int) -> tuple[Bytes | None, str]:
    """The partition of each image if it is given, and the name of the split."""
    if isinstance(split, str):
        if split == "given":
            _refuse(
                "split", "for a split of your own give the partition of each image: train, val or test", repr(split)
            )
        return None, split
    if not hasattr(split, "__len__"):
        _refuse("split", "expected iid, comp, or the partition of each image", repr(split))
    if len(split) != num_images:
        _refuse("split", "as many partitions as there are images are needed", f"{len(split):,} for {num_images:,}")
    return _words(split), "given"


def _words(words: Sequence[str], row: Row = numbered) -> Bytes:
    place = {name: index for index, name in enumerate(PARTITIONS)}
    words = list(words)  # The labels of a Series' rows need not be their numbers.
    found = [place.get(str(word).strip(), -1) for word in words]
    if -1 in found:
        first = found.index(-1)
        raise ConfigError(
            [unknown(f"partition in {row(first)}:", printable(str(words[first])), PARTITIONS, ("split",))]
        )
    return np.array(found, np.uint8)


def _assigned(
    schema: Schema, concepts: Tensor, given: Tensor | None, split: str, seed: int, name: str
) -> Tensor:  # fmt: skip
    if split == "iid":
        return random_partition(torch.arange(len(concepts)), seed=seed)
    if split == "comp":
        nothing = torch.empty(0, len(schema), dtype=torch.long)
        return observed_partition(schema, concepts, held_out=nothing, seed=seed)
    if split == "given" and given is not None:
        return given
    raise ConfigError(f"{name}: split {split!r} needs the partition of each image, and these data have none")


def _check_parts(spec: OwnDataSpec, arrays: _Arrays) -> None:
    """Raises ConfigError if a partition of the split, or of the classifier's own, would be empty."""
    for split, seed in ((spec.split, spec.split_seed), ("iid", 42)):
        counts = _parts(spec, arrays, split, seed).bincount(minlength=3).tolist()
        if not all(counts):
            shown = ", ".join(f"{name} {count:,}" for name, count in zip(PARTITIONS, counts, strict=True))
            advice = "use more images" if split == "iid" else "use more images, or another split"
            _refuse("split", f"{split} leaves a part without images: {advice}", shown)


def _parts(spec: OwnDataSpec, arrays: _Arrays, split: str, seed: int) -> Tensor:
    given = None if arrays.partition is None else torch.from_numpy(arrays.partition)
    return _assigned(arrays.schema, torch.from_numpy(arrays.concepts), given, split, seed, spec.name)


def _warn_of_absent(spec: OwnDataSpec, arrays: _Arrays) -> None:
    """Says which values no training image has."""
    training = _parts(spec, arrays, spec.split, spec.split_seed) == PARTITIONS.index("train")
    absent = absent_values(arrays.schema, torch.from_numpy(arrays.concepts)[training])
    if absent:
        _say(f"warning: {absent_text(absent)}")


def _described(spec: OwnDataSpec, concepts: NDArray[np.int64]) -> str:
    """What was understood: one line for the images, and one for each attribute with the number of images of a value."""
    lines = [repr(spec)]
    for k, attribute in enumerate(spec.concept_schema().attributes):
        counts = np.bincount(concepts[:, k], minlength=len(attribute))
        shown = [f"{value} {count:,}" for value, count in zip(attribute.values, counts.tolist(), strict=True)]
        more = [f"and {len(shown) - 12} more values"] if len(shown) > 12 else []
        lines.append(f"  {attribute.name}: {', '.join(shown[:12] + more)}")
    return "\n".join(lines)


def _say(text: str) -> None:
    print(printable(text) if "\n" not in text else "\n".join(map(printable, text.split("\n"))), file=sys.stderr)  # noqa: T201


def _refuse(where: str, message: str, value: str) -> NoReturn:
    raise ConfigError([Problem(message, (where,), value)])
