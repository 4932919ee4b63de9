"""The lock of a folder: held by one process for as long as it lives, released by the kernel however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from ..base.errors import BenchmarkError
from ..base.files import regular_descriptor
from ..base.printable import printable
from .names import DRIVERS_FILE, LOCK_FILE, REPORT_LOCK_FILE

_RETRY_SECONDS = 0.02
_MOST_BYTES = 65_536
"""How much of the list of drivers is read."""
_QUIET_SECONDS = 3.0
"""How long to wait for a report without a word: most are written in less."""
_MOST_NAME_BYTES = 200


class LockHeld(BenchmarkError):
    """Another process holds the lock."""


class NoLocks(BenchmarkError):
    """The file system cannot lock files."""


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
    If the file is deleted meanwhile, another process can lock a new one; so whoever works here calls
    :func:`check_held` before it writes.

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
        self._file = self._acquired()
        _held[self.directory] = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _held.pop(self.directory, None)
        super().__exit__(kind, error, traceback)

    def check(self) -> bool:
        """Whether the file had to be made and locked again, because it was deleted; see :func:`check_held`."""
        path = self.directory / LOCK_FILE
        if self._file is None or _is_at(self._file, path):
            return False
        try:
            anew = self._acquired()
        except (LockHeld, OSError) as error:
            raise LockHeld(f"{path} was deleted while this process worked on the trial, and {_since(error)}") from None
        os.close(self._file)
        self._file = anew
        return True

    def _acquired(self) -> int:
        path, deadline = self.directory / LOCK_FILE, time.monotonic() + self.wait
        while True:
            file = regular_descriptor(path, os.O_RDWR | os.O_CREAT)
            try:
                while not _try_lock(file, fcntl.LOCK_EX):
                    if time.monotonic() >= deadline:
                        raise LockHeld(f"{self.directory}: another process is working on it")
                    time.sleep(_RETRY_SECONDS)
                if _is_at(file, path):
                    return file
            except BaseException:
                os.close(file)
                raise
            os.close(file)  # Deleted between opening and locking: what is locked there now is another file.


_held: dict[Path, TrialLock] = {}


def check_held(directory: Path) -> bool:
    """Makes sure that a lock of this process still keeps others out of ``directory``; nothing where it holds none.

    Returns:
        Whether the lock file had been deleted, and was made and locked again.

    Raises:
        LockHeld: it was deleted, and another process has locked the new one, or the folder is gone: this process must
            write nothing more there.
    """
    lock = _held.get(directory)
    return lock is not None and lock.check()


def _since(error: Exception) -> str:
    if isinstance(error, LockHeld):
        return "another process has taken the trial over: this one stops"
    return f"it cannot be made again ({error}): this process stops"


def _is_own(descriptor: int) -> bool:
    """Whether a file has no other name: what is written into a copy of a folder made of hard links changes both."""
    return os.fstat(descriptor).st_nlink == 1


class Drivers(_OpenFile):
    """Context manager: from :meth:`join` to the end of the block, this process is one of the drivers of a run.

    The file has one line for each driver since one was the last time alone: what identifies its code, a space, and
    which process it is.

    Args:
        root: The run's folder.
        code: What identifies the code of this driver, without spaces.

    Attributes:
        others: The lines of drivers with other code, printable; known after :meth:`join`.
    """

    def __init__(self, root: Path, *, code: str = "-") -> None:
        super().__init__()
        self.root, self.code = root, code
        self.others: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        return self

    def join(self) -> bool:
        """Whether this is the only driver now. The caller holds the folder's lock, so no two drivers join at once."""
        self._file = regular_descriptor(self.root / DRIVERS_FILE, os.O_RDWR | os.O_CREAT)
        alone = _try_lock(self._file, fcntl.LOCK_EX)
        if alone and _is_own(self._file):
            os.ftruncate(self._file, 0)
        fcntl.flock(self._file, fcntl.LOCK_SH)
        if not _is_own(self._file):
            return alone
        lines = [printable(line) for line in os.pread(self._file, _MOST_BYTES, 0).decode(errors="replace").splitlines()]
        self.others = tuple(dict.fromkeys(line for line in lines if line and line.partition(" ")[0] != self.code))
        own = f"{self.code} process {os.getpid()} on {socket.gethostname()}\n"
        os.pwrite(self._file, own.encode(errors="replace"), os.fstat(self._file).st_size)
        os.fsync(self._file)  # On NFS other machines would not see it before the file is closed.
        return alone


