"""The images of dSprites' file that sprites are cut out of, kept in the cache.

Shapes: N bitmap, S side of an image in pixels, K byte of an image (eight pixels in each).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...base.files import cache_root
from ...base.heartbeat import beat
from ...worlds.dsprites import factors
from ...worlds.sprite_bitmaps import PLACES, Bitmaps, bitmap_numbers
from ..cache import build_once
from .dsprites_file import DSpritesFile

PREPARATION_VERSION = 1
"""Increased whenever the same file gives different bitmaps."""


class SpriteShapes:
    """The bitmaps of the user's copy of the file.

    Args:
        file: By default the one under the data root, looked for when it is needed.
    """

    def __init__(self, file: DSpritesFile | None = None) -> None:
        self.file = file or DSpritesFile()

    @property
    def digest(self) -> str:
        """The md5 of the file, and the version of what is taken from it; raises SourceError if it cannot be read."""
        return f"{self.file.checksum}-{PREPARATION_VERSION}"

    def bitmaps(self) -> Bitmaps:
        """Those that are needed, mapped from the cache, which one reading of the whole file fills.

        Raises:
            SourceError: if the file is missing, damaged or another one.
        """
        folder = cache_root() / "sprite_shapes" / self.digest
        build_once(folder, self._write)
        packed = torch.from_numpy(np.load(folder / "bitmaps.npy", mmap_mode="c"))
        return Bitmaps(packed, torch.from_numpy(np.load(folder / "middles.npy")))

    def _write(self, folder: Path) -> dict[str, Any]:
        """Writes bitmaps.npy, Byte[N, K], and middles.npy, Double[2, 18]."""
        numbers, side = bitmap_numbers(), self.file.side
        order = numbers.argsort().numpy()
        ascending = numbers.numpy()[order]
        packed, start = np.empty((len(numbers), side**2 // 8), np.uint8), 0
        middles = np.zeros((2, len(PLACES)))
        for images in self.file.images():
            beat()
            first, last = np.searchsorted(ascending, (start, start + len(images)))
            found = images[ascending[first:last] - start]
            packed[order[first:last]] = np.packbits(found.reshape(last - first, side**2), axis=1)
            for along, (middle, place) in enumerate(zip(_middles(found), _places(ascending[first:last]), strict=True)):
                middles[along] += np.bincount(place, middle, len(PLACES))
            start += len(images)
        np.save(folder / "bitmaps.npy", packed)
        np.save(folder / "middles.npy", middles * len(PLACES) / len(numbers))
        return {"name": "sprite shapes", "source_md5": self.file.checksum}


def _middles(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The middle of each sprite, in pixels from the left edge of the image and from the upper one: Double[n] each."""
    points = np.arange(images.shape[1]) + 0.5
    across, down = images.sum(1, dtype=np.int64), images.sum(2, dtype=np.int64)
    areas = np.maximum(across.sum(1), 1)
    return across @ points / areas, down @ points / areas


def _places(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of ``PLACES`` the x and the y of images of the grid are: Long[n] each."""
    *_, x, y = factors(torch.from_numpy(numbers)).unbind(-1)
    return np.searchsorted(PLACES, x.numpy()), np.searchsorted(PLACES, y.numpy())
