"""House numbers, drawn or SVHN's, and the digit in the middle of each.

Shapes: n image of a shard.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..specs.built_in.few_labels import NUM_DRAWN, HouseNumbersSpec
from ..worlds.house_numbers import HouseNumbers
from ..worlds.recipe import ImageRecipe, Images, UserFiles
from .base import Progress
from .mnist import VALIDATION
from .sharded import ShardedDataModule
from .sources.svhn import SIDE, SvhnSource
from .splits import TEST, VAL, random_partition

PREPARATION_VERSION = 1
"""Increased whenever the same photograph gives different pixels."""


class HouseNumberPhotos(ImageRecipe):
    """SVHN's photographs, evenly spread over both files.

    Args:
        source: The files.
        num_images: How many; None for all.
        canvas: Side of an image in pixels.
    """

    num_attributes = 1

    def __init__(self, source: SvhnSource, *, num_images: int | None, canvas: int) -> None:
        self.source, self.canvas = source, canvas
        self.num_images, self.image_shape = num_images or source.num_images, (3, canvas, canvas)

    @property
    def user_files(self) -> UserFiles | None:
        """See :attr:`ImageRecipe.user_files`."""
        return self.source.user_files

    def describe(self) -> dict[str, Any]:
        """See :meth:`ImageRecipe.describe`."""
        return {
            "images": "house numbers, photographs of SVHN",
            "preparation": PREPARATION_VERSION,
            "num_images": self.num_images,
            "canvas": self.canvas,
            "source_md5": self.source.checksum,
        }

    def make(self, start: int, stop: int) -> Images:
        """See :meth:`ImageRecipe.make`, with the place of each among SVHN's; raises SourceError."""
        index = np.arange(start, stop) * self.source.num_images // self.num_images
        digits = self.source.load()
        pixels = digits.images[index]
        if self.canvas != SIDE:
            size = (self.canvas, self.canvas)
            scaled = [Image.fromarray(each).resize(size, Image.Resampling.BICUBIC) for each in pixels]
            pixels = np.stack([np.asarray(each) for each in scaled])
        return Images(pixels, digits.labels[index, None], columns={"source_index": index})


class HouseNumbersDataModule(ShardedDataModule):
    """House numbers made once and kept in shards.

    Args:
        spec: What to make and how to split it.
        source: The photographs; by default those under the data root.
        progress: Called while images are made, with the numbers done and in all.
    """

    spec: HouseNumbersSpec
    too_small: ClassVar[str] = "raise num_images"
    parallel: ClassVar[bool] = False
    """Each process would read the whole files; the drawn ones take seconds."""

    def __init__(
        self, spec: HouseNumbersSpec, *, source: SvhnSource | None = None, progress: Progress | None = None
    ) -> None:
        super().__init__(spec, progress=progress)
        self.source = source or SvhnSource()

    def recipe(self) -> ImageRecipe:
        """See :meth:`ShardedDataModule.recipe`."""
        spec = self.spec
        if spec.source == "svhn":
            return HouseNumberPhotos(self.source, num_images=spec.num_images, canvas=spec.canvas)
        return HouseNumbers(num_images=spec.num_images or NUM_DRAWN, canvas=spec.canvas, seed=spec.seed)

    def assign(self, split: str, seed: int) -> Tensor:
        """See :meth:`PartitionedDataModule.assign`."""
        if split != "iid":
            raise ValueError(f"unknown split {split!r}; choices: iid")
        if self.spec.source == "drawn":
            return random_partition(torch.arange(len(self.store)), seed=seed)
        index = torch.from_numpy(np.array(self.columns["source_index"], np.int64))
        partition = random_partition(index, seed=seed, fractions=(1 - VALIDATION, VALIDATION, 0.0)).clamp(max=VAL)
        return partition.masked_fill(index >= self.source.num_training, TEST)

    def extras(self) -> dict[str, Any]:
        """What the split ``iid`` is."""
        rule = "by hash of the number: 0.85 / 0.05 / 0.10"
        if self.spec.source == "svhn":
            rule = (
                f"SVHN's own test images; of the {self.source.num_training:,} others 1 in 12, by hash, for validation"
            )
        return {"iid": rule}
