"""Missing images: which training examples have none, and the batches of steps with and without.

Shapes: n training example.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from ..base.errors import ConfigError, Problem
from ..base.seeds import derive_seed
from ..specs.components import BackboneSpec
from ..specs.missing import WHERE, MissingImagesSpec
from ..specs.supervision import num_supervised
from .base import ConceptDataModule, ResidentLoader
from .batch import Batch
from .supervision import check_enough, interleaved


def divided_rows(data: ConceptDataModule, missing: MissingImagesSpec) -> tuple[Tensor, Tensor]:
    """The training examples with and without an image, each in the order of the dataset: Long[n] both.

    Raises:
        ConfigError: if none would be left with an image, or none be without.
    """
    rows = data.rows("train")
    number = round(missing.fraction * len(rows))
    if not 0 < number < len(rows):
        raise ConfigError(
            [
                Problem(
                    f"{missing.fraction:g} of {len(rows):,} training examples leaves {len(rows) - number:,} with an "
                    f"image and {number:,} without: each kind needs at least one",
                    (*WHERE, "fraction"),
                    f"{missing.fraction:g}",
                )
            ]
        )
    generator = torch.Generator().manual_seed(derive_seed("missing images", seed=missing.seed))
    order = torch.randperm(len(rows), generator=generator)
    with_image, without = (chosen.sort().values.to(rows.device) for chosen in (order[number:], order[:number]))
    return rows[with_image], rows[without]


def check_divided(divided: tuple[Tensor, Tensor], share: float, backbone: BackboneSpec) -> None:
    """Raises ConfigError if there are fewer examples of a kind that steps are made on than the networks take in one.

    Args:
        divided: As :func:`divided_rows` returns them.
        share: Of the steps, those on examples without images.
        backbone: The networks.
    """
    with_image, without = divided
    where = (*WHERE, "fraction")
    check_enough(len(with_image), backbone, what="has an image", where=where)
    if share:
        check_enough(len(without), backbone, what="has none", where=where)


def without_image(batch: Batch) -> Batch:
    """The batch with black in the place of its images, marked as such."""
    return replace(batch, image=torch.zeros_like(batch.image), mask=None, imageless=True)


class MissingImagesLoader:
    """The batches of a stage: those of some steps from the examples without images, the others from those with.

    As in :class:`~mmvae_bench.data.supervision.SupervisedLoader`, the state is the step alone.

    Args:
        data: After ``setup()``.
        missing: Which images are missing.
        share: Of the steps, those on examples without images.
        batch_size: Examples per batch.
        seed: Training seed.
        stage: Name of the training stage.
        start: Steps already done.
        stop: Total steps of the stage.
    """

    def __init__(
        self,
        data: ConceptDataModule,
        missing: MissingImagesSpec,
        *,
        share: float,
        batch_size: int,
        seed: int,
        stage: str,
        start: int,
        stop: int,
    ) -> None:
        self.share, self.start, self.stop = share, start, stop
        first, last = num_supervised(start, share), num_supervised(stop, share)
        with_image, without = divided_rows(data, missing)

        def batches(rows: Tensor, name: str, begin: int, end: int) -> ResidentLoader:
            return ResidentLoader(data.store, rows, batch_size=batch_size, seed=seed, stage=name, start=begin, stop=end)

        self.whole = batches(with_image, stage, start - first, stop - last)
        self.imageless = batches(without, f"{stage}, no image", first, last)

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[Batch]:
        imageless = (without_image(batch) for batch in self.imageless)
        yield from interleaved(imageless, self.whole, rate=self.share, start=self.start, stop=self.stop)
