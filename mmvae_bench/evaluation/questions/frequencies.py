"""How often a watched attribute appears where a query leaves it open, compared with how often it does in training.

Shapes: Q query, S sample, A attribute, N held-out image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...concepts import UNSPECIFIED
from ...data.base import ConceptDataModule
from ...objectives.base import Objective
from ...runs.scores import Score
from ..queries import Queries
from ..scoring import Judge, make_score
from .base import NO_IMAGINATION, UNSAID, Context, Question

PRESENT = 1
"""The value that is counted: ``yes`` of an attribute with the values ``no`` and ``yes``."""


class Frequencies(Question):
    """The watched attributes of the dataset, in the images of the fixed queries."""

    records_reason = False

    def reason_not(self, model: Objective, data: ConceptDataModule) -> str | None:
        """A reason if there is no q(z|y)."""
        return None if model.can_imagine else NO_IMAGINATION

    def ask(self, context: Context) -> list[Score]:
        """One score per attribute, over all levels."""
        watched, judge, number = context.data.spec.watched_attributes, context.judge, context.evaluation.num_samples
        if not watched:
            return []
        if not context.leaves_open:
            context.left_out["frequency_unspecified"] = UNSAID
            return []
        return [
            score
            for suffix, mean in context.shown
            for score in watched_scores(
                judge,
                watched,
                [(queries, context.predictions(queries, mean=mean)) for queries in context.queries],
                num_samples=number,
                suffix=suffix,
            )
        ]


class RealFrequencies(Question):
    """The watched attributes of the dataset, in real images."""

    per_partition = False

    def ask(self, context: Context) -> list[Score]:
        """One score per attribute."""
        return real_frequency_scores(context.judge, context.data.spec.watched_attributes)


def watched_scores(
    judge: Judge,
    attributes: Sequence[str],
    seen: Sequence[tuple[Queries, Tensor]],
    *,
    num_samples: int,
    suffix: str = "",
) -> list[Score]:
    """``frequency_unspecified`` of each watched attribute: the fraction of images that show it, over all queries that
    leave it open, of all levels; the same under every protocol.

    Neither high nor low is good. The ceiling is how often the training images that satisfy these queries have it: what
    an exact conditional generator shows. There is no floor; a generator that ignores the query shows the attribute as
    often as training has it, which counts as ``deaf``. Images are seen
    through the classifier, whose own errors shift a frequency: how often it sees the attribute in real images is
    ``frequency_real``, see :func:`real_frequency_scores`.

    Args:
        judge: With the schema and the training concepts.
        attributes: Their names.
        seen: The fixed queries of a partition, by level, and Long[Q, S, A] of what the images show.
        num_samples: S.
        suffix: Of the name of the metric.

    Returns:
        One score per attribute; none if no query leaves it open.
    """
    scores = []
    for name in attributes if seen else ():
        k = judge.schema.names.index(name)
        values = torch.cat([_frequency(queries.concepts[:, k], predictions[..., k]) for queries, predictions in seen])
        if bool(values.isnan().all()):
            continue
        exact = [
            judge.training.exact(queries.concepts)[k][queries.concepts[:, k] == UNSPECIFIED, PRESENT]
            for queries, _ in seen
        ]
        groups = [queries.groups for queries, _ in seen if queries.groups is not None]
        scores.append(
            make_score(
                f"frequency_unspecified{suffix}",
                values,
                partition=seen[0][0].partition,
                # The queries of all levels are made from the same full concepts, by number.
                groups=torch.cat(groups) if len(groups) == len(seen) else None,
                ceiling=float(torch.cat(exact).mean()),
                deaf=float(judge.training.marginal()[k][PRESENT]),
                attribute=name,
                num_samples=num_samples,
            )
        )
    return scores


def real_frequency_scores(judge: Judge, attributes: Sequence[str]) -> list[Score]:
    """``frequency_real`` of each watched attribute: how often the classifier sees it in held-out real images.

    The ceiling is how often it is really there. The images are those of the ``iid`` split's test partition, the same
    for every objective.
    """
    scores = []
    for name in attributes:
        k = judge.schema.names.index(name)
        scores.append(
            make_score(
                "frequency_real",
                (judge.held_out.predictions[:, k] == PRESENT).double(),
                partition="test",
                keep_values=False,
                ceiling=float((judge.held_out.concepts[:, k] == PRESENT).double().mean()),
                attribute=name,
            )
        )
    return scores


def _frequency(specified: Tensor, shown: Tensor) -> Tensor:
    """Long[Q], Long[Q, S] of one attribute to Double[Q]: how often it is present; nan if the query specifies it."""
    return (shown == PRESENT).double().mean(1).masked_fill(specified != UNSPECIFIED, torch.nan)
