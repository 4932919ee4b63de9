"""What lies in the folder of a store: which shards are whole, and what is wrong with the others. Changes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .arrow import FORMAT, decode, is_sealed
from .manifest import Manifest, ShardEntry, ShardRange

_THREADS = 2


@dataclass(frozen=True)
class ShardState:
    """A shard of a store, as it was found.

    Attributes:
        shard: Which images it shall hold.
        entry: What the manifest shall say of it; None where it is damaged or missing.
        problem: What is wrong; empty where nothing is.
        expected: Its sha256 by the manifest, where there is one.
        found: Its sha256; None where there is no such file.
    """

    shard: ShardRange
    entry: ShardEntry | None
    problem: str
    expected: str | None
    found: str | None

    @property
    def ok(self) -> bool:
        """Whether the shard is whole."""
        return self.entry is not None

    @property
    def missing(self) -> bool:
        """Whether there is no such file: nothing is lost, it is only not made yet."""
        return self.found is None


def check_listed(folder: Path, manifest: Manifest) -> list[ShardState]:
    """The state of every shard that a manifest lists, by its sha256."""

    def check(shard: ShardEntry) -> ShardState:
        digest = _sha256(folder / shard.file)
        if digest == shard.sha256:
            return ShardState(shard, shard, "", shard.sha256, digest)
        problem = "missing" if digest is None else "its content is not what was written"
        return ShardState(shard, None, problem, shard.sha256, digest)

    with ThreadPoolExecutor(_THREADS) as threads:  # hashing lets other threads run
        return list(threads.map(check, manifest.shards))


def check_unlisted(folder: Path, plan: Sequence[ShardRange], *, fingerprint: str) -> list[ShardState]:
    """The state of every shard of an unfinished store, by what each says of itself."""

    def check(shard: ShardRange) -> ShardState:
        try:
            content = (folder / shard.file).read_bytes()
        except FileNotFoundError:
            return ShardState(shard, None, "missing", None, None)
        digest = hashlib.sha256(content).hexdigest()
        try:
            entry = read_entry(content, shard, fingerprint=fingerprint)
        except ValueError as error:
            return ShardState(shard, None, str(error), None, digest)
        return ShardState(shard, entry, "", digest, digest)

    with ThreadPoolExecutor(_THREADS) as threads:
        return list(threads.map(check, plan))


def read_entry(content: bytes, shard: ShardRange, *, fingerprint: str) -> ShardEntry:
    """What a manifest shall say of a shard's content.

    Raises:
        ValueError: where it is damaged, or of another version, recipe or range.
    """
    if not is_sealed(content):
        raise ValueError("its content is not what was written")
    _, passport = decode(content)
    if passport.fingerprint != fingerprint:
        raise ValueError(f"made from another recipe, of fingerprint {passport.fingerprint}, not {fingerprint}")
    if (passport.start, passport.stop) != (shard.start, shard.stop):
        raise ValueError(f"it holds images {passport.start:,} to {passport.stop - 1:,}")
    return ShardEntry(
        shard.file,
        shard.start,
        shard.stop,
        num_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        pixel_hash=passport.pixel_hash,
        label_hash=passport.label_hash,
    )


def usable_manifest(folder: Path, *, fingerprint: str) -> Manifest | None:
    """The manifest of a folder, where it is of this recipe and this version of the files."""
    manifest = Manifest.read(folder)
    if manifest is None or manifest.format != FORMAT or manifest.fingerprint != fingerprint:
        return None
    return manifest


def is_whole(folder: Path, *, fingerprint: str) -> bool:
    """Whether the store is finished and every checksum is right."""
    manifest = usable_manifest(folder, fingerprint=fingerprint)
    return manifest is not None and all(state.ok for state in check_listed(folder, manifest))


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
