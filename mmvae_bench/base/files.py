"""Reading and writing files, and the folders of the user's data and of the cache.

A file is either complete or absent: it is written under a temporary name, flushed to disk, then renamed. Text is UTF-8,
whatever the locale. A file of a run or of the cache may come from a stranger, so it is data and nothing else: only a
regular file is opened, no link is followed, and neither its size nor its nesting can exhaust memory.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NoReturn

from .errors import BenchmarkError, ConfigError
from .printable import printed

CACHE_VARIABLE = "MMVAE_BENCH_CACHE"
DATA_VARIABLE = "MMVAE_BENCH_DATA"

MOST_BYTES = 64 * 2**20
"""The largest file that is read as a whole, unless the caller says otherwise. A result of 1 MB is a large one."""
MOST_LEVELS = 100
"""How deeply JSON may be nested. What this package writes has fewer than ten levels."""


class DamagedFile(BenchmarkError, ValueError):
    """A file exists but is not what it should be: no regular file, too large, not text, not JSON, or the wrong JSON."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is damaged: {reason}")
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple[type[DamagedFile], tuple[Path, str]]:
        """Its parts, not its message: it crosses from one process to another."""
        return type(self), (self.path, self.reason)


def cache_root() -> Path:
    """Folder of everything that can be recreated: ``$MMVAE_BENCH_CACHE``, else ``~/.cache/mmvae-bench``.

    Raises:
        ConfigError: there is no home folder.
    """
    return _folder_of(CACHE_VARIABLE) or _home(CACHE_VARIABLE, "~") / ".cache" / "mmvae-bench"


def data_root() -> Path:
    """Folder of the user's data files: ``$MMVAE_BENCH_DATA``, else ``data`` under the cache root.

    Raises:
        ConfigError: there is no home folder.
    """
    return _folder_of(DATA_VARIABLE) or cache_root() / "data"


def _folder_of(variable: str) -> Path | None:
    given = os.environ.get(variable)
    return _home(variable, given) if given else None


