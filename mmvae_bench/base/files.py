"""Reading and writing files, and the folders of the user's data and of the cache.

A file is either complete or absent: it is written under a temporary name, flushed to disk, then renamed. Text is UTF-8,
whatever the locale. A file of a run or of the cache may come from a stranger, so it is data and nothing else: only a
regular file is opened, no link is followed, and neither its size nor its nesting can exhaust memory.
"""

from __future__ import annotations

import errno
import glob
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NoReturn

from .errors import BenchmarkError
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


def cache_root() -> Path:
    """Folder of everything that can be recreated: ``$MMVAE_BENCH_CACHE``, else ``~/.cache/mmvae-bench``."""
    given = os.environ.get(CACHE_VARIABLE)
    return Path(given).expanduser() if given else Path.home() / ".cache" / "mmvae-bench"


def data_root() -> Path:
    """Folder of the user's data files: ``$MMVAE_BENCH_DATA``, else ``data`` under the cache root."""
    given = os.environ.get(DATA_VARIABLE)
    return Path(given).expanduser() if given else cache_root() / "data"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path next to ``path``, and renames it to ``path`` if the block succeeds.

    If the block raises (no space left, say), the temporary file is removed and ``path`` is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise


def remove_leftovers(path: Path) -> None:
    """Removes temporary files left by writers of ``path`` that were killed. No writer may be running."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*"):
        leftover.unlink(missing_ok=True)


def write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Replaces ``path`` with what ``write`` writes to the file it is given."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        write(file)


def write_text(path: Path, text: str) -> None:
    """Replaces ``path`` with ``text``, atomically."""
    write_atomic(path, lambda file: file.write(text.encode()))


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
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise DamagedFile(path, "not a regular file") from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DamagedFile(path, "not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        yield file


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
