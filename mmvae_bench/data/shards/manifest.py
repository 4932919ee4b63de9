"""The manifest of a finished store (its files, how they were made, their checksums), and the state of a store's files.

The manifest is written last. Checking a store changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...base.canonical import content_hash
from ...base.errors import BenchmarkError
from ...base.files import DamagedFile, open_regular, read_json, write_json
from ..cache import file_sha256
from .shard import FORMAT, Passport, add_hashes, decode, is_sealed

MANIFEST = "manifest.json"
SHARD_SIZE = 1000
"""Default number of images per shard."""


@dataclass(frozen=True)
class ShardRange:
    """Which images a shard holds, and the name of its file."""

    file: str
    start: int
    stop: int

    def __str__(self) -> str:
        return f"{self.file} (images {self.start:,} to {self.stop - 1:,})"


@dataclass(frozen=True)
class ShardEntry(ShardRange):
    """A finished shard."""

    num_bytes: int
    sha256: str
    pixel_hash: str
    label_hash: str

    @classmethod
    def of(cls, shard: ShardRange, content: bytes, passport: Passport) -> ShardEntry:
        """The entry of a shard with this content."""
        digest, hashes = hashlib.sha256(content).hexdigest(), (passport.pixel_hash, passport.label_hash)
        return cls(shard.file, shard.start, shard.stop, len(content), digest, *hashes)


@dataclass(frozen=True)
class Manifest:
    """A finished store.

    Attributes:
        format: Version of the files.
        name: Name of the dataset.
        fingerprint: Fingerprint of the recipe.
        recipe: Its description.
        num_images: N.
        image_shape: (C, H, W).
        num_attributes: A.
        num_masks: M.
        shard_size: Images of a shard; the last may have fewer.
        made_with: Versions of libraries.
        shards: In the order of their images.
    """

    format: int
    name: str
    fingerprint: str
    recipe: Mapping[str, Any]
    num_images: int
    image_shape: tuple[int, int, int]
    num_attributes: int
    num_masks: int
    shard_size: int
    made_with: Mapping[str, str]
    shards: tuple[ShardEntry, ...] = field(default=())

    @property
    def pixel_hash(self) -> str:
        """Hash of all pixels; independent of the division into shards."""
        return add_hashes(shard.pixel_hash for shard in self.shards)

    @property
    def label_hash(self) -> str:
        """Hash of all concepts, scalars and masks."""
        return add_hashes(shard.label_hash for shard in self.shards)

    @property
    def num_bytes(self) -> int:
        """Size of all shards on disk."""
        return sum(shard.num_bytes for shard in self.shards)

    def write(self, folder: Path) -> None:
        """Writes ``manifest.json``, atomically."""
        content = {**asdict(self), "pixel_hash": self.pixel_hash, "label_hash": self.label_hash}
        write_json(folder / MANIFEST, {**content, "checksum": content_hash(content, 64)}, indent=1)

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """The manifest of a folder; None if there is none, or it is damaged or unknown."""
        try:
            content = read_json(folder / MANIFEST)
            if content.pop("checksum") != content_hash(content, 64):
                return None
            del content["pixel_hash"], content["label_hash"]
            shards = tuple(ShardEntry(**entry) for entry in content.pop("shards"))
            return cls(**{**content, "image_shape": tuple(content["image_shape"]), "shards": shards})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


def plan_shards(num_images: int, shard_size: int) -> Sequence[ShardRange]:
    """Which shard holds which images.

    >>> [str(shard) for shard in plan_shards(2500, 1000)][-1]
    'shard-00002-of-00003.arrow (images 2,000 to 2,499)'
    """
    if num_images < 1 or shard_size < 1:
        raise ValueError(f"num_images and shard_size must be at least 1, got {num_images} and {shard_size}")
    number = -(-num_images // shard_size)
    return [
        ShardRange(
            f"shard-{index:05d}-of-{number:05d}.arrow", index * shard_size, min(num_images, (index + 1) * shard_size)
        )
        for index in range(number)
    ]


_THREADS = 2


@dataclass(frozen=True)
class ShardState:
    """The state of a shard of a store.

    Attributes:
        shard: The images it should hold.
        entry: Its entry in the manifest; None if it is damaged or missing.
        problem: What is wrong; empty if nothing is.
        expected: Its sha256 in the manifest, if there is one.
        found: Its sha256; None if the file does not exist.
    """

    shard: ShardRange
    entry: ShardEntry | None
    problem: str
    expected: str | None
    found: str | None

    @property
    def ok(self) -> bool:
        """Whether the shard is intact."""
        return self.entry is not None

    @property
    def missing(self) -> bool:
        """Whether the file does not exist: it is not lost, only not made yet."""
        return self.found is None


def check_listed(folder: Path, manifest: Manifest) -> list[ShardState]:
    """The state of every shard that a manifest lists, by its sha256."""

    def check(shard: ShardEntry) -> ShardState:
        digest = file_sha256(folder / shard.file)
        if digest == shard.sha256:
            return ShardState(shard, shard, "", shard.sha256, digest)
        problem = "missing" if digest is None else "its content has changed since it was written"
        return ShardState(shard, None, problem, shard.sha256, digest)

    with ThreadPoolExecutor(_THREADS) as threads:  # hashing releases the GIL
        return list(threads.map(check, manifest.shards))


def check_unlisted(folder: Path, plan: Sequence[ShardRange], *, fingerprint: str) -> list[ShardState]:
    """The state of every shard of an unfinished store, by the metadata of each."""

    def check(shard: ShardRange) -> ShardState:
        try:
            with open_regular(folder / shard.file) as file:
                content = file.read()
        except FileNotFoundError:
            return ShardState(shard, None, "missing", None, None)
        except DamagedFile as error:
            return ShardState(shard, None, error.reason, None, "")
        digest = hashlib.sha256(content).hexdigest()
        try:
            entry = read_entry(content, shard, fingerprint=fingerprint)
        except ValueError as error:
            return ShardState(shard, None, str(error), None, digest)
        return ShardState(shard, entry, "", digest, digest)

    with ThreadPoolExecutor(_THREADS) as threads:
        return list(threads.map(check, plan))


def read_entry(content: bytes, shard: ShardRange, *, fingerprint: str) -> ShardEntry:
    """The entry in a manifest for a shard's content.

    Raises:
        ValueError: if it is damaged, or of another version, recipe or range.
    """
    if not is_sealed(content):
        raise ValueError("its content has changed since it was written")
    _, passport = decode(content)
    if passport.fingerprint != fingerprint:
        raise ValueError(f"made from another recipe: fingerprint {passport.fingerprint}, expected {fingerprint}")
    if (passport.start, passport.stop) != (shard.start, shard.stop):
        raise ValueError(f"it holds images {passport.start:,} to {passport.stop - 1:,}")
    return ShardEntry.of(shard, content, passport)


def open_manifest(folder: Path) -> Manifest:
    """The manifest of a finished store; raises BenchmarkError if there is none that can be used."""
    manifest = Manifest.read(folder)
    if manifest is None or manifest.format != FORMAT:
        why = "missing" if not (folder / MANIFEST).exists() else "damaged, or of another version"
        raise BenchmarkError(
            f"{folder} is not prepared: no usable {MANIFEST} ({why}); `mmvae-bench data prepare` with the same "
            "settings makes what is missing"
        )
    return manifest


def usable_manifest(folder: Path, *, fingerprint: str) -> Manifest | None:
    """The manifest of a folder, if it is of this recipe and this version of the files."""
    manifest = Manifest.read(folder)
    if manifest is None or manifest.format != FORMAT or manifest.fingerprint != fingerprint:
        return None
    return manifest


def is_whole(folder: Path, *, fingerprint: str) -> bool:
    """Whether the store is finished and every checksum is correct."""
    manifest = usable_manifest(folder, fingerprint=fingerprint)
    return manifest is not None and all(state.ok for state in check_listed(folder, manifest))
