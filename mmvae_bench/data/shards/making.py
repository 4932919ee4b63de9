"""The work itself, in whatever process: making one shard, and making single images again to compare them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from ...base.files import write_atomic
from ...worlds.recipe import ImageRecipe
from .arrow import encode, make_passport
from .hashing import label_digests, pixel_digests
from .manifest import ShardEntry, ShardRange
from .planes import join_planes, make_planes

CHUNK = 32
"""Images asked of a recipe at a time: often enough for a bar that moves."""

ImageDigest = tuple[str, str]
"""The digests of an image's pixels and of its labels."""


def make_shard(
    recipe: ImageRecipe, shard: ShardRange, *, folder: Path, fingerprint: str, done: Callable[[int], object]
) -> ShardEntry:
    """Makes the images of a shard and writes its file: whole, or not at all.

    Args:
        recipe: Makes the images.
        shard: Which.
        folder: Of the store.
        fingerprint: Of the recipe.
        done: Called with the number of images made so far.

    Raises:
        BenchmarkError: where the recipe cannot make them.
        OSError: where the file cannot be written.
    """
    parts = []
    for start in range(shard.start, shard.stop, CHUNK):
        stop = min(start + CHUNK, shard.stop)
        parts.append(make_planes(recipe, start, stop))
        done(stop - shard.start)
    planes = join_planes(parts)
    passport = make_passport(planes, start=shard.start, fingerprint=fingerprint)
    content = encode(planes, passport)
    write_atomic(folder / shard.file, lambda file: file.write(content))
    return ShardEntry(
        shard.file,
        shard.start,
        shard.stop,
        num_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        pixel_hash=passport.pixel_hash,
        label_hash=passport.label_hash,
    )


def digest_images(recipe: ImageRecipe, rows: Sequence[int], *, done: Callable[[int], object]) -> list[ImageDigest]:
    """Makes some images, one at a time, and gives the digests of each."""
    digests = []
    for number, row in enumerate(rows, start=1):
        planes = make_planes(recipe, row, row + 1)
        digests.append((pixel_digests(planes, [row])[0], label_digests(planes, [row])[0]))
        done(number)
    return digests
