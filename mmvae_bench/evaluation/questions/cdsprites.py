"""The scores of CdSprites+ (Sejnova et al. 2022): strict, features and letters, from text to image and back.

Shapes: Q query, S sample, N image, A attribute.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...concepts import satisfies
from ...data.base import ConceptDataModule
from ...metrics.functional import (
    all_correct,
    blind_all_correct,
    blind_correctness,
    blind_letter_accuracy,
    correctness,
    letter_accuracy,
)
from ...objectives.base import Objective
from ...runs.scores import Score
from ..queries import Queries
from ..sampling import real_batches
from ..scoring import mean_of
from .base import Context, Question

SPRITES = "sprites"


class CdSprites(Question):
    """``strict`` and ``features``: the share of the images of a full concept that show all of it, and the share of its
    attributes that they show. ``strict_text``, ``features_text`` and, in the text view, ``letters_text``: the same of
    what the model says about held-out images, and the share of the letters of their captions.

    The released evaluation shows the mean of p(x|z); here it is what the other questions see. Floors are of an answer
    that ignores the question: training concepts, drawn without regard to it, images as the classifier reads them.
    """

    records_reason = False

    def reason_not(self, model: Objective, data: ConceptDataModule) -> str | None:
        """A reason for other datasets, and for objectives that neither imagine nor describe."""
        if data.spec.name != SPRITES:
            return f"these are the scores of dataset {SPRITES}"
        return None if model.can_imagine or model.can_describe else "there is neither q(z|y) nor p(y|z) with q(z|x)"

    def ask(self, context: Context) -> list[Score]:
        """Two scores of images, and two or three of texts."""
        scores = []
        full = [each for each in context.queries if each.level == len(context.data.schema)]
        for queries in full:
            for suffix, mean in context.shown:
                scores += image_scores(context, queries, context.predictions(queries, mean=mean), suffix=suffix)
        if context.model.can_describe:
            scores += text_scores(context)
        return scores


def image_scores(context: Context, queries: Queries, predictions: Tensor, *, suffix: str = "") -> list[Score]:
    """``strict`` and ``features`` of full concepts.

    Args:
        context: What the question is asked with.
        queries: Q full concepts.
        predictions: Long[Q, S, A], what the classifier reads in the images of each.
        suffix: Of the names of the metrics.
    """
    judge, concepts = context.judge, queries.concepts
    real = judge.held_out.right.masked_fill(~judge.scored, torch.nan)

    def score(metric: str, values: Tensor, ceiling: Tensor, floor: Tensor) -> Score:
        return context.score(
            metric + suffix,
            values,
            groups=queries.groups,
            ceiling=mean_of(ceiling),
            floor=mean_of(floor),
            deaf=mean_of(floor),
            level=queries.level,
            num_samples=predictions.shape[1],
        )

    def of_real(values: Tensor) -> Tensor:
        matching = satisfies(judge.held_out.concepts, concepts).double()
        return matching @ values / matching.sum(1)

    blind, all_real = judge.blind, (real.nan_to_num(1.0) == 1).all(1).double()
    return [
        score("strict", all_correct(predictions, concepts), of_real(all_real), blind.all_correct(concepts)),
        score("features", correctness(predictions, concepts), of_real(real.nanmean(1)), blind.correctness(concepts)),
    ]


def text_scores(context: Context) -> list[Score]:
    """``strict_text``, ``features_text`` and ``letters_text`` of at most 2,000 held-out images."""
    data, model = context.data, context.model
    said, truth = [], []
    for batch in real_batches(data, context.partition, seed=context.evaluation.seed, device=context.device):
        if data.captions is None:
            said.append(model.describe(batch.image).cpu())  # by q(y|x) where there is one
        else:
            z = model.centre(model.posterior(image=batch.image))
            said.append(model.concept_likelihood(z).mode.cpu())
        truth.append(batch.description.cpu())
    answers, wanted = torch.cat(said), torch.cat(truth)
    captions, training = data.captions, context.judge.training
    concepts = wanted if captions is None else captions.parse(wanted)
    read = answers if captions is None else captions.parse_leniently(answers)
    # An attribute that is not said, or makes no sense, is -1, and wrong.
    right = (read == concepts).double()
    distinct, of_image = concepts.unique(dim=0, return_inverse=True)
    exact = [torch.eye(size, dtype=torch.float64) for size in data.schema.sizes]
    floor_all = blind_all_correct(distinct, training.combinations, training.counts, exact)
    floor_each = blind_correctness(distinct, training.marginal())

    def score(metric: str, values: Tensor, floor: Tensor) -> Score:
        return context.score(metric, values, ceiling=1.0, floor=mean_of(floor[of_image]))

    scores = [
        score("strict_text", right.all(1).double(), floor_all),
        score("features_text", right.mean(1), floor_each),
    ]
    if captions is not None:

        def texts(concepts: Tensor) -> list[str]:
            return [
                captions.text(each) for each in captions.render(concepts, index=torch.arange(len(concepts)), seed=0)
            ]

        floor = blind_letter_accuracy(texts(distinct), texts(training.combinations), training.counts)
        letters = letter_accuracy([captions.text(each) for each in answers], [captions.text(each) for each in wanted])
        scores.append(score("letters_text", letters, floor))
    return scores
