"""Augmentation: the batches of a stage with each image changed at random, anew at each step.

Shapes: B image, C channel, H height, W width, M mask, K random number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ..base.randomness import bits, keys, uniform
from ..base.seeds import derive_seed
from ..specs.augmentation import AugmentationSpec
from .base import ConceptDataModule
from .batch import Batch

BLUR = 5
"""Side in pixels of the mean that an image is compared with, to sharpen it, or that takes its place."""
_FLIP, _ANGLE, _ROW, _COLUMN, _SHARPENING = range(5)
_GAINS = 5
"""Places among the random numbers of an image: what each is for, and where those of the channels begin."""


class AugmentedBatches:
    """Batches whose images are changed; see :class:`~mmvae_bench.specs.augmentation.AugmentationSpec`.

    What is drawn for an image is a function of (seed, stage, step) and of its place in the batch, the same on every
    device: the state is the step alone, and no other random number of a step changes.

    Args:
        batches: Those of steps ``start``, ``start + 1``, ...
        augmentation: What is done.
        data: Has what is around the images.
        seed: Training seed.
        stage: Name of the training stage.
        start: Steps already done.
    """

    def __init__(
        self,
        batches: Iterable[Batch],
        augmentation: AugmentationSpec,
        data: ConceptDataModule,
        *,
        seed: int,
        stage: str,
        start: int,
    ) -> None:
        self.batches, self.augmentation, self.data = batches, augmentation, data
        self.seed, self.stage, self.start = seed, stage, start

    def __iter__(self) -> Iterator[Batch]:
        _, height, width = self.data.image_shape
        for step, batch in enumerate(self.batches, self.start):
            if batch.imageless:
                yield batch
                continue
            whole = self.data.greys(batch) if self.augmentation.binarise else self.data.widened(batch)
            drawn = drawn_numbers(
                len(whole), whole.image.shape[1], seed=self.seed, stage=self.stage, step=step, device=whole.image.device
            )
            changed = augmented(whole, self.augmentation, drawn, size=(height, width))
            if self.augmentation.binarise:
                changed = binarised(changed, seed=self.seed, stage=self.stage, step=step)
            yield changed


def drawn_numbers(
    number: int, num_channels: int, *, seed: int, stage: str, step: int, device: torch.device | str = "cpu"
) -> Tensor:
    """The random numbers of a step's images, uniform in (0, 1): Double[B, K]."""
    chosen = derive_seed("augmentation", seed=seed, stage=stage, step=step)
    return uniform(keys(chosen, torch.arange(number, device=device)), _GAINS + num_channels)


def binarised(batch: Batch, *, seed: int, stage: str, step: int) -> Batch:
    """The batch with each pixel drawn as 0 or 1, Bernoulli of its grey, with random numbers of the step's own."""
    chosen = derive_seed("binarised pixels", seed=seed, stage=stage, step=step)
    key = keys(chosen, torch.arange(len(batch), device=batch.image.device))
    return replace(batch, image=bits(key, batch.image).to(batch.image.dtype))


def augmented(batch: Batch, augmentation: AugmentationSpec, drawn: Tensor, *, size: tuple[int, int]) -> Batch:
    """The batch with its images turned, cut out, mirrored, their channels scaled and then sharpened; its masks are
    turned, cut out and mirrored with them.

    Args:
        batch: With images at least as large as ``size``.
        augmentation: What is done.
        drawn: Double[B, K], in (0, 1).
        size: (H, W) of the images that are returned.
    """
    image, mask = batch.image, batch.mask
    mirrored = (drawn[:, _FLIP] < augmentation.flip)[:, None, None, None]  # In float32 it may be 1.
    drawn = drawn.to(image.dtype)
    if augmentation.rotation:
        angle = augmentation.rotation * (2 * drawn[:, _ANGLE] - 1)
        image = turned(image, angle, outside="border")
        mask = None if mask is None else turned(mask.to(image.dtype), angle, outside="zeros") > 0.5
    spare = image.shape[2] - size[0], image.shape[3] - size[1]
    if any(spare):
        places = [torch.full_like(drawn[:, 0], room // 2).long() for room in spare]
        if augmentation.window:
            places = [
                (drawn[:, which] * (room + 1)).long().clamp_max(room)
                for which, room in zip((_ROW, _COLUMN), spare, strict=True)
            ]
        image = cut_out(image, *places, size=size)
        mask = None if mask is None else cut_out(mask, *places, size=size)
    image = torch.where(mirrored, image.flip(-1), image)
    mask = None if mask is None else torch.where(mirrored, mask.flip(-1), mask)
    if augmentation.gain:
        gains = 1 + augmentation.gain * (2 * drawn[:, _GAINS:] - 1)
        image = image * gains[:, :, None, None]
    if augmentation.sharpening:
        strength = augmentation.sharpening * drawn[:, _SHARPENING]
        image = image + strength[:, None, None, None] * (image - blurred(image))
    return replace(batch, image=image, mask=mask)


def turned(image: Tensor, angle: Tensor, *, outside: str) -> Tensor:
    """Images turned about their centres, bilinearly interpolated.

    Args:
        image: Float[B, C, H, W].
        angle: Float[B], in radians.
        outside: What is beyond the edge: ``border``, its nearest pixel; or ``zeros``.
    """
    height, width = image.shape[2:]
    cos, sin, none = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # Places are in units of half the sides, which may differ.
    rows = torch.stack([cos, -sin * height / width, none], 1), torch.stack([sin * width / height, cos, none], 1)
    grid = F.affine_grid(torch.stack(rows, 1), list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, padding_mode=outside, align_corners=False)


def cut_out(image: Tensor, top: Tensor, left: Tensor, *, size: tuple[int, int]) -> Tensor:
    """A window of each image: [B, C, ...] of any type to [B, C, H, W].

    Args:
        image: What it is cut from.
        top: Long[B], its first row.
        left: Long[B], its first column.
        size: (H, W).
    """
    rows = top[:, None] + torch.arange(size[0], device=image.device)
    columns = left[:, None] + torch.arange(size[1], device=image.device)
    each = torch.arange(len(image), device=image.device)[:, None, None]
    return image.movedim(1, -1)[each, rows[:, :, None], columns[:, None, :]].movedim(-1, 1).contiguous()


def blurred(image: Tensor) -> Tensor:
    """The mean of each pixel and those around it, 5x5 of them, or what the edge leaves: Float[B, C, H, W]."""
    return F.avg_pool2d(image, BLUR, stride=1, padding=BLUR // 2, count_include_pad=False)
