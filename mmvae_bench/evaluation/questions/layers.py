"""The layers of real images, found without a mask, against those that they were drawn from.

Shapes: N image, C channel, H height, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...base.heartbeat import beat
from ...data.base import ConceptDataModule
from ...objectives.base import Objective
from ...objectives.discvae import DisCVAE, split_layers
from ...runs.scores import Score
from ...specs.built_in.questions import LayersSpec
from ..fitting import fit_latents
from ..neighbours import MAX_TRAINING
from ..sampling import real_batches
from .base import Context, Question
from .reconstruction import BATCH, squared_error

BEHIND = "behind the foreground"


class LayersOfImages(Question):
    """z is fitted to image and concept; its layers are compared with the true foreground, mask and background."""

    spec: LayersSpec

    def reason_not(self, model: Objective, data: ConceptDataModule) -> str | None:
        """Only a model with layers, on images whose layers are known."""
        if not isinstance(model, DisCVAE):
            return f"{model.spec.name} has no layers"
        if not data.spec.masks or data.backgrounds(data.rows("test")[:1]) is None:
            return f"{data.spec.name} does not know what is behind the foreground of its images"
        return None

    def ask(self, context: Context) -> list[Score]:
        """Scores at most ``num_images`` images of the partition, the same ones for every model."""
        model, data = context.model, context.data
        assert isinstance(model, DisCVAE)
        batches = real_batches(
            data, context.partition, seed=context.evaluation.seed, device=context.device, limit=self.spec.num_images
        )
        image, told, mask, index = (
            torch.cat(parts)
            for parts in zip(*((each.image, each.description, each.mask, each.index) for each in batches), strict=True)
        )
        foreground, gate = split_layers(image, mask)
        background = backgrounds(data, index, context.device)
        z = fit_latents(model, image, told, seed=context.evaluation.seed).z
        layers = [model.layers(*each) for each in zip(z.split(BATCH), told.split(BATCH), strict=True)]
        found = torch.cat([each.background.mean for each in layers])
        closed = torch.cat([each.gate.mean for each in layers])[:, 0] < 0.5
        hidden = gate[:, 0] == 0
        mean_background, mean_mask = training_layers(context)
        scores = []
        for attribute, counted in ((None, torch.ones_like(hidden)), (BEHIND, hidden)):
            error = squared_error(found, background, counted)
            floor = float(squared_error(mean_background.expand_as(found), background, counted).nanmean())
            visible = mean_colour(image, ~hidden)
            scores += [
                context.score("background_error", error, attribute=attribute, ceiling=0.0, floor=floor, constant=floor),
                context.score("background_gain", by_chance(found, background, counted) - error, attribute=attribute),
                context.score(
                    "background_error_visible", squared_error(visible, background, counted), attribute=attribute
                ),
            ]
        whole = torch.ones_like(hidden)
        shown = torch.cat([each.foreground.mean for each in layers])
        scores.append(context.score("foreground_error", squared_error(shown, foreground, whole), ceiling=0.0))
        floor = float(overlap((mean_mask >= 0.5).expand_as(hidden), hidden).nanmean())
        scores.append(context.score("gate_overlap", overlap(closed, hidden), ceiling=1.0, floor=floor, constant=floor))
        return sorted(scores, key=lambda score: self.spec.metrics.index(score.metric))


def by_chance(found: Tensor, background: Tensor, counted: Tensor) -> Tensor:
    """The error that each found background is expected to have against the true one of another image: Float64[N].

    Args:
        found: Float[N, C, H, W].
        background: Float[N, C, H, W], the true ones.
        counted: Bool[N, H, W], the pixels that count in the image of ``found``.
    """
    total = torch.zeros(len(found), dtype=torch.float64, device=found.device)
    for shift in range(1, len(found)):
        total += squared_error(found, background.roll(shift, 0), counted)
        beat()
    return total / (len(found) - 1)


def mean_colour(image: Tensor, visible: Tensor) -> Tensor:
    """Images of one colour, the mean of the visible pixels, or grey where there are none: Float[N, C, H, W]."""
    counted = visible[:, None].to(image.dtype)
    colour = (image * counted).sum((2, 3), keepdim=True) / counted.sum((2, 3), keepdim=True)
    return colour.nan_to_num(0.5).expand_as(image)


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of two sets of pixels, Bool[N, H, W] both: Float64[N], nan where both are empty.

    >>> overlap(torch.tensor([[[True, True, False]]]), torch.tensor([[[False, True, True]]])).tolist()
    [0.3333333333333333]
    """
    return (first & second).sum((1, 2)).double() / (first | second).sum((1, 2))


def backgrounds(data: ConceptDataModule, index: Tensor, device: torch.device) -> Tensor:
    """The true backgrounds of images ``index`` (Long[N]): Float[N, C, H, W]."""
    found = data.backgrounds(index)
    assert found is not None, "reason_not() has asked"
    return found.to(device)


def training_layers(context: Context) -> tuple[Tensor, Tensor]:
    """The mean true background, Float[C, H, W], and the mean mask, Float[H, W], of at most :data:`MAX_TRAINING`
    training images."""
    data, total, masks, number = context.data, torch.zeros(()), torch.zeros(()), 0
    for batch in real_batches(
        data, "train", seed=context.evaluation.seed, device=context.device, limit=MAX_TRAINING, batch_size=BATCH
    ):
        assert batch.mask is not None, "reason_not() has asked"
        total = total.to(context.device) + backgrounds(data, batch.index, context.device).sum(0)
        masks = masks.to(context.device) + batch.mask.any(1).float().sum(0)
        number += len(batch)
    return total / number, masks / number
