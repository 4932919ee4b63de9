"""Memorisation: whether samples are nearer to training images than held-out real images are.

Shapes: N image, M held-out image.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...base.randomness import own_randomness
from ...base.seeds import derive_seed
from ...objectives.base import CapabilityError
from ...runs.scores import Score
from ...specs.built_in.questions import NeighboursSpec
from ..neighbours import Nearest, TrainingPool, nearest
from ..sampling import images_at_once, real_batches
from .base import Context, Question
from .distances import imagined, of_prior

COPY = 1 / 3
"""A sample is a copy if the nearest training image is closer than this share of the distance to the second nearest
(Yoon et al. 2023)."""
_EQUAL = 1e-6
"""Distances that differ by no more are a tie."""


class Neighbours(Question):
    """``closer_than_real``, ``neighbour_ratio`` and ``copies`` of images of the concepts of held-out images, one z
    each, and with ``_prior`` of images of z ~ p(z).

    Distances are Euclidean, of all pixels, to the nearest of at most 10,000 training images that differ from each
    other. The ceilings are those of the held-out images themselves; the floors what training images, shown as samples,
    would score.
    """

    spec: NeighboursSpec

    def ask(self, context: Context) -> list[Score]:
        """Scores as many samples of either kind as there are held-out images, at most ``num_images``."""
        seed = derive_seed("neighbours", seed=context.evaluation.seed, partition=context.partition)
        pool = TrainingPool.of(context.data, seed=context.evaluation.seed, device=context.device)
        if len(pool.images) < 2:
            context.left_out[self.name] = "fewer than two different training images: there is no second nearest"
            return []
        batches = list(
            real_batches(
                context.data, context.partition, seed=context.evaluation.seed, device=context.device,
                limit=self.spec.num_images, batch_size=images_at_once(context.data.image_shape),
            )
        )  # fmt: skip
        real = _joined([nearest(batch.image, pool.images) for batch in batches])
        scores = []
        for ending, generate in (("", imagined), ("_prior", of_prior)):
            try:
                found = []
                for place, batch in enumerate(batches):
                    with own_randomness(derive_seed(f"images{ending}", seed=seed, place=place), context.device):
                        px: Any = generate(context, batch)
                        images = (px.mean if self.spec.images == "mean" else px.sample()).clamp(0, 1)
                    found.append(nearest(images, pool.images))
                    context.report("neighbours", place + 1, len(batches))
            except CapabilityError as error:
                names = ("closer_than_real", "neighbour_ratio", "copies")
                context.left_out.update({f"{name}{ending}": str(error) for name in names})
                continue
            scores += _scores(context, _joined(found), real, ending)
        return scores


def closer(distance: Tensor, real: Tensor) -> Tensor:
    """For each distance the share of real ones that are larger, ties a half: Float64[N], Float64[M] to Float64[N].

    Their mean is the Mann-Whitney statistic U / (N M).

    >>> closer(torch.tensor([0.0, 2.0, 9.0]), torch.tensor([1.0, 2.0])).tolist()
    [1.0, 0.25, 0.0]
    """
    more = real[None, :] - distance[:, None]
    return ((more > _EQUAL).double() + 0.5 * (more.abs() <= _EQUAL).double()).mean(1)


def _scores(context: Context, found: Nearest, real: Nearest, ending: str) -> list[Score]:
    copied = closer(torch.zeros_like(real.distance), real.distance)
    measured = {
        "closer_than_real": (closer(found.distance, real.distance), 0.5, float(copied.mean())),
        "neighbour_ratio": (found.ratio, float(real.ratio.nanmean()), 0.0),
        "copies": ((found.ratio < COPY).double(), float((real.ratio < COPY).double().mean()), 1.0),
    }
    return [
        context.score(f"{name}{ending}", values, ceiling=ceiling, floor=floor, num_samples=1)
        for name, (values, ceiling, floor) in measured.items()
    ]


def _joined(parts: list[Nearest]) -> Nearest:
    fields = zip(*((each.place, each.distance, each.second) for each in parts), strict=True)
    return Nearest(*(torch.cat(each) for each in fields))
