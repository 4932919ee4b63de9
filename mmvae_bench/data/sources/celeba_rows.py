"""CelebA's annotation files: 40 attributes and the official partition of 202,599 images.

Shapes: N image, A attribute.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...specs.built_in.datasets import CELEBA18_SCHEMA
from . import SourceError

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
    """Reads both files, plain or gzipped, from the first of ``folders`` that has them.

    Args:
        folders: Where to look.
        attributes: The file of the attributes and its md5.
        partition: The file of the partition and its md5.

    Raises:
        SourceError: if a file is missing, damaged or not the official one, or the two disagree about the images.
    """
    names, ids, values = _attribute_table(_read(folders, attributes), attributes.name)
    missing = [name for name in CELEBA18_SCHEMA.names if name not in names]
    if missing:
        raise SourceError(f"{attributes.name} has no column {', '.join(missing)}; it has: {', '.join(names)}")
    other_ids, parts = _partition_table(_read(folders, partition), partition.name)
    if not np.array_equal(ids, other_ids):
        different = np.setxor1d(ids, other_ids)[:3]
        raise SourceError(
            f"{attributes.name} has {len(ids):,} images and {partition.name} {len(other_ids):,}, and they differ, "
            f"first in {', '.join(image_name(number) for number in different)}; both belong to one download"
        )
    columns = [names.index(name) for name in CELEBA18_SCHEMA.names]
    return Rows(ids, (values[:, columns] > 0).astype(np.uint8), parts.astype(np.uint8))


def image_name(number: int) -> str:
    """
    >>> image_name(7)
    '000007.jpg'
    """
    return f"{number:06d}.jpg"


def _read(folders: list[Path], file: TextFile) -> str:
    """The checked content of a file."""
    paths = [folder / (file.name + suffix) for folder in folders for suffix in ("", ".gz")]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        places = "\n".join(f"  {folder.resolve()}" for folder in folders)
        raise SourceError(f"no {file.name}, plain or with .gz, in any of\n{places}")
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path}: cannot be read ({error})") from error
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != file.md5:
        raise SourceError(f"{path}: wrong md5 {found}, expected {file.md5}: copy or download the file again")
    return content.decode("ascii")


def _attribute_table(text: str, name: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Column names, ids and values of ``count / names / 000001.jpg -1 1 ...``."""
    lines = text.splitlines()
    names = lines[1].split()
    table = _numbers(lines[2:], name, width=1 + len(names))
    if not lines[0].strip().isdigit() or int(lines[0]) != len(table):
        raise SourceError(f"{name} declares {lines[0].strip()!r} images but has {len(table):,}")
    return names, table[:, 0], table[:, 1:]


def _partition_table(text: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    table = _numbers(text.splitlines(), name, width=2)
    if table[:, 1].min() < 0 or table[:, 1].max() > 2:
        raise SourceError(f"{name}: a partition must be 0, 1 or 2, got {table[:, 1].min()} to {table[:, 1].max()}")
    return table[:, 0], table[:, 1]


def _numbers(lines: list[str], name: str, *, width: int) -> np.ndarray:
    """Lines of an image's name and numbers: Long[N, width], the first column the image's id."""
    try:
        table = np.fromstring("\n".join(lines).replace(".jpg", ""), dtype=np.int64, sep=" ")
        return table.reshape(-1, width)
    except ValueError as error:
        raise SourceError(f"{name}: expected lines with an image's name and {width - 1} numbers ({error})") from error
