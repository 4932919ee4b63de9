"""The files of CelebA's photographs: a folder, a tar or a zip of ``000001.jpg`` ..., in the layouts that people have.

Everything that is read is bounded in size, and what cannot be read is named: an archive is as trustworthy as whoever
packed it.

Shapes: N image.
"""

from __future__ import annotations

import itertools
import lzma
import os
import re
import struct
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from . import SourceError
from .celeba_rows import image_name
from .user_files import FileStamp, read_file, stamps

NAME = re.compile(r"(?:^|/)(\d{6})\.jpe?g$", re.IGNORECASE)
FOLDERS = ("celeba", ".", "CelebA")
"""Folders to look in under the data root; the first is torchvision's."""
IMAGES = "img_align_celeba"
"""Prefix of the name of the folder or archive."""
MOST_BYTES = 16 * 2**20
"""The largest photograph. Those of CelebA have about 10 kB, lossless ones 100 kB."""
_MOST_FOLDERS = 100


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

    def stamps(self, positions: np.ndarray) -> Iterator[FileStamp]:
        """Sizes and times of the files that hold the images at some positions."""
        return stamps([self.path])


class FolderFiles(PhotoFiles):
    """A folder of images."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._names = _by_id(entry.name for entry in os.scandir(path))
        except OSError as error:
            raise SourceError(f"{path}: cannot be listed ({error.strerror})") from error
        self.ids = np.array(list(self._names), np.int64)

    def read(self, positions: np.ndarray) -> Iterator[bytes | OSError]:
        """See :meth:`PhotoFiles.read`."""
        for path in self._paths(positions):
            try:
                yield read_file(path, at_most=MOST_BYTES)
            except OSError as error:
                yield error

    def stamps(self, positions: np.ndarray) -> Iterator[FileStamp]:
        """See :meth:`PhotoFiles.stamps`."""
        return stamps(self._paths(positions))

    def _paths(self, positions: np.ndarray) -> Iterator[Path]:
        return (self.path / self._names[number] for number in self.ids[positions].tolist())


class TarFiles(PhotoFiles):
    """An uncompressed tar archive: the place of each image in it is read once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with tarfile.open(path, "r:") as archive:
                members = {member.name: member for member in archive if member.isreg()}
                _check_end(archive)
        except (tarfile.TarError, OSError, ValueError, ArithmeticError, RecursionError) as error:
            raise SourceError(f"{path}: not a complete, uncompressed tar archive ({error}): copy it again") from error
        names = _by_id(members)
        self.ids = np.array(list(names), np.int64)
        self._places = [(members[name].offset_data, members[name].size) for name in names.values()]

    def read(self, positions: np.ndarray) -> Iterator[bytes | OSError]:
        """See :meth:`PhotoFiles.read`."""
        with self.path.open("rb") as file:
            for position in positions.tolist():
                offset, size = self._places[position]
                if size > MOST_BYTES:
                    yield _too_large(size)
                    continue
                file.seek(offset)
                yield file.read(size)


class ZipFiles(PhotoFiles):
    """A zip archive, as it is downloaded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            names = _zip(path).namelist()
        except _ZIP_ERRORS as error:
            raise SourceError(f"{path}: not a complete zip archive ({error}): copy it again") from error
        self._names = _by_id(names)
        self.ids = np.array(list(self._names), np.int64)

    def read(self, positions: np.ndarray) -> Iterator[bytes | OSError]:
        """See :meth:`PhotoFiles.read`."""
        for number in self.ids[positions].tolist():
            try:
                yield _member(_zip(self.path), self._names[number])
            except _ZIP_ERRORS as error:
                yield error if isinstance(error, OSError) else OSError(str(error))


_ZIP_ERRORS = (
    zipfile.BadZipFile, OSError, EOFError, zlib.error, lzma.LZMAError, struct.error, ValueError, LookupError,
    RuntimeError,
)  # fmt: skip


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    about = archive.getinfo(name)
    if about.flag_bits & 1:
        raise OSError("encrypted: unpack the archive with its password")
    if about.file_size > MOST_BYTES:
        raise _too_large(about.file_size)
    with archive.open(name) as file:
        return file.read(MOST_BYTES + 1)  # Up to its end, where its checksum is compared.


def _too_large(size: int) -> OSError:
    return OSError(f"{size:,} bytes, at most {MOST_BYTES:,} expected")


def _check_end(archive: tarfile.TarFile) -> None:
    """Raises OSError unless the members end at a block of zeros: a damaged header looks like the end to tarfile."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    block = archive.fileobj.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE or any(block):
        raise OSError(f"damaged or cut off at byte {archive.offset:,}, after {len(archive.getmembers()):,} files")


