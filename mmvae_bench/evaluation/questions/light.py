"""Where the light of a face comes from, as a model sees it, against where it did.

Shapes: B batch, N image, A attribute.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ...concepts import Schema
from ...data.base import ConceptDataModule
from ...objectives.base import Objective
from ...objectives.intrinsic import IntrinsicSSVAE, middles_of_bins, places_of
from ...runs.scores import Score
from ...specs.built_in.few_labels import LIGHT
from ..sampling import real_batches
from .base import Context, Question


class Light(Question):
    """``light_distance``, 1 - cos of the angle between the two directions, and ``light_angle``, the angle in degrees.

    A model with a continuous light answers the mean of q(l|x); any other that describes images, the middle of the bins
    that it names. Floors are those of one direction for all images, the mean one of training; ceilings those of the
    middle of the true bins for a model that answers bins, else 0.
    """

    def reason_not(self, model: Objective, data: ConceptDataModule) -> str | None:
        """A reason if no light is known, or the model cannot describe."""
        if data.spec.factors != LIGHT:
            return "the images have no light of a known direction"
        return None if model.can_describe else "the model cannot describe an image"

    def ask(self, context: Context) -> list[Score]:
        """Scores at most 2,000 images of the partition."""
        model, data, seen, truth, named = context.model, context.data, [], [], []
        batches = real_batches(data, context.partition, seed=context.evaluation.seed, device=context.device)
        for batch in batches:
            assert batch.factors is not None
            seen.append(light_of(model, data.schema, batch.image).cpu())
            named.append(of_bins(data.schema, batch.concept).cpu())
            truth.append(batch.factors.cpu())
        train = torch.cat([part.factors.cpu() for part in data.batches("train") if part.factors is not None])
        light, right = torch.cat(seen), torch.cat(truth)
        usual = F.normalize(train.double().mean(0), dim=0).expand(len(right), -1)
        best = right if isinstance(model, IntrinsicSSVAE) else torch.cat(named)
        return [
            context.score(
                metric, measure(light, right), floor=float(measure(usual, right).mean()),
                ceiling=float(measure(best, right).mean()),
            )
            for metric, measure in (("light_distance", cosine_distance), ("light_angle", angle))
        ]  # fmt: skip


def light_of(model: Objective, schema: Schema, image: Tensor) -> Tensor:
    """The direction that a model answers for each image: Float[B, C, H, W] to unit vectors, Float[B, 3]."""
    return model.light(image) if isinstance(model, IntrinsicSSVAE) else of_bins(schema, model.describe(image))


def of_bins(schema: Schema, concept: Tensor) -> Tensor:
    """The middle of the bins of each light: Long[N, A] to Float[N, 3]."""
    _, azimuth, elevation = places_of(schema)
    return middles_of_bins(schema).to(concept.device)[concept[:, azimuth], concept[:, elevation]]


def cosine_distance(one: Tensor, other: Tensor) -> Tensor:
    """``1 - cos`` of the angle between unit vectors, Float[N, 3] both: Double[N], from 0 to 2.

    >>> cosine_distance(torch.eye(3), torch.eye(3)[[0, 2, 1]]).tolist()
    [0.0, 1.0, 1.0]
    """
    # |a - b|^2 / 2 is the same, and exact where the angle is small.
    return (one.double() - other.double()).square().sum(-1) / 2


def angle(one: Tensor, other: Tensor) -> Tensor:
    """The angle between unit vectors in degrees, Float[N, 3] both: Double[N].

    >>> angle(torch.eye(3), torch.eye(3)[[0, 2, 1]]).round(decimals=6).tolist()
    [0.0, 90.0, 90.0]
    """
    return (2 * (cosine_distance(one, other) / 2).sqrt().clamp(max=1).asin()).rad2deg()
