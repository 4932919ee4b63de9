"""Descriptions of real images, and how good the classifier itself is: both accuracies by attribute.

Shapes: N image, A attribute.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...data.base import ConceptDataModule
from ...metrics.functional import description_accuracy, description_values
from ...objectives.base import Objective
from ...runs.scores import Score
from ..sampling import real_batches
from .base import Context, Question


class Description(Question):
    """Accuracy of ``describe`` over all attributes and by attribute, compared with 1 and with the majority value.

    In the text view the truth is what an image's caption says, and saying nothing about an attribute counts as a value
    of its own: both texts must say the same, or nothing. The majority value of an attribute is that of the training
    partition. If the schema has given attributes there is no ceiling: an image does not show what they are (which
    object the caption names first), and ``describe`` is not told.
    """

    records_reason = False

    def reason_not(self, model: Objective, data: ConceptDataModule) -> str | None:
        """A reason if there is no q(z|x) or no p(y|z)."""
        return None if model.can_describe else "there is no q(z|x) or no p(y|z): the model cannot describe an image"

    def ask(self, context: Context) -> list[Score]:
        """Scores the descriptions of at most 2,000 images of the partition."""
        data, described, truth = context.data, [], []
        batches = real_batches(data, context.partition, seed=context.evaluation.seed, device=context.device)
        for batch in batches:
            described.append(context.model.describe(batch.image).cpu())
            said = batch.concept if data.captions is None else data.captions.parse(batch.description)
            truth.append(said.cpu())
        # Silence, -1, is a value like the others.
        silence = 0 if data.captions is None else 1
        return accuracy_scores(
            context,
            "description_accuracy",
            torch.cat(described) + silence,
            torch.cat(truth) + silence,
            majority=data.said("train").mode(0).values.cpu() + silence,
            ceiling=math.nan if data.schema.given else 1.0,
        )


class ClassifierAccuracy(Question):
    """Accuracy of the classifier on held-out images: the test partition of the ``iid`` split, whatever the trial's."""

    per_partition = False

    def ask(self, context: Context) -> list[Score]:
        """The scores are the same for every objective: there is nothing to pair, so no values are kept."""
        held_out, majority = context.classifier.held_out, context.data.concepts("train").mode(0).values.cpu()
        return accuracy_scores(
            context, "classifier_accuracy", held_out.predictions, held_out.concepts,
            majority=majority, ceiling=1.0, keep_values=False,
        )  # fmt: skip


def accuracy_scores(
    context: Context,
    metric: str,
    predictions: Tensor,
    concepts: Tensor,
    *,
    majority: Tensor,
    ceiling: float,
    keep_values: bool = True,
) -> list[Score]:
    """The accuracy over all scored attributes, and that of each; their floor is the score of always naming the majority
    value.

    Args:
        context: With the schema and the intervals.
        metric: Its name.
        predictions: Long[N, A]; -1 where an attribute is not scored.
        concepts: Long[N, A], the truth.
        majority: Long[A].
        ceiling: The score of a perfect answer.
        keep_values: Whether the score over all attributes holds a value per image.
    """
    schema = context.data.schema
    scored = list(schema.scored_positions)
    values = description_values(predictions, concepts)
    right = description_accuracy(predictions, concepts)
    floors = description_accuracy(majority.expand_as(concepts), concepts)
    overall = context.score(
        metric,
        values[:, scored].nanmean(1),
        keep_values=keep_values,
        ceiling=ceiling,
        floor=float(floors[scored].mean()),
        constant=float(floors[scored].mean()),
    )
    return [
        overall,
        *(
            context.score(
                metric,
                values[:, k],
                value=float(right[k]),
                keep_values=False,
                ceiling=ceiling,
                floor=float(floors[k]),
                constant=float(floors[k]),
                attribute=schema.names[k],
            )
            for k in scored
        ),
    ]
