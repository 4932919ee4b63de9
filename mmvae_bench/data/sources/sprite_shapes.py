"""The images of dSprites' file that are used as sprites, kept in the cache.

Shapes: N bitmap, n bitmap of a part, S side of an image in pixels, K byte of an image (eight pixels in each).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...base.files import cache_root
from ...base.heartbeat import beat
from ...worlds.dsprites import factors
from ...worlds.sprite_bitmaps import PLACES, Bitmaps, bitmap_numbers
from ...worlds.sprites import CENTRE_JITTER, CENTRES
from ..cache import build_once
from . import SourceError
from .dsprites_file import DSpritesFile

PREPARATION_VERSION = 1
"""Increased whenever the same file gives different bitmaps."""
_SQUARE = 0
"""The shape whose middle is that of its pixels, as a heart's is not."""
_MOST_AWAY = 0.08
"""Of the side of an image: how far the middle of a sprite's pixels may be from that of the square at its place. The
hearts of the drawn grid are at most 0.04 away."""


class SpriteShapes:
    """The bitmaps of the user's copy of the file.

    Args:
        file: By default the one under the data root, looked for when it is needed.
    """

    def __init__(self, file: DSpritesFile | None = None) -> None:
        self.file = file or DSpritesFile()

    @cached_property
    def folder(self) -> Path:
        """Where they are kept; raises SourceError if the file cannot be read."""
        chosen = hashlib.sha256(bitmap_numbers().numpy().tobytes()).hexdigest()[:8]
        return cache_root() / "sprite_shapes" / f"{self.file.checksum}-{chosen}-{PREPARATION_VERSION}"

    def bitmaps(self, progress: Callable[[int, int], None] | None = None) -> Bitmaps:
        """Those that are needed, mapped from the cache, which one reading of the whole file fills.

        Args:
            progress: Called with the number of images that are read, and that of all.

        Raises:
            SourceError: if the file is missing, damaged or another one, or its sprites are not where they are needed.
        """
        build_once(self.folder, lambda unfinished: self._write(unfinished, progress))
        packed = torch.from_numpy(np.load(self.folder / "bitmaps.npy", mmap_mode="c"))
        return Bitmaps(packed, torch.from_numpy(np.load(self.folder / "middles.npy")))

    def compare(self, progress: Callable[[int, int], None] | None = None) -> dict[str, int]:
        """How many bitmaps and rows of places that are kept were ``compared`` with the user's file, which is read for
        it, and how many are ``different``. Raises SourceError as :meth:`bitmaps`."""
        compared = different = 0
        for name, made in self._made(progress).items():
            kept = np.load(self.folder / name)
            alike = kept.shape == made.shape and kept.dtype == made.dtype
            compared += len(made)
            different += int((kept != made).any(1).sum()) if alike else len(made)
        return {"compared": compared, "different": different}

    def _write(self, folder: Path, progress: Callable[[int, int], None] | None) -> dict[str, Any]:
        for name, made in self._made(progress).items():
            np.save(folder / name, made)
        return {"name": "sprite shapes", "source_md5": self.file.checksum}

    def _made(self, progress: Callable[[int, int], None] | None) -> dict[str, np.ndarray]:
        """What is kept, by the name of its file: bitmaps.npy, Byte[N, K], and middles.npy, Double[2, 24]."""
        numbers, side = bitmap_numbers(), self.file.side
        order = numbers.argsort().numpy()
        ascending = numbers.numpy()[order]
        packed, start = np.empty((len(numbers), side**2 // 8), np.uint8), 0
        found = np.empty((2, len(numbers)))
        """The middle of each sprite."""
        for images in self.file.images():
            beat()
            first, last = np.searchsorted(ascending, (start, start + len(images)))
            needed = images[ascending[first:last] - start]
            packed[order[first:last]] = np.packbits(needed.reshape(last - first, side**2), axis=1)
            found[:, order[first:last]] = _middles(needed)
            start += len(images)
            if progress is not None:
                progress(start, self.file.num_images)
        return {"bitmaps.npy": packed, "middles.npy": self._middles_of_places(numbers.numpy(), found)}

    def _middles_of_places(self, numbers: np.ndarray, found: np.ndarray) -> np.ndarray:
        """Where the middle of a square is at each place, Double[2, 24], of the middle of each sprite, Double[2, N]."""
        shape, *_, x, y = factors(torch.from_numpy(numbers)).numpy().T
        square, side = shape == _SQUARE, self.file.side
        middles = np.empty((2, len(PLACES)))
        for along, (name, values) in enumerate((("x", x), ("y", y))):
            place = np.searchsorted(PLACES, values)
            middles[along] = np.bincount(place[square], found[along, square]) / np.bincount(place[square])
            away = np.abs(found[along] - middles[along, place])
            if away.max() > _MOST_AWAY * side:
                number = int(numbers[away.argmax()])
                raise SourceError(
                    f"{self.file.path}: the sprite of image {number:,} is {away.max():.1f} pixels along {name} from "
                    "the squares at its place: not the images of these classes"
                )
            for centre in {centre[along] for centre in CENTRES}:
                for end in (centre - CENTRE_JITTER, centre + CENTRE_JITTER):
                    if (nearest := np.abs(middles[along] - end * side).min()) > 1:
                        raise SourceError(
                            f"{self.file.path}: no square has its middle at {end * side:.1f} pixels along {name}; the "
                            f"nearest is {nearest:.1f} away: sprites cannot be placed"
                        )
        return middles


def _middles(images: np.ndarray) -> np.ndarray:
    """The middle of the pixels of each sprite, in pixels from the left edge of the image and from the upper one:
    Byte[n, S, S] to Double[2, n]."""
    points = np.arange(images.shape[1]) + 0.5
    across, down = images.sum(1, dtype=np.int64), images.sum(2, dtype=np.int64)
    middles: np.ndarray = np.stack([across @ points, down @ points]) / across.sum(1)
    return middles
