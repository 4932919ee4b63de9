"""A copy of the Hugging Face hub's CelebA: parquet files, or a folder that ``save_to_disk`` wrote.

A copy has a column of images and one of each attribute, in up to three splits: the layout of ``flwrlabs/celeba``
(columns ``image``, ``celeb_id`` and the 40 attributes as booleans; splits train, valid and test) and of copies like it,
whose validation split may be called validation or val, and whose attributes may have other forms of yes and no. It has
no ids: its images are numbered in the order of the official partition.

Parquet files are read by pyarrow and not through ``datasets``, which takes paths for patterns and makes a second copy
of the images in its cache.

Shapes: N image.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...base.files import parse_json
from ...specs.built_in.datasets import CELEBA18_SCHEMA
from . import SourceError
from .celeba_files import IMAGES, MOST_BYTES, folders_in, places
from .celeba_rows import Rows
from .labels import presence
from .user_files import FileStamp, stamps

if TYPE_CHECKING:
    from datasets import Dataset

SPLITS = (("train",), ("valid", "validation", "val"), ("test",))
"""The names of the splits, in the order of the official partition."""
IMAGE = "image"
NAME = re.compile(
    rf"(?:[\w+]+-)?({'|'.join(name for names in SPLITS for name in names)})"
    r"(?:-(\d{5})-of-(\d{5})(?:-[0-9a-f]+)?)?\.parquet"
)
"""``train-00000-of-00019.parquet`` or ``train.parquet``; or else a split is a folder: ``train/0000.parquet``."""
_LEVELS = 5
_MOST_FOLDERS = 500
_MOST_BYTES_OF_GROUP = 2**30
_ROWS_AT_ONCE = 64
_ERRORS = (pa.ArrowException, OSError, ValueError, LookupError, TypeError, AttributeError, NotImplementedError)


class Part(ABC):
    """The rows of one split, or of one file of it.

    Attributes:
        path: Where they are.
        split: Number of the split in the official partition.
    """

    path: Path
    split: int

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @abstractmethod
    def labels(self) -> tuple[pa.Table, dict[str, Sequence[str]]]:
        """The columns of the attributes, and of those that are numbers of classes the names of the classes.

        Raises:
            SourceError: if a column is missing or cannot be read.
        """

    @abstractmethod
    def images(self, rows: Sequence[int]) -> list[Any]:
        """The values of the image column in some rows; raises OSError if they cannot be read."""

    @abstractmethod
    def files(self) -> list[Path]:
        """The files that hold the rows."""

    def _check(self, columns: Sequence[str]) -> None:
        wrong = [name for name in (IMAGE, *CELEBA18_SCHEMA.names) if list(columns).count(name) != 1]
        if wrong:
            raise SourceError(
                f"{self.path}: no column {', '.join(wrong)}, or several; a copy of the hub's CelebA has {IMAGE} and "
                f"one column per attribute, this one has: {', '.join(columns)}"
            )


class ParquetPart(Part):
    """One parquet file."""

    def __init__(self, path: Path, split: int) -> None:
        self.path, self.split = path, split
        about = self._about().metadata
        self._starts: list[int] = [
            0,
            *accumulate(about.row_group(group).num_rows for group in range(about.num_row_groups)),
        ]

    def __len__(self) -> int:
        return self._starts[-1]

    def labels(self) -> tuple[pa.Table, dict[str, Sequence[str]]]:
        """See :meth:`Part.labels`."""
        file = self._about()
        schema = file.schema_arrow
        self._check(schema.names)
        try:
            return file.read(columns=list(CELEBA18_SCHEMA.names)), _classes(schema)
        except _ERRORS as error:
            raise self._damaged(error) from error

    def images(self, rows: Sequence[int]) -> list[Any]:
        """See :meth:`Part.images`."""
        groups = np.searchsorted(self._starts, rows, side="right") - 1
        (stamp,) = stamps([self.path])
        values = []
        for row, group in zip(rows, groups.tolist(), strict=True):
            values.append(_images_of_group(self.path, stamp, group)[row - self._starts[group]].as_py())
        return values

    def files(self) -> list[Path]:
        """See :meth:`Part.files`."""
        return [self.path]

    def _about(self) -> pq.ParquetFile:
        try:
            return _parquet_file(self.path)
        except _ERRORS as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> SourceError:
        return SourceError(f"{self.path}: damaged or not a parquet file ({_one_line(error)}): copy it again")


def _parquet_file(path: Path, *, dictionaries: Sequence[str] = ()) -> pq.ParquetFile:
    return pq.ParquetFile(pa.OSFile(str(path)), page_checksum_verification=True, read_dictionary=list(dictionaries))


@lru_cache(maxsize=1)
def _images_of_group(path: Path, stamp: FileStamp, group: int) -> pa.ChunkedArray:
    """The image column of a row group: the least that can be read of a parquet file."""
    try:
        file = _parquet_file(path)
        about = file.metadata.row_group(group)
        size = sum(
            about.column(place).total_uncompressed_size
            for place in range(about.num_columns)
            if about.column(place).path_in_schema.split(".")[0] == IMAGE
        )
        if size > _MOST_BYTES_OF_GROUP:
            raise OSError(f"a row group has {size:,} bytes of images, at most {_MOST_BYTES_OF_GROUP:,} expected")
        # As a dictionary, a value that a file repeats a thousand times takes its space once.
        columns = [file.schema.column(place) for place in range(len(file.schema))]
        binary = [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]
        file = _parquet_file(path, dictionaries=[name for name in binary if name in (IMAGE, f"{IMAGE}.bytes")])
        return file.read_row_group(group, columns=[IMAGE]).column(IMAGE)
    except _ERRORS as error:
        raise OSError(f"{path.name}: row group {group} cannot be read ({error})") from error


class SavedPart(Part):
    """One split of a folder that ``save_to_disk`` wrote."""

    def __init__(self, path: Path, name: str, split: int) -> None:
        self.path, self.name, self.split = path, name, split
        self._length = len(self._data())

    def __len__(self) -> int:
        return self._length

    def labels(self) -> tuple[pa.Table, dict[str, Sequence[str]]]:
        """See :meth:`Part.labels`."""
        data = self._data()
        self._check(data.column_names)
        try:
            table = data.select_columns(list(CELEBA18_SCHEMA.names)).with_format("arrow")[:]
        except _ERRORS as error:
            raise _damaged_copy(self.path, error) from error
        named = {name: getattr(data.features[name], "names", None) for name in CELEBA18_SCHEMA.names}
        return table, {name: names for name, names in named.items() if names}

    def images(self, rows: Sequence[int]) -> list[Any]:
        """See :meth:`Part.images`."""
        try:
            table = self._data().select_columns([IMAGE]).with_format("arrow")[list(rows)]
            values: list[Any] = table.column(IMAGE).to_pylist()
        except _ERRORS as error:
            raise OSError(str(error)) from error
        return values

    def files(self) -> list[Path]:
        """See :meth:`Part.files`."""
        return sorted(path for ending in ("arrow", "json") for path in self.path.glob(f"**/*.{ending}"))

    def _data(self) -> Dataset:
        return _saved(self.path, tuple(stamps(self.files())))[self.name]


@lru_cache(maxsize=1)
def _saved(path: Path, stamp: tuple[FileStamp, ...]) -> dict[str, Dataset]:
    import datasets

    try:
        saved = datasets.load_from_disk(str(path))
    except Exception as error:  # It lets through whatever its parts raise.
        raise _damaged_copy(path, error) from error
    return dict(saved) if isinstance(saved, datasets.DatasetDict) else {"train": saved}


def _damaged_copy(path: Path, error: Exception) -> SourceError:
    return SourceError(f"{path}: damaged, or not written by save_to_disk ({_one_line(error)}): save it again")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


class HubFiles:
    """The image column of a copy. Pickled to worker processes, so the files are opened where they are read.

    Args:
        path: The folder of the copy.
        parts: Its parts, in the order of the official partition.
    """

    def __init__(self, path: Path, parts: Sequence[Part]) -> None:
        self.path, self.parts = path, parts
        self._starts = [0, *accumulate(map(len, parts))]

    def read(self, positions: np.ndarray) -> Iterator[bytes | OSError]:
        """The image files at some positions, in order, or why one cannot be read."""
        of = np.searchsorted(self._starts, positions, side="right") - 1
        for number in np.unique(of).tolist():
            rows = positions[of == number] - self._starts[number]
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                yield from _contents(self.parts[number], rows[start : start + _ROWS_AT_ONCE].tolist())

    def stamps(self, positions: np.ndarray) -> Iterator[FileStamp]:
        """Sizes and times of the files."""
        return stamps(sorted({path for part in self.parts for path in part.files()}))


def _contents(part: Part, rows: list[int]) -> Iterator[bytes | OSError]:
    try:
        values = part.images(rows)
    except OSError as error:
        yield from [error] * len(rows)
        return
    for value in values:
        content = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(content, bytes) or not content:
            yield OSError("the image column contains no bytes")
        elif len(content) > MOST_BYTES:
            yield OSError(f"{len(content):,} bytes, at most {MOST_BYTES:,} expected")
        else:
            yield content


def find_hub_copy(root: Path) -> tuple[HubFiles, Rows] | None:
    """The first copy under a data root; None if there is none.

    Raises:
        SourceError: if it is damaged or incomplete, or a label is missing.
    """
    for path in _candidates(root):
        if _is_saved(path):
            parts = _saved_parts(path)
        elif files := _parquet(path):
            parts = [ParquetPart(file, split) for split, found in sorted(files.items()) for file in found]
        else:
            continue
        return HubFiles(path, parts), _rows(path, parts)
    return None


def _candidates(root: Path) -> Iterator[Path]:
    """Folders that may hold a copy: the root itself, and those of CelebA with what is in them, the nearest first."""
    level = [place for place in places(root) if place.is_dir()]
    left = _MOST_FOLDERS
    for _ in range(_LEVELS):
        yield from level[:left]
        left -= len(level)
        inner = [
            path
            for place in level
            for path in folders_in(place)
            if not path.name.startswith(IMAGES) and (place != root or path.name in ("data", "default"))
        ]
        level = list(dict.fromkeys(inner))


def _is_saved(path: Path) -> bool:
    """Whether ``save_to_disk`` wrote the folder."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def _saved_parts(path: Path) -> list[Part]:
    files = tuple(stamps(sorted(path.glob("**/*.arrow")) + sorted(path.glob("**/*.json"))))
    there = _saved(path, files)
    return [SavedPart(path, name, split) for split, names in enumerate(SPLITS) for name in names if name in there]


