"""The files of CelebA's photographs: a folder, a tar or a zip of ``000001.jpg`` ..., or a copy of the Hugging Face hub.

A copy from the hub has a column of images and one of each attribute, in three splits: the layout of ``flwrlabs/celeba``
(columns ``image``, ``celeb_id`` and the 40 attributes as booleans; splits train, valid and test) and of copies like it,
whose attributes may be -1 and 1 or 0 and 1 and whose validation split may be called validation or val. Such a copy has
no ids: its images are numbered in the order of the official partition.

Shapes: N image.
"""

from __future__ import annotations

import itertools
import os
import re
import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...base.files import cache_root
from ...specs.built_in.datasets import CELEBA18_SCHEMA
from . import SourceError
from .celeba_rows import Rows, image_name

if TYPE_CHECKING:
    from datasets import Dataset

NAME = re.compile(r"(?:^|/)(\d{6})\.jpe?g$", re.IGNORECASE)
FOLDERS = ("celeba", ".", "CelebA")
"""Folders to look in under the data root; the first is torchvision's."""
IMAGES = "img_align_celeba"
"""Prefix of the name of the folder or archive."""


class PhotoFiles(ABC):
    """Image files by id. Pickled to worker processes, so no file is held open.

    Attributes:
        path: The folder or the archive.
        ids: Long[N], ascending.
    """

    path: Path
    ids: np.ndarray

    @abstractmethod
    def read(self, positions: np.ndarray) -> Iterator[bytes | OSError]:
        """The content of the files at positions in ``ids``, in order; for a file that cannot be read, the reason."""


class FolderFiles(PhotoFiles):
    """A folder of images."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names = _by_id(entry.name for entry in os.scandir(path))
        self.ids = np.array(list(self._names), np.int64)

    def read(self, positions: np.ndarray) -> Iterator[bytes | OSError]:
        """See :meth:`PhotoFiles.read`."""
        for number in self.ids[positions].tolist():
            try:
                yield (self.path / self._names[number]).read_bytes()
            except OSError as error:
                yield error


class TarFiles(PhotoFiles):
    """An uncompressed tar archive: the place of each image in it is read once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with tarfile.open(path, "r:") as archive:
                members = {member.name: member for member in archive if member.isfile()}
        except (tarfile.TarError, OSError) as error:
            raise SourceError(f"{path}: not a complete, uncompressed tar archive ({error}): copy it again") from error
        names = _by_id(members)
        self.ids = np.array(list(names), np.int64)
        self._places = np.array([(members[name].offset_data, members[name].size) for name in names.values()], np.int64)

    def read(self, positions: np.ndarray) -> Iterator[bytes | OSError]:
        """See :meth:`PhotoFiles.read`."""
        with self.path.open("rb") as file:
            for offset, size in self._places[positions].tolist():
                file.seek(offset)
                yield file.read(size)


