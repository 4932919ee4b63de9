"""The lock of a folder: held by one process for as long as it lives, let go by the kernel whatever ends it."""

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
    """A file that is locked as long as it is open. No child process inherits it."""

    def __init__(self) -> None:
        self._file: int | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class TrialLock(_OpenFile):
    """Context manager: this process alone works in ``directory``.

    The lock is on an open file (flock), not the file's existence: a file that a dead process left behind holds nothing.

    Args:
        directory: A trial folder, which must exist.
        wait: Seconds to go on trying. Long enough by default to sit out those who only look whether it is held.

    Raises:
        LockHeld: on entering, where another process holds it.
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
                    raise LockHeld(f"{self.directory}: another process is at work on it")
                time.sleep(_RETRY_SECONDS)
        except BaseException:
            os.close(file)
            raise
        self._file = file
        return self


class Drivers(_OpenFile):
    """Context manager: from :meth:`join` on, this process is one of the drivers of a run, for as long as it lives.

    Args:
        root: The run's folder.
    """

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def __enter__(self) -> Self:
        return self

    def join(self) -> bool:
        """Whether this is the only driver now. The caller has the lock of the folder: two do not join at once."""
        self._file = _open(self.root / DRIVERS_FILE)
        alone = _try_lock(self._file, fcntl.LOCK_EX)
        fcntl.flock(self._file, fcntl.LOCK_SH)
        return alone


def is_locked(directory: Path) -> bool:
    """Whether some process holds the lock of ``directory``. Looking needs no right to write."""
    try:
        file = os.open(directory / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two who look do not see each other.
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