def _parquet(path: Path) -> dict[int, list[Path]]:
    """The parquet files of each split; raises SourceError if some are missing or there are several sets of them."""
    found: dict[int, list[Path]] = {}
    for split, names in enumerate(SPLITS):
        matches = [(NAME.fullmatch(file.name), file) for file in sorted(path.glob("*.parquet"))]
        mine = [(match, file) for match, file in matches if match and match[1] in names]
        sets = {(match[1], match[3]): [file for other, file in mine if other[3] == match[3]] for match, _ in mine}
        sets |= {(name, "/"): files for name in names if (files := sorted((path / name).glob("*.parquet")))}
        if len(sets) > 1:
            several = ", ".join(str(files[0].relative_to(path)) for files in sets.values())
            raise SourceError(f"{path}: several sets of files of one split: {several}; keep one of them")
        for (_, total), files in sets.items():
            numbers = [int(match[2] or 0) for match, _ in mine]
            if total not in (None, "/") and numbers != list(range(int(total))):
                missing = sorted(set(range(int(total))) - set(numbers))
                raise SourceError(
                    f"{path}: the download is incomplete: of {int(total)} files such as {files[0].name}, "
                    f"{len(missing)} are missing, the first with number {missing[0] if missing else 0:05d}"
                )
            found[split] = files
    return found


