"""What is asked about real images: descriptions, the bound of the training loss, and how good the judge is.

Shapes: B batch, N image, A attribute.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from ..base.hashing import derive_seed
from ..base.randomness import own_randomness
from ..data.base import ConceptDataModule
from ..data.batch import Batch
from ..objectives.base import Objective
from ..runs.scores import Score
from .classifier import ObservationClassifier
from .scoring import Intervals, make_score

MAX_IMAGES = 2_000
"""Real images of a partition that are described, and that the bound is measured on."""
BATCH_SIZE = 50
"""Images a batch; the interval of the ELBO resamples batches."""


def real_batches(
    data: ConceptDataModule,
    partition: str,
    *,
    seed: int,
    device: torch.device,
    limit: int = MAX_IMAGES,
    batch_size: int = BATCH_SIZE,
) -> Iterator[Batch]:
    """Batches of at most ``limit`` images of a partition, always the same ones; of fewer, the first of these."""
    rows = data.rows(partition).cpu()
    generator = torch.Generator().manual_seed(derive_seed("real images", seed=seed, partition=partition))
    for part in rows[torch.randperm(len(rows), generator=generator)[:limit]].split(batch_size):
        yield data.store.batch(part).to(device)


def description_scores(
    model: Objective, data: ConceptDataModule, partition: str, intervals: Intervals, *, device: torch.device
) -> list[Score]:
    """Accuracy of ``describe`` over all attributes and by attribute, between 1 and always saying the majority value.

    In the text view the truth is what an image's caption says, and that it does not speak of an attribute is a value of
    its own: both texts must say the same, or nothing. The majority value of an attribute is that of the training
    partition. Where the schema has given attributes there is no ceiling: an image does not tell what they are (of which
    object the caption speaks first), and nobody tells it to ``describe``.
    """
    described, truth = [], []
    for batch in real_batches(data, partition, seed=intervals.seed, device=device):
        described.append(model.describe(batch.image).cpu())
        said = batch.concept if data.captions is None else data.captions.parse(batch.description)
        truth.append(said.cpu())
    return _accuracy_scores(
        "description_accuracy",
        torch.cat(described),
        torch.cat(truth),
        data,
        intervals,
        partition=partition,
        ceiling=math.nan if data.schema.given else 1.0,
    )


def classifier_scores(classifier: ObservationClassifier, data: ConceptDataModule, intervals: Intervals) -> list[Score]:
    """Accuracy of the judge on held-out images: of the ``iid`` split's test partition, whatever the trial asks."""
    held_out = classifier.held_out
    return _accuracy_scores(
        "classifier_accuracy", held_out.predictions, held_out.concepts, data, intervals, partition="test"
    )


def elbo_score(
    model: Objective, data: ConceptDataModule, partition: str, intervals: Intervals, *, device: torch.device
) -> Score:
    """The negative training loss on held-out images, in nats an image: objectives have different losses, so it compares
    settings of one objective and seeds, not objectives.

    The networks are in eval mode, one z is drawn for each expectation from a derived seed, and every term of the loss
    counts, whatever the stage that training ended in. A value stands for a batch of 50 images, and the interval
    resamples batches: a loss need not be a sum over images.
    """
    seed = derive_seed("elbo", seed=intervals.seed, partition=partition)
    values: list[float] = []
    num_images = 0
    with _outside_training(model), torch.no_grad(), own_randomness(seed, device):
        for batch in real_batches(data, partition, seed=intervals.seed, device=device):
            # The last batch may be smaller: by number of images it counts for less, so it is left out of many.
            if len(batch) == BATCH_SIZE or not values:
                values.append(-float(model.terms(batch).loss))
                num_images += len(batch)
    score = make_score("elbo", torch.tensor(values, dtype=torch.float64), intervals, partition=partition)
    return replace(score, num_queries=num_images)


def _accuracy_scores(
    metric: str,
    predictions: Tensor,
    concepts: Tensor,
    data: ConceptDataModule,
    intervals: Intervals,
    *,
    partition: str,
    ceiling: float = 1.0,
) -> list[Score]:
    majority = _majority(data, as_said=metric == "description_accuracy")
    scored = list(data.schema.scored_positions)
    right, floor = (predictions == concepts).double(), (concepts == majority).double().mean(0)

    def score(values: Tensor, floor: Tensor, attribute: str | None = None) -> Score:
        return make_score(
            metric,
            values,
            intervals,
            partition=partition,
            # The judge is the same for every objective: nothing to pair.
            keep_values=attribute is None and metric != "classifier_accuracy",
            ceiling=ceiling,
            floor=float(floor),
            attribute=attribute,
        )

    by_attribute = [score(right[:, k], floor[k], data.schema.names[k]) for k in scored]
    return [score(right[:, scored].mean(1), floor[scored].mean()), *by_attribute]


def _majority(data: ConceptDataModule, *, as_said: bool) -> Tensor:
    """Long[A]: the most frequent value of each attribute in training, as concepts have it or as y says it."""
    concepts = data.said("train") if as_said else data.concepts("train")
    return concepts.mode(0).values.cpu()


@contextmanager
def _outside_training(model: Objective) -> Iterator[None]:
    """Eval mode and no stage, so that all terms of the loss are there."""
    stage, training = model.stage, model.training
    model.stage = None
    model.eval()
    try:
        yield
    finally:
        model.stage = stage
        model.train(training)
