"""The lock of a folder: held by one process for as long as it lives, released by the kernel however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from ..base.errors import BenchmarkError
from .names import DRIVERS_FILE, LOCK_FILE

_RETRY_SECONDS = 0.02


class LockHeld(BenchmarkError):
    """Another process holds the lock."""


class _OpenFile:
    """A file that is locked for as long as it is open. Child processes do not inherit it."""

    def __init__(self) -> None:
        self._file: int | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class TrialLock(_OpenFile):
    """Context manager: only this process works in ``directory``.

    The lock is on an open file (flock), not the file's existence: a file left behind by a dead process locks nothing.

    Args:
        directory: A trial folder, which must exist.
        wait: Seconds to keep trying; by default long enough to outlast processes that only check the lock.

    Raises:
        LockHeld: on entering, if another process holds it.
    """

    def __init__(self, directory: Path, *, wait: float = 1.0) -> None:
        super().__init__()
        self.directory, self.wait = directory, wait

    def __enter__(self) -> Self:
        file = _open(self.directory / LOCK_FILE)
        deadline = time.monotonic() + self.wait
        try:
            while not _try_lock(file, fcntl.LOCK_EX):
                if time.monotonic() >= deadline:
                    raise LockHeld(f"{self.directory}: another process is working on it")
                time.sleep(_RETRY_SECONDS)
        except BaseException:
            os.close(file)
            raise
        self._file = file
        return self


class Drivers(_OpenFile):
    """Context manager: from :meth:`join` to the end of the block, this process is one of the drivers of a run.

    Args:
        root: The run's folder.
    """

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def __enter__(self) -> Self:
        return self

    def join(self) -> bool:
        """Whether this is the only driver now. The caller holds the folder's lock, so no two drivers join at once."""
        self._file = _open(self.root / DRIVERS_FILE)
        alone = _try_lock(self._file, fcntl.LOCK_EX)
        fcntl.flock(self._file, fcntl.LOCK_SH)
        return alone


def is_locked(directory: Path) -> bool:
    """Whether a process holds the lock of ``directory``. Needs no write permission."""
    try:
        file = os.open(directory / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two processes checking at once do not see each other.
        return not _try_lock(file, fcntl.LOCK_SH)
    finally:
        os.close(file)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _try_lock(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
