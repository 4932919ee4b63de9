"""What a finished store says of itself: which files, made how, with which checksums. Written last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...base.files import read_json, write_json
from ...base.hashing import content_hash
from .hashing import add_hashes

MANIFEST = "manifest.json"
SHARD_SIZE = 1000
"""Images of a shard unless told otherwise."""


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


@dataclass(frozen=True)
class Manifest:
    """A finished store.

    Attributes:
        format: Version of the files.
        name: Of the dataset.
        fingerprint: Of the recipe.
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
        """Of all pixels in the order of the images, whatever the shards."""
        return add_hashes(shard.pixel_hash for shard in self.shards)

    @property
    def label_hash(self) -> str:
        """Of all concepts, scalars and masks."""
        return add_hashes(shard.label_hash for shard in self.shards)

    @property
    def num_bytes(self) -> int:
        """Of all shards on disk."""
        return sum(shard.num_bytes for shard in self.shards)

    def write(self, folder: Path) -> None:
        """Writes ``manifest.json``, atomically."""
        content = {**asdict(self), "pixel_hash": self.pixel_hash, "label_hash": self.label_hash}
        write_json(folder / MANIFEST, {**content, "checksum": content_hash(content, 64)}, indent=1)

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """The manifest of a folder; None where there is none, or a damaged or an unknown one."""
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
        raise ValueError(f"a store holds one or more images in shards of one or more, got {num_images}, {shard_size}")
    number = -(-num_images // shard_size)
    return [
        ShardRange(
            f"shard-{index:05d}-of-{number:05d}.arrow", index * shard_size, min(num_images, (index + 1) * shard_size)
        )
        for index in range(number)
    ]