class ZipFiles(PhotoFiles):
    """A zip archive, as it is downloaded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._names = _by_id(_zip(path).namelist())
        except (zipfile.BadZipFile, OSError) as error:
            raise SourceError(f"{path}: not a complete zip archive ({error}): copy it again") from error
        self.ids = np.array(list(self._names), np.int64)

    def read(self, positions: np.ndarray) -> Iterator[bytes | OSError]:
        """See :meth:`PhotoFiles.read`."""
        for number in self.ids[positions].tolist():
            try:
                yield _zip(self.path).read(self._names[number])
            except (zipfile.BadZipFile, EOFError) as error:
                yield OSError(str(error))
            except OSError as error:
                yield error


def find_files(root: Path) -> PhotoFiles | None:
    """The images under a data root; None if there are none.

    The first of: the folder of torchvision's name, a zip, a tar, another folder whose name begins with that name.
    """
    for place in (root / folder for folder in FOLDERS):
        for pattern, kind in (("", FolderFiles), ("*.zip", ZipFiles), ("*.tar", TarFiles), ("*", FolderFiles)):
            for path in sorted(place.glob(IMAGES + pattern)):
                if path.is_dir() == (kind is FolderFiles) and len((found := kind(path)).ids):
                    return found
    return None


def _by_id(names: Iterator[str] | list[str] | dict[str, tarfile.TarInfo]) -> dict[int, str]:
    """The names of images by their ids, ascending.

    >>> _by_id(["celeba/000002.jpg", "000001.jpg", "notes.txt"])
    {1: '000001.jpg', 2: 'celeba/000002.jpg'}
    """
    found = ((NAME.search(name), name) for name in names)
    numbered = sorted((int(match[1]), name) for match, name in found if match)
    repeated = [image_name(number) for (number, _), (other, _) in itertools.pairwise(numbered) if number == other]
    if repeated:
        raise SourceError(f"{len(repeated):,} images occur twice, the first: {', '.join(repeated[:3])}")
    return dict(numbered)


@lru_cache(maxsize=2)
def _zip(path: Path) -> zipfile.ZipFile:
    """An archive that stays open in this process."""
    return zipfile.ZipFile(path)


SPLITS = (("train",), ("valid", "validation", "val"), ("test",))
"""The names of the splits, in the order of the official partition."""
IMAGE = "image"


class HubFiles:
    """The image column of a saved copy. Pickled to worker processes, so the files are opened where they are read.

    Args:
        path: The folder of the copy.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, positions: np.ndarray) -> Iterator[bytes | OSError]:
        """The image files at some positions, in order, or why one cannot be read."""
        images = _undecoded(self.path)
        for position in positions.tolist():
            content = images[position][IMAGE]["bytes"]
            yield content if content else OSError("the image column contains no bytes")


def find_hub_copy(folders: list[Path]) -> tuple[HubFiles, Rows] | None:
    """The first copy in ``folders`` or one level below them; None if there is none."""
    candidates = [path for folder in folders if folder.is_dir() for path in [folder, *sorted(folder.iterdir())]]
    for path in candidates:
        if path.is_dir() and (_is_saved(path) or _parquet(path)):
            return HubFiles(path), _rows(path)
    return None


def _is_saved(path: Path) -> bool:
    """Whether ``save_to_disk`` wrote the folder."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def _parquet(path: Path) -> dict[str, list[str]]:
    """The parquet files of each split, by name as the hub names them: ``train-00000-of-00019.parquet``."""
    files = {
        names[0]: sorted(str(file) for name in names for file in path.glob(f"{name}-*.parquet")) for names in SPLITS
    }
    return {name: found for name, found in files.items() if found}


def _splits(path: Path) -> list[tuple[int, Dataset]]:
    """The splits that exist, each with its number in the official partition."""
    import datasets

    if _is_saved(path):
        saved = datasets.load_from_disk(str(path))
        found: dict[str, Any] = dict(saved) if isinstance(saved, datasets.DatasetDict) else {"train": saved}
    else:
        found = dict(
            datasets.load_dataset("parquet", data_files=_parquet(path), cache_dir=str(cache_root() / "celeba-hub"))
        )
    return [(number, found[name]) for number, names in enumerate(SPLITS) for name in names if name in found]


def _undecoded(path: Path) -> Dataset:
    """All images in order, as files and not as pixels."""
    import datasets

    parts = [part.select_columns([IMAGE]) for _, part in _splits(path)]
    return datasets.concatenate_datasets(parts).cast_column(IMAGE, datasets.Image(decode=False))


def _rows(path: Path) -> Rows:
    concepts, partition = [], []
    for number, part in _splits(path):
        missing = [name for name in (IMAGE, *CELEBA18_SCHEMA.names) if name not in part.column_names]
        if missing:
            raise SourceError(
                f"{path}: no column {', '.join(missing)}; a copy of the hub's CelebA has {IMAGE} and one column per "
                f"attribute, this one has: {', '.join(part.column_names)}"
            )
        table = part.select_columns(list(CELEBA18_SCHEMA.names)).with_format("numpy")[:]
        concepts.append(np.stack([np.asarray(table[name]) > 0 for name in CELEBA18_SCHEMA.names], 1).astype(np.uint8))
        partition.append(np.full(len(part), number, np.uint8))
    if not concepts:
        raise SourceError(f"{path}: has none of the splits {', '.join(names[0] for names in SPLITS)}")
    joined = np.concatenate(concepts)
    return Rows(np.arange(1, len(joined) + 1), joined, np.concatenate(partition))
