"""The loss that an objective was trained with, on images it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from ...base.randomness import own_randomness
from ...base.seeds import derive_seed
from ...objectives.base import Objective
from ...runs.scores import Score
from ..sampling import BATCH_SIZE, real_batches
from .base import Context, Question


class TrainingLoss(Question):
    """``elbo``: the negative training loss on held-out images, in nats per image. Objectives have different losses, so
    it compares settings and seeds of one objective, not objectives.

    One z is drawn for each expectation from a derived seed, and every term of the loss counts, whatever the stage that
    training ended in. A value belongs to a batch of 50 images, and the interval is over batches: a loss need not be a
    sum over images.
    """

    def ask(self, context: Context) -> list[Score]:
        """The one score of a partition."""
        seed, partition = context.evaluation.seed, context.partition
        values: list[float] = []
        num_images = 0
        seed_of_z = derive_seed("elbo", seed=seed, partition=partition)
        with _every_term(context.model), own_randomness(seed_of_z, context.device):
            for batch in real_batches(context.data, partition, seed=seed, device=context.device):
                # A smaller last batch would weigh too much per image: it is left out where there are others.
                if len(batch) == BATCH_SIZE or not values:
                    values.append(-float(context.model.terms(batch).loss))
                    num_images += len(batch)
        score = context.score("elbo", torch.tensor(values, dtype=torch.float64))
        return [replace(score, num_queries=num_images)]


@contextmanager
def _every_term(model: Objective) -> Iterator[None]:
    """The model is in no stage of training inside the block: its loss has every term."""
    stage, model.stage = model.stage, None
    try:
        yield
    finally:
        model.stage = stage
