"""Photographs of the user with their annotations, as files by name: what the readers of LFW and CUB return.

Shapes: N photograph, A attribute.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ...base.heartbeat import beat
from ...base.printable import printable
from . import MissingSourceError, SourceError
from .user_files import FileStamp, read_file, stamps

MOST_BYTES = 16 * 2**20
"""The largest photograph, or mask of one."""
MOST_NAME, MOST_PART = 1000, 240
"""The longest name of a photograph, and of a folder or file in it, in bytes: with what is added a system takes 255."""
NUM_NAMED = 5
"""How many of the things that are wrong are named."""


@dataclass(frozen=True)
class Annotated:
    """Photographs that were found, in the order of the dataset.

    Attributes:
        folder: Where they are.
        names: The file of each in that folder: N.
        masks: The folder of their masks, which have the same names but end in ``.png``; None where there are none.
        concepts: Byte[N, A], 1 where the attribute is present.
        part: Byte[N], 0 train, 1 val, 2 test.
        scores: Float32[N, A]; None where there are none.
        about: What was found and what was left out: plain JSON.
    """

    folder: Path
    names: tuple[str, ...]
    masks: Path | None
    concepts: np.ndarray
    part: np.ndarray
    scores: np.ndarray | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def checksum(self) -> str:
        """Hash of the names and annotations, wherever the files are."""
        digest = hashlib.sha256("\n".join(self.names).encode())
        for array in (self.concepts, self.part, self.scores):
            if array is not None:
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def files(self, position: int) -> tuple[Path, ...]:
        """The photograph at a position and, where there is one, its mask."""
        name = self.names[position]
        return (self.folder / name,) if self.masks is None else (self.folder / name, self.masks / mask_name(name))


@dataclass(frozen=True)
class UsedFiles:
    """The files that images are made from, as files of the user.

    Attributes:
        photos: All photographs.
        positions: Which are used.
    """

    photos: Annotated
    positions: Sequence[int]

    def stamps(self) -> Iterable[FileStamp]:
        """See ``mmvae_bench.worlds.recipe.UserFiles``."""
        return stamps(path for position in self.positions for path in self.photos.files(position))

    def digest(self) -> str:
        """Hash of the names and of the content of each file."""
        whole = hashlib.sha256()
        for position in self.positions:
            for path in self.photos.files(position):
                try:
                    content = read_file(path, at_most=MOST_BYTES)
                except OSError:
                    content = b""
                whole.update(self.photos.names[position].encode() + b"\0" + hashlib.sha256(content).digest())
            beat()
        return whole.hexdigest()


def mask_name(name: str) -> str:
    """
    >>> mask_name("002.Bird/a b.jpg")
    '002.Bird/a b.png'
    """
    return PurePosixPath(name).with_suffix(".png").as_posix()


def read_lines(path: Path, *, at_most: int, most_lines: int, md5: str | None = None) -> list[str]:
    """The lines of a text file; what is no text is replaced, so that it is refused where it matters.

    Args:
        path: A file that exists.
        at_most: Bytes.
        most_lines: Of them.
        md5: That of the file as it is distributed; None where nobody has published it.

    Raises:
        SourceError: if it cannot be read, or is another file.
    """
    try:
        content = read_file(path, at_most=at_most)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error})") from error
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if md5 is not None and found != md5:
        raise SourceError(f"{path}: wrong md5 {found}, expected {md5}: copy or download the file again")
    if content.count(b"\n") > most_lines:
        raise SourceError(f"{path}: more than {most_lines:,} lines")
    return [line.rstrip("\r") for line in content.decode("utf-8", errors="replace").split("\n")]


def first_with(folders: Sequence[Path], name: str) -> Path | None:
    """The first folder that has something of a name."""
    return next((folder for folder in folders if (folder / name).exists()), None)


def safe_name(name: str) -> bool:
    """Whether a name, which a file of the user gives, leads nowhere but into a folder and is short enough for a file.

    >>> safe_name("002.Bird/a b.jpg"), safe_name("../etc/passwd"), safe_name("/etc/passwd"), safe_name("")
    (True, False, False, False)
    """
    path = PurePosixPath(name)
    inside = bool(path.parts) and not path.is_absolute() and ".." not in path.parts and name.isprintable()
    # Of a longer one the system says that it is too long, where it could say that there is no such file.
    return inside and len(name.encode()) <= MOST_NAME and all(len(part.encode()) <= MOST_PART for part in path.parts)


def named(names: Sequence[str]) -> str:
    """The first of some names, for an error."""
    shown = [printable(name) for name in names[:NUM_NAMED]]
    return ", ".join([*shown, *(["..."] if len(names) > NUM_NAMED else [])])


def check_there(folder: Path, names: Sequence[str], *, what: str) -> None:
    """Raises SourceError with the first of some files that are not in a folder."""
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise SourceError(
            f"{folder}: {len(missing):,} of {len(names):,} {what} are missing, the first: {named(missing)}: copy or "
            "unpack them again"
        )


def nothing_found(title: str, folders: Sequence[Path], expected: Sequence[str], advice: str) -> MissingSourceError:
    """The error where there are no such files: where they were looked for, and what to put there."""
    lines = [f"no {title} found; looked in:", *(f"  {folder.resolve()}" for folder in folders), "expected there:"]
    return MissingSourceError("\n".join([*lines, *(f"  {each}" for each in expected), advice]))
