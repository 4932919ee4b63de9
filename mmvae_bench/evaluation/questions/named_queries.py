"""Queries that the dataset names: rare or revealing concepts, such as "bald and not male".

Shapes: R repeat, S sample, A attribute, N held-out image.
"""

from __future__ import annotations

import math
from dataclasses import replace

from einops import rearrange
from torch import Tensor

from ...concepts import satisfies, specified
from ...data.base import ConceptDataModule
from ...metrics.functional import NOT_SCORED, correctness
from ...objectives.base import Objective
from ...runs.scores import Score
from ..queries import Queries, answerable, named_queries
from ..scoring import Judge, accuracy_on_real_images, make_score
from .base import NO_IMAGINATION, Context, Question


class NamedQueries(Question):
    """The concepts that the dataset names; their images are drawn apart from those of the fixed queries."""

    records_reason = False

    def reason_not(self, model: Objective, data: ConceptDataModule) -> str | None:
        """A reason if there is no q(z|y)."""
        return None if model.can_imagine else NO_IMAGINATION

    def ask(self, context: Context) -> list[Score]:
        """Two scores per query, for each kind of image that is shown."""
        named = named_queries(context.data, context.evaluation, context.partition)
        return [
            score
            for queries in answerable(context.model, named)
            for suffix, mean in context.shown
            for score in named_query_scores(
                context.judge, queries, context.predictions(queries, mean=mean), suffix=suffix
            )
        ]


def named_query_scores(judge: Judge, queries: Queries, predictions: Tensor, *, suffix: str = "") -> list[Score]:
    """``named_query``: the fraction of its specified attributes that the images of the query show; and
    ``named_query_all``: the fraction of the images that show all of them.

    The same under every protocol; their attribute is the name of the query. There is one concept, so a value belongs
    to an image and the interval is over images: it says how well these images measure the model on this concept, and
    nothing about other concepts. Ceilings are what the classifier scores on held-out real images that satisfy the
    concept, nan if there are none; floors are what images of training concepts would score, drawn without regard to
    the query and read by the classifier.

    Args:
        judge: With the schema and the held-out images.
        queries: One concept, R times.
        predictions: Long[R, S, A]; -1 where an attribute is not scored.
        suffix: Of the names of the metrics.

    Returns:
        Two scores, or none if the concept specifies nothing that is scored.
    """
    concept = queries.concepts[:1]
    images = rearrange(predictions, "repeat sample attribute -> (repeat sample) attribute")
    values = correctness(images[:, None], concept.expand(len(images), -1))
    if bool(values.isnan().all()):
        return []
    constant = judge.blind.constant(1)
    real = accuracy_on_real_images(judge.held_out, concept).nanmean()
    matching = judge.held_out.predictions[satisfies(judge.held_out.concepts, concept)[0]]
    real_all = shows_all(matching, concept).mean() if len(matching) else math.nan

    def score(metric: str, values: Tensor, *, ceiling: Tensor | float, floor: Tensor, constant: Tensor) -> Score:
        made = make_score(
            metric + suffix,
            values,
            partition=queries.partition,
            attribute=queries.name,
            level=queries.level,
            num_samples=len(images),
            ceiling=float(ceiling),
            floor=float(floor),
            constant=float(constant),
            deaf=float(floor),
        )
        return replace(made, num_queries=1)

    return [
        score(
            "named_query",
            values,
            ceiling=real,
            floor=judge.blind.correctness(concept),
            constant=correctness(constant, concept),
        ),
        score(
            "named_query_all",
            shows_all(images, concept),
            ceiling=real_all,
            floor=judge.blind.all_correct(concept),
            constant=shows_all(constant[0], concept),
        ),
    ]


def shows_all(predictions: Tensor, concept: Tensor) -> Tensor:
    """Which images show every specified attribute that is scored: Long[N, A], Long[1, A] to Double[N] of 0 and 1."""
    return ((predictions == concept) | ~specified(concept) | (predictions == NOT_SCORED)).all(1).double()
