"""CelebA's annotation files: 40 attributes and the official partition of 202,599 images.

As its authors distribute them (text, known by its md5), or as Kaggle's CSV files, whose values are checked one by one;
each plain or packed with gzip, whatever the name says.

Shapes: N image, A attribute.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from ...specs.built_in.datasets import CELEBA18_SCHEMA
from . import MissingSourceError, SourceError
from .labels import bad_value, distinct, presence
from .user_files import gunzip, is_gzip, read_file

NUM_IMAGES = 202_599


@dataclass(frozen=True)
class TextFile:
    """An annotation file and the md5 of its plain content (torchvision.datasets.CelebA.file_list)."""

    name: str
    md5: str


ATTRIBUTES = TextFile("list_attr_celeba.txt", "75e246fa4810816ffd6ee81facbd244c")
PARTITION = TextFile("list_eval_partition.txt", "d32c9cbf5e040fd4025c592c306e6668")


@dataclass(frozen=True)
class Rows:
    """The annotations of each image.

    Attributes:
        ids: Long[N], ascending: image 000001.jpg has id 1.
        concepts: Byte[N, 18], 1 where the attribute of the schema is present.
        partition: Byte[N], 0 train, 1 val, 2 test.
    """

    ids: np.ndarray
    concepts: np.ndarray
    partition: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


def read_rows(folders: list[Path], *, attributes: TextFile = ATTRIBUTES, partition: TextFile = PARTITION) -> Rows:
    """Reads both files from the first of ``folders`` that has them; a text file goes before a CSV file.

    Args:
        folders: Where to look.
        attributes: The file of the attributes and its md5.
        partition: The file of the partition and its md5.

    Raises:
        SourceError: if a file is missing, damaged or not the official one, a value is missing or unknown, or the two
            files disagree about the images.
    """
    path, content = _read(folders, attributes)
    ids, concepts = (_attribute_csv if _is_csv(path) else _attribute_table)(path, content)
    other_path, content = _read(folders, partition)
    other_ids, parts = (_partition_csv if _is_csv(other_path) else _partition_table)(other_path, content)
    if not np.array_equal(ids, other_ids):
        different = np.setxor1d(ids, other_ids)[:3]
        raise SourceError(
            f"{path.name} has {len(ids):,} images and {other_path.name} {len(other_ids):,}, and they differ, "
            f"first in {', '.join(image_name(number) for number in different)}; both belong to one download"
        )
    return Rows(ids, concepts, parts.astype(np.uint8))


def image_name(number: int) -> str:
    """
    >>> image_name(7)
    '000007.jpg'
    """
    return f"{number:06d}.jpg"


def _read(folders: list[Path], file: TextFile) -> tuple[Path, bytes]:
    """The first of the forms of a file that is there, and its content, unpacked; a text file's is checked."""
    names = [file.name, f"{file.name}.gz", _csv_name(file.name), f"{_csv_name(file.name)}.gz"]
    for pair in (names[:2], names[2:]):
        path = next((folder / name for folder in folders for name in pair if (folder / name).is_file()), None)
        if path is not None:
            break
    else:
        places = "\n".join(f"  {folder.resolve()}" for folder in folders)
        raise MissingSourceError(
            f"no {file.name}, plain or with .gz, and no {_csv_name(file.name)} in any of\n{places}"
        )
    try:
        content = read_file(path)
        content = gunzip(content) if is_gzip(content) else content
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error})") from error
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != file.md5 and not _is_csv(path):
        raise SourceError(f"{path}: wrong md5 {found}, expected {file.md5}: copy or download the file again")
    return path, content


def _csv_name(name: str) -> str:
    return name.replace(".txt", ".csv")


def _is_csv(path: Path) -> bool:
    return ".csv" in path.suffixes


def _attribute_csv(path: Path, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Ids and Byte[N, 18] of ``image_id,5_o_Clock_Shadow,... / 000001.jpg,-1,...``."""
    table, ids = _csv(path, content, CELEBA18_SCHEMA.names)
    columns = [presence(table.column(name), file=path, name=name) for name in CELEBA18_SCHEMA.names]
    return _ascending(path, ids, np.stack(columns, 1))


def _partition_csv(path: Path, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Ids and parts of ``image_id,partition / 000001.jpg,0``."""
    table, ids = _csv(path, content, ("partition",))
    values, which = distinct(table.column("partition"), file=path, name="partition")
    for place, value in enumerate(values):
        if value not in (0, 1, 2):
            row = int((which == place).argmax())
            raise bad_value(value, file=path, name="partition", row=row, why="expected 0, 1 or 2")
    return _ascending(path, ids, np.array(values, np.uint8)[which])


def _csv(path: Path, content: bytes, names: Sequence[str]) -> tuple[pa.Table, np.ndarray]:
    """A table that has one column of each of ``names``, and the ids in its first column."""
    try:
        table = csv.read_csv(io.BytesIO(content))
    except (pa.ArrowException, ValueError) as error:
        raise SourceError(f"{path}: not a CSV file ({error}): download it again") from error
    missing = [name for name in names if table.column_names.count(name) != 1]
    if missing or not len(table):
        raise SourceError(
            f"{path}: {len(table):,} rows, and not one column {', '.join(missing)}; it has: "
            f"{', '.join(table.column_names)}"
        )
    first = table.column_names[0]
    found = [re.fullmatch(r"(\d{6})\.jpe?g", str(value)) for value in table.column(0).to_pylist()]
    for row, match in enumerate(found):
        if match is None:
            value = table.column(0)[row].as_py()
            raise bad_value(value, file=path, name=first, row=row, why="expected an image's name, such as 000001.jpg")
    return table, np.array([int(match[1]) for match in found if match], np.int64)


def _ascending(path: Path, ids: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    if (ids[1:] == ids[:-1]).any():
        raise SourceError(f"{path}: {image_name(ids[1:][ids[1:] == ids[:-1]][0])} occurs twice")
    return ids, values[order]


def _attribute_table(path: Path, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Ids and Byte[N, 18] of ``count / names / 000001.jpg -1 1 ...``."""
    lines = content.decode("ascii").splitlines()
    names = lines[1].split()
    table = _numbers(lines[2:], path, width=1 + len(names))
    if not lines[0].strip().isdigit() or int(lines[0]) != len(table):
        raise SourceError(f"{path} declares {lines[0].strip()!r} images but has {len(table):,}")
    missing = [column for column in CELEBA18_SCHEMA.names if column not in names]
    if missing:
        raise SourceError(f"{path} has no column {', '.join(missing)}; it has: {', '.join(names)}")
    columns = [1 + names.index(column) for column in CELEBA18_SCHEMA.names]
    return table[:, 0], (table[:, columns] > 0).astype(np.uint8)


def _partition_table(path: Path, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    table = _numbers(content.decode("ascii").splitlines(), path, width=2)
    if table[:, 1].min() < 0 or table[:, 1].max() > 2:
        raise SourceError(f"{path}: a partition must be 0, 1 or 2, got {table[:, 1].min()} to {table[:, 1].max()}")
    return table[:, 0], table[:, 1]


def _numbers(lines: list[str], path: Path, *, width: int) -> np.ndarray:
    """Lines of an image's name and numbers: Long[N, width], the first column the image's id."""
    try:
        table = np.fromstring("\n".join(lines).replace(".jpg", ""), dtype=np.int64, sep=" ")
        return table.reshape(-1, width)
    except ValueError as error:
        raise SourceError(f"{path}: expected lines with an image's name and {width - 1} numbers ({error})") from error
