"""``checksums.json``: the sha256 of each file that is final when a trial is done.

It is written just before ``result.json`` appears, and covers that too, so a result is believed only as a whole. A trial
that was made before there were checksums has none, and is believed as it is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from ..base.files import DamagedFile, open_regular, read_bytes, write_json
from .documents import read_object
from .names import (
    CHECKPOINT_FILE,
    CHECKSUMS_FILE,
    PLANE_FILE,
    RESULT_FILE,
    SAMPLES_FILE,
    SPEC_FILE,
    TRAINING_LOG,
)

COVERED = (SPEC_FILE, CHECKPOINT_FILE, TRAINING_LOG, SAMPLES_FILE, PLANE_FILE)
"""The files with a checksum besides ``result.json``, as far as a trial has them."""
CHANGED = "its content is not what was written (sha256)"
_BLOCK = 2**20


def digest_of(path: Path) -> str:
    """The sha256 of a regular file, in hex digits, with bounded memory.

    Raises:
        DamagedFile: it is no regular file.
        OSError: it does not exist, or may not be read.
    """
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def write_checksums(directory: Path, *, result: bytes) -> None:
    """Writes the checksums of a trial whose ``result.json`` is about to appear with the content ``result``."""
    checksums = {name: digest_of(directory / name) for name in COVERED if (directory / name).is_file()}
    checksums[RESULT_FILE] = hashlib.sha256(result).hexdigest()
    write_json(directory / CHECKSUMS_FILE, checksums)


def read_checksums(directory: Path) -> dict[str, str] | None:
    """File name to sha256; None if the trial has no checksums; raises DamagedFile if they cannot be read."""
    return read_digests(directory / CHECKSUMS_FILE)


def read_digests(path: Path) -> dict[str, str] | None:
    """File name to sha256, from a file with nothing else; None if there is no such file; raises DamagedFile if it
    cannot be read."""
    try:
        plain = read_object(path)
    except FileNotFoundError:
        return None
    if not all(isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) for value in plain.values()):
        raise DamagedFile(path, "expected a sha256 for each file")
    return plain


def read_whole(path: Path) -> bytes:
    """The content of a trial's file, which must be the one that was written.

    Raises:
        DamagedFile: it is no regular file, too large, or another content than its checksum says.
        OSError: it does not exist, or may not be read.
    """
    content = read_bytes(path)
    check_digest(path, hashlib.sha256(content).hexdigest(), read_checksums(path.parent))
    return content


def check_whole(path: Path) -> None:
    """Raises what :func:`read_whole` raises, for a file of any size."""
    check_digest(path, digest_of(path), read_checksums(path.parent))


def check_digest(path: Path, digest: str, checksums: Mapping[str, str] | None) -> None:
    """Raises DamagedFile unless ``digest`` is the checksum of the file, or its trial has no checksums."""
    if checksums is None:
        return
    if path.name not in checksums:
        raise DamagedFile(path, f"{CHECKSUMS_FILE} beside it does not list it")
    if checksums[path.name] != digest:
        raise DamagedFile(path, CHANGED)
