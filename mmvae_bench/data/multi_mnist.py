"""Several handwritten digits on one canvas, binarised once.

Shapes: n image of a shard, K the largest number of digits, S side of the canvas.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..specs.built_in.few_labels import ONE_IN, MultiMnistSpec
from ..worlds.multi_mnist import GENERATOR_VERSION, Layout, draw_layout
from ..worlds.recipe import ImageRecipe, Images, UserFiles
from .mnist import VALIDATION, DigitsDataModule, binarise, scale
from .sources.digits import Digits, DigitSource, load_counted
from .splits import TEST, VAL, combinations_of, observed_partition, random_partition

HELD_OUT = 0.1
"""Of the digits of a source without a test set of its own, the share that test images are made of."""


class MultiDigits(ImageRecipe):
    """Images 0 to ``num_images``: the last of every seven of test digits, the others of training digits.

    Args:
        spec: What to make.
        source: Where the digits come from; read when images are made.
        num_digits: Number of digits in the source.
        num_training: How many of them, the first ones, are for training; None: a share by hash.
    """

    def __init__(self, spec: MultiMnistSpec, source: DigitSource, *, num_digits: int, num_training: int | None) -> None:
        self.spec, self.source, self.num_digits, self.num_training = spec, source, num_digits, num_training
        self.num_images, self.image_shape = spec.most_images(), spec.image_shape()
        self.num_attributes = len(spec.concept_schema())

    @property
    def user_files(self) -> UserFiles | None:
        """The files of MNIST."""
        return self.source.user_files

    def describe(self) -> dict[str, Any]:
        """The recipe, the generator's version and the checksum of the source."""
        recipe = {**self.spec.recipe(), "num_images": self.num_images}
        return {**recipe, "generator": GENERATOR_VERSION, "source_md5": self.source.checksum}

    def make(self, start: int, stop: int) -> Images:
        """See :meth:`ImageRecipe.make`; with the number of digits, and the index of each in its source, -1 for none."""
        spec, number = self.spec, np.arange(start, stop)
        layout = draw_layout(number, most=spec.max_digits, one_in=ONE_IN, canvas=spec.canvas, seed=spec.seed)
        which = self._chosen(number, layout)
        bits = binarise(self._drawn(layout, which), torch.from_numpy(number), seed=spec.seed)
        count = (layout.digit >= 0).sum(1)
        concepts = count[:, None]
        if spec.labels == "digits":
            concepts = (layout.digit[:, :, None] == np.arange(10)).sum(1)
        columns = {"count": count.astype(np.int16)}
        columns |= {f"source_{k}": which[:, k].astype(np.int32) for k in range(spec.max_digits)}
        return Images((bits.byte() * 255)[..., None].numpy(), concepts, columns=columns)

    def _chosen(self, number: np.ndarray, layout: Layout) -> np.ndarray:
        """The index in the source of each digit on each canvas: Long[n, K], -1 for none."""
        which = np.full(layout.digit.shape, -1)
        for of_test, pools in enumerate(self._pools):
            for digit, pool in enumerate(pools):
                wanted = (layout.digit == digit) & (is_test(number)[:, None] == bool(of_test))
                which[wanted] = pool[(layout.lot[wanted] * len(pool)).astype(np.int64)]
        return which

    def _drawn(self, layout: Layout, which: np.ndarray) -> Tensor:
        """The greys of each canvas, Double[n, S, S]: where digits overlap, the lighter one."""
        canvas = torch.zeros(len(which), self.spec.canvas, self.spec.canvas, dtype=torch.float64)
        for side in np.unique(layout.side[layout.side > 0]).tolist():
            image, k = np.nonzero(layout.side == side)
            digits = scale(self._digits.images[which[image, k]], side)
            for row, grey, top, left in zip(image, digits, layout.top[image, k], layout.left[image, k], strict=True):
                part = canvas[row, top : top + side, left : left + side]
                torch.maximum(part, grey, out=part)
        return canvas

    @cached_property
    def _pools(self) -> list[list[np.ndarray]]:
        """The digits for training and those for testing, by label."""
        labels = self._digits.labels.numpy()
        if self.num_training is None:
            held_out = random_partition(torch.arange(len(labels)), seed=0, fractions=(1 - HELD_OUT, 0.0, HELD_OUT))
            for_test = held_out.numpy() > 0
        else:
            for_test = np.arange(len(labels)) >= self.num_training
        return [[np.flatnonzero((labels == digit) & (for_test == part)) for digit in range(10)] for part in (0, 1)]

    @cached_property
    def _digits(self) -> Digits:
        return load_counted(self.source, self.num_digits)


def is_test(number: np.ndarray) -> np.ndarray:
    """Which images are made of test digits: the last of every seven."""
    last: np.ndarray = number % ONE_IN == ONE_IN - 1
    return last


class MultiMnistDataModule(DigitsDataModule):
    """Canvases made once. See :class:`~mmvae_bench.data.mnist.DigitsDataModule`."""

    spec: MultiMnistSpec

    def recipe(self) -> MultiDigits:
        """See :meth:`ShardedDataModule.recipe`."""
        return MultiDigits(self.spec, self.source, num_digits=self.num_digits, num_training=self.num_training)

    def assign(self, split: str, seed: int) -> Tensor:
        """See :meth:`PartitionedDataModule.assign`."""
        number = torch.arange(len(self.store))
        if split == "iid":
            fractions = (1 - VALIDATION, VALIDATION, 0.0)
            partition = random_partition(number, seed=seed, fractions=fractions).clamp(max=VAL)
            return partition.masked_fill(torch.from_numpy(is_test(number.numpy())), TEST)
        if split == "comp" and self.spec.labels == "digits":
            nothing = torch.empty(0, len(self.schema), dtype=torch.long)
            return observed_partition(self.schema, self.store.concepts, held_out=nothing, seed=seed)
        raise ValueError(f"unknown split {split!r}; choices: iid, comp")

    def combinations(self) -> dict[str, list[list[int]]] | None:
        """The concepts of each partition, if the split holds out concepts."""
        if self.spec.split != "comp":
            return None
        return combinations_of(self.store.concepts.cpu(), self._partition(self.spec.split, self.spec.split_seed).cpu())

    def extras(self) -> dict[str, Any]:
        """What the split ``iid`` is, and how many concepts there are."""
        rule = f"images of test digits, 1 in {ONE_IN}; of the others 1 in 12, by hash of the number, for validation"
        return {"iid": rule, "distinct_concepts": len(self.store.concepts.unique(dim=0))}