def _home(variable: str, path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # HOME is not set, and the system does not know the user (a container's --user).
        raise ConfigError(f"{path}: {error}\n  Set {variable} to a folder.") from None


@contextmanager
def writing_cache() -> Iterator[None]:
    """Turns an OSError that refuses to write in the cache into an error that names the variable to set.

    Raises:
        ConfigError: the cache must be written, and cannot be.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        raise ConfigError(
            f"the cache cannot be written: {error.filename or cache_root()}: {error.strerror}\n"
            f"  It is in {cache_root()}. Set {CACHE_VARIABLE} to a folder that can be written."
        ) from error


_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT)
"""Why a folder cannot be written at all; a full disk is another matter."""


def check_cache() -> None:
    """Raises ConfigError if the cache cannot be written. Makes its folder."""
    with writing_cache():
        cache_root().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache_root()):
            pass


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path next to ``path``, and renames it to ``path`` if the block succeeds.

    If the block raises (no space left, say), the temporary file is removed and ``path`` is unchanged. An OSError about
    the temporary file names ``path``. The temporary file is locked for as long as it is being written, so that
    :func:`clear_leftovers` can tell it from one whose writer was killed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle, name = _locked_temporary(path)
    except OSError as error:
        error.filename = str(path)
        raise
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(FileNotFoundError):
            temporary.unlink()
        if isinstance(error, OSError) and str(error.filename) == name:
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        os.close(handle)


def _locked_temporary(path: Path) -> tuple[int, str]:
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        with suppress(OSError):  # A file system without locks: there, leftovers are not told apart either.
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, name
        os.close(handle)  # Taken for a leftover before it was locked.


_TEMPORARY = re.compile(r"\..+(\.[^.]+)\.[a-z0-9_]{8}\1")
"""The names that :func:`atomic_path` gives to temporary files, such as ``.spec.json.0_a1b2c3.json``. Those of files
without an ending are left out: they cannot be told from a user's, such as ``.vimrc.original``."""


def clear_leftovers(folder: Path) -> None:
    """Removes the temporary files in a folder whose writers were killed; those that are being written stay.

    Does nothing if the folder is a link: a stranger may have made it.
    """
    if folder.is_symlink():
        return
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for path in [Path(entry) for entry in entries if _TEMPORARY.fullmatch(entry.name)]:
            with suppress(OSError, DamagedFile), os.fdopen(regular_descriptor(path, os.O_RDWR), "rb") as file:
                # For writing: on NFS no other file can be locked.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


def write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Replaces ``path`` with what ``write`` writes to the file it is given."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        write(file)


def write_text(path: Path, text: str) -> None:
    """Replaces ``path`` with ``text``, atomically."""
    # Text may hold the bytes of a file's name that is not UTF-8, as Python represents them.
    write_atomic(path, lambda file: file.write(text.encode(errors="backslashreplace")))


def write_json(path: Path, value: Any, *, indent: int | None = None) -> None:
    """Replaces ``path`` with ``value`` as JSON, atomically. Not-a-number is refused: write null."""
    write_text(path, json.dumps(value, indent=indent, allow_nan=False) + "\n")


@contextmanager
def open_regular(path: Path) -> Iterator[IO[bytes]]:
    """Opens a regular file for reading. Never follows a link in its last place, never waits for a pipe.

    Raises:
        DamagedFile: it is a link, a folder, a pipe, a socket or a device.
        OSError: it does not exist, or may not be read.
    """
    with os.fdopen(regular_descriptor(path, os.O_RDONLY), "rb") as file:
        yield file


@contextmanager
def append_regular(path: Path) -> Iterator[IO[bytes]]:
    """Opens a regular file for appending, and creates it if needed. Never follows a link, never waits for a pipe.

    Raises:
        DamagedFile: it is a link, a pipe, a socket or a device.
        OSError: it cannot be written.
    """
    with os.fdopen(regular_descriptor(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as file:
        yield file


def regular_descriptor(path: Path, flags: int) -> int:
    """The descriptor of a regular file, opened with ``flags``; errors as those of :func:`open_regular`."""
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise DamagedFile(path, "not a regular file") from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DamagedFile(path, "not a regular file")
    return descriptor


def read_bytes(path: Path, *, at_most: int = MOST_BYTES) -> bytes:
    """The content of a regular file.

    Raises:
        DamagedFile: it is no regular file, or longer than ``at_most`` bytes.
        OSError: it does not exist, or may not be read.
    """
    with open_regular(path) as file:
        content = file.read(at_most + 1)
    if len(content) > at_most:
        raise DamagedFile(path, f"more than {at_most:,} bytes")
    return content


def read_text(path: Path, *, at_most: int = MOST_BYTES) -> str:
    """The text of a regular file, which must be UTF-8; errors as those of :func:`read_bytes`."""
    try:
        return read_bytes(path, at_most=at_most).decode()
    except UnicodeDecodeError as error:
        raise DamagedFile(path, f"not UTF-8 text at byte {error.start}") from None


def read_json(path: Path, *, at_most: int = MOST_BYTES) -> Any:
    """The JSON value in a regular file.

    Raises:
        DamagedFile: it is no regular file, too large, nested too deeply, or not JSON (NaN and Infinity are not).
        OSError: it does not exist, or may not be read.
    """
    try:
        return parse_json(read_text(path, at_most=at_most))
    except DamagedFile:
        raise
    except ValueError as error:
        raise DamagedFile(path, str(error)) from None


def parse_json(text: str) -> Any:
    """The value of a JSON text from outside.

    Raises:
        ValueError: it is not JSON (NaN and Infinity are not), or nested more than ``MOST_LEVELS`` deep.
    """
    try:
        value = json.loads(text, parse_constant=_refused)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    containers, levels = _containers([value]), 0
    while containers:
        levels += 1
        if levels > MOST_LEVELS:
            raise ValueError(f"nested more than {MOST_LEVELS} deep")
        containers = [
            part
            for container in containers
            for part in _containers(container.values() if isinstance(container, dict) else container)
        ]
    return value


def _containers(values: Iterable[Any]) -> list[dict[str, Any] | list[Any]]:
    return [value for value in values if isinstance(value, (dict, list))]


def _refused(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def tail(path: Path, *, start: int = 0, num_lines: int = 10, num_bytes: int = 4096) -> list[str]:
    """The last lines of a regular text file, printable, looking no further back than ``start`` and ``num_bytes``."""
    try:
        with open_regular(path) as file:
            file.seek(0, 2)
            file.seek(max(start, file.tell() - num_bytes))
            lines = printed(file.read(num_bytes).decode(errors="replace")).splitlines()
    except (OSError, DamagedFile):
        return []
    return [line.rstrip() for line in lines if line.strip()][-num_lines:]