class Anchor(_OpenFile):
    """Context manager: inside its block :meth:`moved` tells whether a folder is still where it was at the beginning.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def __enter__(self) -> Self:
        with suppress(FileNotFoundError, NotADirectoryError):  # Gone already.
            self._file = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self

    def moved(self) -> bool:
        """Whether the folder was renamed or removed, or is another one now; False if that cannot be told."""
        try:
            now = os.stat(self.folder)
            return self._file is not None and not os.path.samestat(os.fstat(self._file), now)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False  # A file system that does not answer for a moment is no reason to end a run.


class ReportLock(_OpenFile):
    """Context manager: only this process writes the report of a run.

    Where files cannot be locked, or the lock is another user's, the report is written all the same: reading copies of
    runs needs no lock.

    Args:
        root: The run's folder, which must exist.
        wait: Seconds to wait for another process.
        tell: Called once if that takes more than a few seconds, with a line that says for which process.

    Raises:
        LockHeld: on entering, if another process writes it for longer.
    """

    def __init__(self, root: Path, *, wait: float, tell: Callable[[str], object] = lambda text: None) -> None:
        super().__init__()
        self.root, self.wait, self._tell = root, wait, tell

    def __enter__(self) -> Self:
        begin, told = time.monotonic(), False
        with suppress(PermissionError):
            self._file = regular_descriptor(self.root / REPORT_LOCK_FILE, os.O_RDWR | os.O_CREAT)
        if self._file is None:
            return self
        try:
            while not _try_lock(self._file, fcntl.LOCK_EX):
                waited = time.monotonic() - begin
                if waited >= self.wait:
                    raise LockHeld(f"{self.root}: another process is writing its report")
                if waited >= _QUIET_SECONDS and not told:
                    told = True
                    self._tell(f"{self.root}: waiting for {self._holder()}, which is writing its report")
                time.sleep(_RETRY_SECONDS)
            self._sign(f"process {os.getpid()} on {socket.gethostname()}\n")
        except NoLocks:
            pass
        except BaseException:
            super().__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._sign("")
        super().__exit__(kind, error, traceback)

    def _sign(self, name: str) -> None:
        """Writes who holds the lock into its file; on a full disk it is held all the same."""
        if self._file is not None:
            with suppress(OSError):
                if not _is_own(self._file):
                    return
                os.ftruncate(self._file, 0)
                os.pwrite(self._file, name.encode(), 0)

    def _holder(self) -> str:
        assert self._file is not None
        name = os.pread(self._file, _MOST_NAME_BYTES, 0).decode(errors="replace").strip()
        return printable(name) or "another process"


def is_locked(directory: Path) -> bool:
    """Whether a process holds the lock of ``directory``. Needs no write permission."""
    try:
        file = os.open(directory / LOCK_FILE, os.O_RDONLY | _SAFE)
    except OSError as error:
        if isinstance(error, FileNotFoundError) or error.errno in (errno.ELOOP, errno.ENXIO):
            return False  # No process of ours locks a link or a socket.
        raise
    try:
        # Shared, so that two processes checking at once do not see each other.
        return not _try_lock(file, fcntl.LOCK_SH)
    finally:
        os.close(file)


_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP})
_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def _is_at(file: int, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _try_lock(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise NoLocks(
            f"{os.strerror(error.errno)}: the file system of the run's folder cannot lock files (flock), so processes "
            "could not keep out of each other's way\n  Choose a folder on another one, or have it mounted with locks."
        ) from None
    return True
