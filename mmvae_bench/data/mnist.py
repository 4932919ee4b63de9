"""MNIST as it is, one image for each digit: with its label, or with the two bits of MNIST-2bit.

Shapes: n image of a shard, N image, S side of the canvas, A attribute.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..base import randomness
from ..base.seeds import derive_seed
from ..specs.built_in.datasets import SOURCE_SIZES, PlainMnistSpec
from ..specs.components import DatasetSpec
from ..worlds.recipe import ImageRecipe, Images, UserFiles
from .base import Progress
from .batch import Batch
from .sharded import ShardedDataModule
from .sources.digits import Digits, DigitSource, digit_source, load_counted
from .splits import TEST, VAL, random_partition

GENERATOR_VERSION = 1
"""Increased when the pictures change: it is part of the fingerprint."""

NUM_TRAINING = {"mnist": 60_000}
"""Digits of a source that has a test set of its own, which comes after them."""
VALIDATION = 1 / 12
"""Fraction of MNIST's training digits that validates: 5,000 of 60,000."""


class PlainDigits(ImageRecipe):
    """The digits of a source, scaled to the canvas and binarised.

    An image depends on the seed and on the digit's index in its source alone, so that ``mnist`` and ``mnist_2bit`` have
    the same ones.

    Args:
        spec: What to make.
        source: Where the digits come from; read when images are made.
        num_digits: Number of digits in the source.
    """

    def __init__(self, spec: PlainMnistSpec, source: DigitSource, *, num_digits: int) -> None:
        self.spec, self.source, self.num_digits = spec, source, num_digits
        self.num_images = spec.num_images or num_digits
        self.image_shape = spec.image_shape()
        self.num_attributes = len(spec.concept_schema())

    @property
    def user_files(self) -> UserFiles | None:
        """The files of MNIST."""
        return self.source.user_files

    def describe(self) -> dict[str, Any]:
        """The recipe, the generator's version and the checksum of the source."""
        return {**self.spec.recipe(), "generator": GENERATOR_VERSION, "source_md5": self.source.checksum}

    def make(self, start: int, stop: int) -> Images:
        """Images ``start`` to ``stop``, with the index of each digit in its source."""
        index = torch.arange(start, stop) * self.num_digits // self.num_images
        digits = self._digits
        bits = binarise(scale(digits.images[index], self.spec.canvas), index, seed=self.spec.seed)
        concepts = np.array(self.spec.concepts_of_digits())[digits.labels[index].numpy()]
        return Images((bits.byte() * 255)[..., None].numpy(), concepts, columns={"source_index": index.numpy()})

    @cached_property
    def _digits(self) -> Digits:
        return load_counted(self.source, self.num_digits)


def scale(digits: Tensor, canvas: int) -> Tensor:
    """Byte[n, 28, 28] to greys on the canvas, Double[n, S, S] in [0, 1]: bilinear, with a filter where it shrinks."""
    grey = digits.double() / 255
    if digits.shape[-1] == canvas:
        return grey
    size = (canvas, canvas)
    return interpolate(grey[:, None], size=size, mode="bilinear", align_corners=False, antialias=True)[:, 0]


def binarise(grey: Tensor, index: Tensor, *, seed: int) -> Tensor:
    """Each pixel drawn once as Bernoulli of its grey, in steps of 2^-16: Double[n, S, S] to Bool[n, S, S].

    Args:
        grey: In [0, 1].
        index: Long[n], the number of each image; its pixels are drawn by it and the seed.
        seed: Seed of the binarisation.
    """
    return randomness.bits(randomness.keys(derive_seed("mnist pixels", seed=seed), index), grey)


class DigitsDataModule(ShardedDataModule):
    """Images that are made once of the digits of a source, and kept in shards.

    Args:
        spec: What to make and how to split it.
        source: The digits; by default those that the spec names.
        num_digits: Their number; None: that of the named source.
        num_training: How many of them, the first ones, are not the source's own test digits; None: as the named source.
        progress: Called while images are made, with the numbers done and in all.
    """

    too_small: ClassVar[str] = "raise num_images"
    parallel: ClassVar[bool] = False
    """All digits take seconds, less than processes take to start."""

    def __init__(
        self,
        spec: DatasetSpec,
        *,
        source: DigitSource | None = None,
        num_digits: int | None = None,
        num_training: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(spec, progress=progress)
        self.source = source or digit_source(spec.source)
        self.num_digits = num_digits or SOURCE_SIZES[spec.source]
        self.num_training = num_training or NUM_TRAINING.get(spec.source)


class MnistDataModule(DigitsDataModule):
    """Digits binarised once. See :class:`DigitsDataModule`."""

    spec: PlainMnistSpec

    def recipe(self) -> PlainDigits:
        """See :meth:`ShardedDataModule.recipe`."""
        return PlainDigits(self.spec, self.source, num_digits=self.num_digits)

    def greys(self, batch: Batch) -> Batch:
        """See :meth:`ConceptDataModule.greys`."""
        source = self._source_index[batch.index.cpu()]
        grey = scale(self._digits.images[source], self.spec.canvas)[:, None]
        return replace(batch, image=grey.to(batch.image))

    @cached_property
    def _digits(self) -> Digits:
        return load_counted(self.source, self.num_digits)

    @cached_property
    def _source_index(self) -> Tensor:
        return torch.from_numpy(np.array(self.columns["source_index"], np.int64))

    def assign(self, split: str, seed: int) -> Tensor:
        """See :meth:`PartitionedDataModule.assign`."""
        if split != "iid":
            raise ValueError(f"unknown split {split!r}; choices: iid")
        index = self._source_index
        if self.num_training is None:
            return random_partition(index, seed=seed)
        partition = random_partition(index, seed=seed, fractions=(1 - VALIDATION, VALIDATION, 0.0)).clamp(max=VAL)
        return partition.masked_fill(index >= self.num_training, TEST)

    def extras(self) -> dict[str, Any]:
        """What the split ``iid`` is."""
        rule = "by hash of the digit's number: 0.85 / 0.05 / 0.10"
        if self.num_training is not None:
            rule = f"the source's own test digits; of the {self.num_training:,} others 1 in 12, by hash, for validation"
        return {"iid": rule}