def _classes(schema: pa.Schema) -> dict[str, Sequence[str]]:
    """The names of classes that ``datasets`` writes into the metadata of a table, by column."""
    try:
        described = parse_json((schema.metadata or {}).get(b"huggingface", b"{}").decode())
        features = described.get("info", {}).get("features", {})
        kinds = {name: features.get(name) for name in CELEBA18_SCHEMA.names}
        return {
            name: [str(value) for value in kind["names"]]
            for name, kind in kinds.items()
            if isinstance(kind, dict) and kind.get("_type") == "ClassLabel"
        }
    except (ValueError, AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"the description of its columns: {error}") from error


def _rows(path: Path, parts: Sequence[Part]) -> Rows:
    concepts, partition = [], []
    for part in parts:
        table, classes = part.labels()
        columns = [
            presence(table.column(name), file=part.path, name=name, classes=classes.get(name))
            for name in CELEBA18_SCHEMA.names
        ]
        concepts.append(np.stack(columns, 1))
        partition.append(np.full(len(part), part.split, np.uint8))
    if not concepts or not sum(map(len, parts)):
        raise SourceError(f"{path}: no rows in any of the splits {', '.join(names[0] for names in SPLITS)}")
    joined = np.concatenate(concepts)
    return Rows(np.arange(1, len(joined) + 1), joined, np.concatenate(partition))
