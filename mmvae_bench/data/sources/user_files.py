"""Reading the user's own files: bounded in size, and by content whatever their names say.

They may be links, as those of the Hugging Face hub's cache are, but what is read is a regular file.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from ...base.files import MOST_BYTES, DamagedFile, data_root, open_regular

FileStamp = tuple[str, int, int, int]
"""Path, size in bytes, and the times of the last change of content and of metadata in nanoseconds."""

_GZIP = b"\x1f\x8b"


class HasMd5(Protocol):
    """A file whose content is known."""

    @property
    def md5(self) -> str:
        """Of its content."""


class KnownFiles:
    """Files whose contents are known, in a folder of the user's."""

    root: Path | None
    """The folder; None: the data root, ``$MMVAE_BENCH_DATA``."""
    files: Sequence[HasMd5]

    @property
    def folder(self) -> Path:
        """The folder to look in."""
        return data_root() if self.root is None else self.root

    @property
    def checksum(self) -> str:
        """md5 of the md5s of the files."""
        return hashlib.md5("".join(file.md5 for file in self.files).encode(), usedforsecurity=False).hexdigest()


def read_file(path: Path, *, at_most: int = MOST_BYTES) -> bytes:
    """The content of a regular file, or of the one that a link leads to; raises OSError, also where it is too long."""
    try:
        with open_regular(path.resolve() if path.is_symlink() else path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > at_most:
                raise OSError(f"{size:,} bytes, at most {at_most:,} expected")
            return file.read(size)
    except DamagedFile as error:
        raise OSError(error.reason) from None


def is_gzip(content: bytes) -> bool:
    """Whether the content, whatever the file's name, is compressed with gzip."""
    return content.startswith(_GZIP)


def gunzip(content: bytes, *, at_most: int = MOST_BYTES) -> bytes:
    """Unpacks gzip without ever holding more than ``at_most`` bytes.

    Raises:
        OSError: if it is damaged, incomplete or longer than that.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            plain = file.read(at_most + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise OSError(f"truncated or damaged gzip ({error})") from None
    if len(plain) > at_most:
        raise OSError(f"more than {at_most:,} bytes when unpacked")
    return plain


def stamps(paths: Iterable[Path]) -> Iterator[FileStamp]:
    """The stamp of each file, with zeros for one that does not exist."""
    for path in paths:
        try:
            found = os.stat(path)
        except OSError:
            yield str(path), 0, 0, 0
        else:
            yield str(path), found.st_size, found.st_mtime_ns, found.st_ctime_ns
