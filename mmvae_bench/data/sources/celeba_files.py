"""Where CelebA's aligned photographs lie: in a folder, a tar or a zip, as ``000001.jpg`` and so on.

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

import numpy as np

from . import SourceError
from .celeba_rows import image_name

NAME = re.compile(r"(?:^|/)(\d{6})\.jpe?g$", re.IGNORECASE)
FOLDERS = ("celeba", ".", "CelebA")
"""Where the files may lie under the data root; the first is torchvision's."""
IMAGES = "img_align_celeba"
"""How the name of the folder or archive begins."""


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
        """The content of the files at positions in ``ids``, in order, or why a file cannot be read."""


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
    """An uncompressed tar archive: where each image lies in it is read once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with tarfile.open(path, "r:") as archive:
                members = {member.name: member for member in archive if member.isfile()}
        except (tarfile.TarError, OSError) as error:
            raise SourceError(f"{path}: not a whole, uncompressed tar archive ({error}): copy it again") from error
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
            raise SourceError(f"{path}: not a whole zip archive ({error}): copy it again") from error
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
    """The images under a data root, None where there are none.

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
        raise SourceError(f"{len(repeated):,} images are there twice, the first: {', '.join(repeated[:3])}")
    return dict(numbered)


@lru_cache(maxsize=2)
def _zip(path: Path) -> zipfile.ZipFile:
    """An archive that stays open in this process."""
    return zipfile.ZipFile(path)
