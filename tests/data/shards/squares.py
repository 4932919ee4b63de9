"""A recipe of pure numpy, for the tests of the store: squares of a colour on noise."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.worlds.recipe import ImageRecipe, Images


@dataclass
class Squares(ImageRecipe):
    """Images of 8x6 with a square; concept: its colour and its side.

    Attributes:
        num_images: How many.
        num_masks: 0 or 1.
        version: Of the generator.
        seconds: Sleep for each image.
        fault: What happens at image ``fault_at``: abort, kill, error, bug, shape, talk.
        fault_at: Which image; none by default.
    """

    num_images: int = 20
    num_masks: int = 1
    version: int = 1
    seconds: float = 0.0
    fault: str = ""
    fault_at: int = -1

    image_shape = (3, 8, 6)
    num_attributes = 2

    def describe(self) -> dict[str, Any]:
        """What decides the pixels: no sleep, no fault."""
        return {"name": "squares", "num_images": self.num_images, "masks": self.num_masks, "version": self.version}

    def make(self, start: int, stop: int) -> Images:
        """A loop over images, each with a generator of its own."""
        parts = [self.one(index) for index in range(start, stop)]
        pixels, concepts, masks, sizes, names = (np.stack(part) for part in zip(*parts, strict=True))
        if self.fault == "shape" and start <= self.fault_at < stop:
            pixels = pixels[:, :, :-1]
        return Images(pixels, concepts, masks if self.num_masks else None, {"brightness": sizes, "file": names})

    def one(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.float64, str]:
        """Image, concept, mask, brightness, a name."""
        time.sleep(self.seconds)
        if index == self.fault_at:
            self._fail()
        random = np.random.default_rng([index, self.version])
        pixels = random.integers(0, 50, (8, 6, 3), np.uint8)
        colour, side = random.integers(0, 3), random.integers(0, 2)
        mask = np.zeros((1, 8, 6), bool)
        mask[0, 1 : 4 + side, 2 : 5 + side] = True
        pixels[mask[0], colour] = 255
        return pixels, np.array([colour, side]), mask, np.float64(pixels.mean()), f"square {'x' * (index % 3)}{index}"

    def _fail(self) -> None:
        if self.fault == "abort":
            os.write(2, b"LLVM ERROR: out of ideas\n")
            os.abort()
        if self.fault == "kill":
            os.kill(os.getpid(), 9)
        if self.fault == "error":
            raise BenchmarkError("source image 7 is missing: put it there")
        if self.fault == "bug":
            raise ZeroDivisionError("a bug of the renderer")
        if self.fault == "talk":
            print("a library that talks to standard output")  # noqa: T201
