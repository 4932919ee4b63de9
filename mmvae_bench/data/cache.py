"""Folders that are built once, either complete or absent, and verified by checksum.

A folder holds the builder's files and ``meta.json``, whose ``files`` give the sha256 of each, and whose ``checksum`` is
that of the rest of it (an earlier version wrote none). It is built under a temporary name and a lock, then renamed, so
a process that is killed leaves nothing that looks finished, and two processes that need the same folder build it once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

from filelock import FileLock

from ..base.canonical import content_hash
from ..base.errors import BenchmarkError
from ..base.files import DamagedFile, open_regular, read_json, write_json, writing_cache
from ..base.heartbeat import patiently

META = "meta.json"


@dataclass(frozen=True)
class FileState:
    """A file of a folder: its checksum and the expected one; None if it is missing or unknown."""

    name: str
    expected: str | None
    found: str | None

    @property
    def ok(self) -> bool:
        """Whether the file is what was written."""
        return self.expected is not None and self.expected == self.found


def inspect(folder: Path) -> list[FileState]:
    """The state of every file that ``meta.json`` names; of ``meta.json`` alone if it is damaged or names none."""
    try:
        meta = read_json(folder / META)
        expected: dict[str, str] = {name: entry["sha256"] for name, entry in meta["files"].items()}
        told = meta.pop("checksum", None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return [FileState(META, None, None)]
    if told is not None and told != (found := content_hash(meta, 64)):
        return [FileState(META, str(told), found)]
    states = [FileState(name, digest, file_sha256(folder / name)) for name, digest in sorted(expected.items())]
    return states or [FileState(META, None, None)]


def require_prepared(folder: Path, *, name: str, fingerprint: str) -> None:
    """Raises BenchmarkError if a dataset's folder does not exist."""
    if not folder.is_dir():
        raise BenchmarkError(f"{name} with fingerprint {fingerprint} is not prepared: {folder} does not exist")


def checked(folder: Path, *, name: str, source: str, fingerprint: str) -> dict[str, Any]:
    """The head of what ``data verify`` says of a dataset in a folder: its files with their checksums, and ``ok``.

    Raises:
        BenchmarkError: if the folder does not exist.
    """
    require_prepared(folder, name=name, fingerprint=fingerprint)
    files = inspect(folder)
    return {
        "name": name,
        "source": source,
        "fingerprint": fingerprint,
        "path": str(folder),
        "files": [
            {"file": state.name, "ok": state.ok, "expected": state.expected, "found": state.found} for state in files
        ],
        "ok": all(state.ok for state in files),
    }


def is_intact(folder: Path) -> bool:
    """Whether the folder is complete and every checksum is correct."""
    return all(state.ok for state in inspect(folder))


def build_once(folder: Path, build: Callable[[Path], dict[str, Any]]) -> bool:
    """Makes sure that ``folder`` exists and is intact: builds it if it is missing or damaged.

    Args:
        folder: Folder of the result. Its parent is created if needed.
        build: Writes its files into the folder it is given, which is empty, and returns the content of ``meta.json``.

    Returns:
        Whether this call built it.
    """
    if is_intact(folder):
        return False
    with writing_cache():
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = patiently(FileLock(folder.with_name(folder.name + ".lock")))
    with lock:
        if is_intact(folder):
            return False
        # The same name each time, under the lock: what a killed process left is cleared by the next.
        unfinished = folder.with_name(f".{folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        try:
            meta = build(unfinished)
            files = {}
            for path in sorted(unfinished.iterdir()):
                with path.open("rb") as file:
                    os.fsync(file.fileno())
                files[path.name] = {"sha256": file_sha256(path), "bytes": path.stat().st_size}
            content = json.loads(json.dumps({**meta, "files": files}))  # As it will be read.
            write_json(unfinished / META, {**content, "checksum": content_hash(content, 64)}, indent=2)
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(unfinished, folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    return True


def file_sha256(path: Path) -> str | None:
    """The sha256 of a file; None if it cannot be read or is not a regular file."""
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(cast(BufferedReader, file), "sha256").hexdigest()
    except (OSError, DamagedFile):
        return None
