"""What a prepared dataset was made from: so that it is noticed when the user's files change under the same names.

``source.json`` beside the images holds a digest of the files' content, and stamps: hashes of their names, sizes and
times of change. Files with a known stamp are not read again. A dataset of an earlier version has no record: it counts
as made from these files unless one of them has changed since.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..base.canonical import content_hash
from ..base.files import read_json, write_json
from ..worlds.recipe import UserFiles

RECORD = "source.json"
_MOST_STAMPS = 8
"""Machines that share a cache, each with its own copy of the files."""


@dataclass(frozen=True)
class _Record:
    digest: str
    stamps: tuple[str, ...]


class Origin:
    """The user's files as they are now; their content is read only when it matters.

    Args:
        files: The files.
    """

    def __init__(self, files: UserFiles) -> None:
        self._files = files
        self.stamp, self._changed = _stamp(files)

    @cached_property
    def digest(self) -> str:
        """Hash of their content. May raise SourceError."""
        return self._files.digest()

    def made(self, folder: Path, products: Iterable[Path], *, by_content: bool = False) -> bool:
        """Whether, as far as can be known, a dataset was made from these files.

        Args:
            folder: Folder of the dataset.
            products: The files that were made, for a folder without a record.
            by_content: Read the user's files even if their stamp is known.
        """
        record = _read(folder)
        if record is None:
            return all(path.stat().st_mtime_ns >= self._changed for path in products)
        return (self.stamp in record.stamps and not by_content) or self.digest == record.digest

    def write(self, folder: Path) -> None:
        """Records that the dataset is made from these files; leaves a correct record as it is."""
        record = _read(folder)
        if record is not None and self.stamp in record.stamps:
            return
        known = record.stamps if record is not None and record.digest == self.digest else ()
        write_json(folder / RECORD, {"digest": self.digest, "stamps": [*known, self.stamp][-_MOST_STAMPS:]})

    def remember(self, folder: Path) -> None:
        """As :meth:`write`, if the folder can be written; otherwise the content is read again next time."""
        if os.access(folder, os.W_OK):
            with suppress(OSError):
                self.write(folder)

    def is_still_there(self) -> bool:
        """Whether no file has changed since this object was made."""
        return _stamp(self._files)[0] == self.stamp

    def report(self, folder: Path, products: Iterable[Path]) -> dict[str, Any]:
        """Plain JSON for ``data verify``: whether the content is still the same, and the digests."""
        record, same = _read(folder), self.made(folder, products, by_content=True)
        return {"ok": same, "expected": record and record.digest, "found": self.digest}


def recorded(folder: Path) -> str | None:
    """The digest of the files that a dataset is recorded to be made from, if any."""
    record = _read(folder)
    return None if record is None else record.digest


def _read(folder: Path) -> _Record | None:
    try:
        content = read_json(folder / RECORD)
        return _Record(str(content["digest"]), tuple(map(str, content["stamps"])))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _stamp(files: UserFiles) -> tuple[str, int]:
    """Hash of the names, sizes and times of the files, and the time of the last change of any."""
    stamps = list(files.stamps())
    return content_hash(stamps, 64), max((max(times) for _, _, *times in stamps), default=0)
