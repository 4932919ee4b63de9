"""Reconstruction and completion of real images, by the encoder and by optimisation of z, with what both lose.

Shapes: N image, C channel, H height, W width, M mask, D latent dimension, V value of an image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...data.base import ConceptDataModule
from ...objectives.base import CapabilityError, Objective
from ...runs.scores import Score
from ...specs.trial import EvaluationSpec
from ..fitting import Evidence, fit_latents
from ..neighbours import MAX_TRAINING, TIE, lowest, squared_distances
from ..regions import scored_regions
from ..sampling import real_batches
from .base import Context, Question

FOREGROUND = "foreground"
BATCH = 128
"""Images decoded, or compared, at once."""


class Reconstruction(Question):
    """Squared errors of whole images and their foreground, and of hidden parts: a half, a quadrant, what the dataset
    names. See :func:`~mmvae_bench.evaluation.fitting.fit_latents` for the optimisation.

    A model with p(x|y,z) is told the image's own y, as Yan et al. tell it. Without q(z|x), or then q(z|x,y), there is
    no answer of an encoder; without p(x|z) only that of the nearest training image.
    """

    def wanted(self, evaluation: EvaluationSpec) -> bool:
        """Whether ``reconstruction_images`` is positive."""
        return evaluation.reconstruction_images > 0

    def ask(self, context: Context) -> list[Score]:
        """Scores at most ``reconstruction_images`` images of the partition, the same ones for every model."""
        data, evaluation = context.data, context.evaluation
        batches = list(
            real_batches(
                data, context.partition, seed=evaluation.seed, device=context.device,
                limit=evaluation.reconstruction_images,
            )
        )  # fmt: skip
        image = torch.cat([batch.image for batch in batches])
        numbers = torch.cat([batch.index for batch in batches]).tolist()
        masks = [batch.mask.any(1) for batch in batches if batch.mask is not None]
        whole = torch.ones_like(image[:, 0], dtype=torch.bool)
        views = [View("reconstruction", whole, {None: whole} | ({FOREGROUND: torch.cat(masks)} if masks else {}))]
        for name, region in scored_regions(data.spec, evaluation.hidden_regions).items():
            hidden = torch.zeros_like(whole)
            for each, number in zip(hidden, numbers, strict=True):
                top, bottom, left, right = region.at(number, seed=evaluation.seed)
                each[top:bottom, left:right] = True
            views.append(View("completion", ~hidden, {name: hidden}))
        known = training_images(data, image, [view.observed for view in views], context=context)
        told = told_of(context.model, torch.cat([batch.description for batch in batches]))
        scores = []
        for number, (view, nearest) in enumerate(zip(views, known.nearest, strict=True)):
            context.report("reconstruction", number, len(views))
            scores += self._scores(context, image, told, view, known.mean, nearest)
        return sorted(scores, key=lambda score: self.spec.metrics.index(score.metric))

    def _scores(
        self, context: Context, image: Tensor, told: Tensor | None, view: View, mean: Tensor, nearest: Tensor
    ) -> list[Score]:
        shown, log_joint = {"_nearest": nearest}, {}
        proposals = (
            {"": "q(z|x)", "_fitted": "argmax p(x,z)"}
            if told is None
            else {"": "q(z|x,y)", "_fitted": "argmax p(x,z|y)"}
        )
        for ending, infer in (("", encoded), ("_fitted", fitted)):
            try:
                z, log_joint[ending] = infer(context.model, image, told, view.observed, context.evaluation.seed)
                shown[ending] = mean_images(context.model, z, told)
            except CapabilityError as error:
                lacking = (f"error{ending}", f"norm{ending}", "gap", "gap_error")
                context.left_out.update({f"{view.task}_{name}": str(error) for name in lacking})
        scores = []
        for attribute, counted in view.counted.items():
            errors = {ending: squared_error(picture, image, counted) for ending, picture in shown.items()}
            floor = squared_error(mean.expand_as(image), image, counted)
            num_values = counted.sum((1, 2)) * image.shape[1]
            for ending in errors:
                for unit, scale in (("error", _as_it_is), ("norm", norm_of)):
                    reference = float(scale(floor, num_values).nanmean())
                    scores.append(
                        context.score(
                            f"{view.task}_{unit}{ending}",
                            scale(errors[ending], num_values),
                            attribute=attribute,
                            ceiling=0.0 if view.task == "reconstruction" else math.nan,
                            floor=reference,
                            constant=reference,
                            proposal=proposals.get(ending),
                        )
                    )
            if len(log_joint) == 2:
                gain = errors[""] - errors["_fitted"]
                scores.append(context.score(f"{view.task}_gap_error", gain, attribute=attribute))
        if len(log_joint) == 2:
            attribute = next(iter(view.counted))
            gain = log_joint["_fitted"] - log_joint[""]
            scores.append(context.score(f"{view.task}_gap", gain, attribute=attribute))
        return scores


@dataclass(frozen=True)
class View:
    """What is observed of every image, and what is scored.

    Attributes:
        task: ``reconstruction`` or ``completion``.
        observed: Bool[N, H, W].
        counted: By the attribute of a score, which pixels it counts: Bool[N, H, W].
    """

    task: str
    observed: Tensor
    counted: Mapping[str | None, Tensor]


@dataclass(frozen=True)
class Known:
    """What can be shown without a model.

    Attributes:
        mean: Float[C, H, W], the mean training image.
        nearest: For each part that is observed, the training images nearest to the images in it: Float[N, C, H, W].
    """

    mean: Tensor
    nearest: list[Tensor]


def squared_error(shown: Tensor, image: Tensor, counted: Tensor) -> Tensor:
    """The mean squared error over the values of the counted pixels: Float64[N], nan where there is none.

    Args:
        shown: Float[N, C, H, W] in [0, 1].
        image: Float[N, C, H, W], the truth.
        counted: Bool[N, H, W].
    """
    errors = (shown - image).double().square().mean(1)
    return (errors * counted).sum((1, 2)) / counted.sum((1, 2))


def norm_of(error: Tensor, num_values: Tensor) -> Tensor:
    """The square root of the summed squared error of values scaled to [-1, 1]: Float64[N], from the mean on [0, 1].

    >>> norm_of(torch.tensor([0.25]), torch.tensor([16]))
    tensor([4.])
    """
    return 2 * (error * num_values).sqrt()


def _as_it_is(error: Tensor, num_values: Tensor) -> Tensor:
    return error


def told_of(model: Objective, description: Tensor) -> Tensor | None:
    """What a model is told of some images: their y, where it has p(x|y,z) and no p(x|z); else None.

    Args:
        model: In eval mode.
        description: Long[N, A], or captions.
    """
    z = torch.zeros(1, model.latent_size, device=description.device, dtype=next(model.parameters()).dtype)
    try:
        model.image_likelihood(z)
    except CapabilityError:
        return description
    return None


def encoded(model: Objective, image: Tensor, told: Tensor | None, observed: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """The encoder's answer to images whose hidden pixels are zero: z, Float[N, D], and log p(x_O, z), Float64[N], given
    y where it is told.

    Raises:
        CapabilityError: if there is no q(z|x), or q(z|x,y) where y is told, or no p(x|z).
    """
    parts, given = [], [None] * len(image.split(BATCH)) if told is None else told.split(BATCH)
    images = image.masked_fill(~observed[:, None], 0).split(BATCH)
    for seen, part, y in zip(observed.split(BATCH), images, given, strict=True):
        evidence = Evidence(model, part, seen, y)
        z = model.encode(part, y)
        parts.append((z, evidence.log_joint(z, torch.arange(len(z), device=z.device))))
    z, log_joint = (torch.cat(each) for each in zip(*parts, strict=True))
    return z, log_joint


def fitted(model: Objective, image: Tensor, told: Tensor | None, observed: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """The same by optimisation.

    Raises:
        CapabilityError: if there is no p(x|z).
    """
    found = fit_latents(model, image, told, observed, seed=seed)
    return found.z, found.log_joint


def mean_images(model: Objective, z: Tensor, told: Tensor | None = None) -> Tensor:
    """E[x|z], or E[x|y,z] where y is told, in [0, 1]: Float[N, D] to Float[N, C, H, W]."""
    parts = z.split(BATCH)
    given = [None] * len(parts) if told is None else told.split(BATCH)
    return torch.cat([model.image_likelihood(*each).mean.clamp(0, 1) for each in zip(parts, given, strict=True)])


def training_images(data: ConceptDataModule, image: Tensor, observed: Sequence[Tensor], context: Context) -> Known:
    """The mean of at most :data:`MAX_TRAINING` training images, and those nearest to each image in what is observed.

    Args:
        data: After ``setup()``.
        image: Float[N, C, H, W].
        observed: Bool[N, H, W] each.
        context: Of the evaluation, for its seed and device.
    """
    total, number = torch.zeros_like(image[0], dtype=torch.float64), 0
    closest = torch.full((len(observed), len(image)), torch.inf, dtype=torch.float64, device=image.device)
    rows = torch.zeros(len(observed), len(image), dtype=torch.long, device=image.device)
    batches = real_batches(
        data, "train", seed=context.evaluation.seed, device=context.device, limit=MAX_TRAINING, batch_size=BATCH
    )
    for batch in batches:
        total, number = total + batch.image.double().sum(0), number + len(batch)
        order = batch.index.argsort()
        for place, seen in enumerate(observed):
            squared = squared_distances(image, batch.image[order], seen)
            first = lowest(squared)
            distance, row = squared.gather(1, first[:, None])[:, 0], batch.index[order][first]
            # Where a part without an object is all that is seen, many images are equally near, up to rounding.
            tied = (distance <= closest[place] + TIE) & (row < rows[place])
            nearer = (distance < closest[place] - TIE) | tied
            rows[place] = torch.where(nearer, row, rows[place])
            closest[place] = torch.where(nearer, distance, closest[place])
    nearest = [data.store.batch(each.cpu()).image.to(image.device) for each in rows]
    return Known((total / number).to(image.dtype), nearest)