def find_files(root: Path) -> PhotoFiles | None:
    """The images under a data root; None if there are none.

    In each of :func:`places`, the first of: the folder of torchvision's name or, as Kaggle packs it, the folder of the
    same name in it; a zip; a tar; another folder whose name begins with that name; the place itself.
    """
    for place in places(root):
        for pattern, kind in (("", FolderFiles), ("*.zip", ZipFiles), ("*.tar", TarFiles), ("*", FolderFiles)):
            for path in sorted(place.glob(IMAGES + pattern)):
                for inner in (path, path / IMAGES) if kind is FolderFiles else (path,):
                    right = inner.is_dir() if kind is FolderFiles else inner.is_file()
                    if right and len((found := kind(inner)).ids):
                        return found
        if place.is_dir() and len((found := FolderFiles(place)).ids):
            return found
    return None


def places(root: Path) -> list[Path]:
    """Where CelebA may lie under a data root: ``FOLDERS``, what is in them, and folders of the root named after it."""
    first = [root / folder for folder in FOLDERS]
    inner = [
        path
        for place in first
        for path in folders_in(place)
        if not path.name.startswith(IMAGES) and (place != root / "." or "celeba" in path.name.casefold())
    ]
    return list(dict.fromkeys([*first, *inner]))


def folders_in(place: Path) -> list[Path]:
    """The folders in a place that can be read, hidden ones left out."""
    try:
        found = sorted(path for path in place.iterdir() if not path.name.startswith(".") and path.is_dir())
    except OSError:
        return []
    return [path for path in found[:_MOST_FOLDERS] if os.access(path, os.R_OK | os.X_OK)]


def describe_found(root: Path) -> list[str]:
    """What lies in the places that exist, for an error: a line for each folder, with its files counted by ending."""
    lines = []
    for place in places(root):
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError:
            continue
        folders = [f"{entry.name}/" for entry in entries if entry.is_dir()]
        endings = Counter("".join(Path(entry.name).suffixes[-2:]) or entry.name for entry in entries if entry.is_file())
        files = [f"{number:,} {ending}" for ending, number in endings.most_common(6)]
        lines.append(f"  {place.resolve()}: {', '.join([*folders[:8], *files]) or 'nothing'}")
    return lines


def _by_id(names: Iterable[str]) -> dict[int, str]:
    """The names of images by their ids, ascending.

    >>> _by_id(["celeba/000002.jpg", "000001.jpg", "notes.txt"])
    {1: '000001.jpg', 2: 'celeba/000002.jpg'}
    """
    found = ((NAME.search(name), name) for name in names)
    # A copy of a file's metadata, as macOS packs it, is no image.
    numbered = sorted((int(match[1]), name) for match, name in found if match and not name.startswith("__MACOSX"))
    repeated = [image_name(number) for (number, _), (other, _) in itertools.pairwise(numbered) if number == other]
    if repeated:
        raise SourceError(f"{len(repeated):,} images occur twice, the first: {', '.join(repeated[:3])}")
    return dict(numbered)


def _zip(path: Path) -> zipfile.ZipFile:
    """An archive that stays open in this process, for as long as the file is the same."""
    (stamp,) = stamps([path])
    return _opened_zip(path, stamp)


@lru_cache(maxsize=2)
def _opened_zip(path: Path, stamp: FileStamp) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)
