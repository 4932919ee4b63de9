"""Scores, with their intervals and what they are compared with.

Shapes: Q query, A attribute, N held-out image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..base.statistics import mean_interval
from ..concepts import Schema, satisfies, specified
from ..metrics.catalogue import metric_info
from ..runs.scores import Score
from .classifier import HeldOut
from .references import BlindGenerator, TrainingConcepts

_QUERIES_AT_ONCE = 64


def make_score(
    metric: str,
    values: Tensor,
    *,
    partition: str,
    value: float | None = None,
    keep_values: bool = True,
    groups: Tensor | None = None,
    ceiling: float = math.nan,
    floor: float = math.nan,
    constant: float = math.nan,
    deaf: float = math.nan,
    protocol: str | None = None,
    attribute: str | None = None,
    level: int | None = None,
    num_samples: int | None = None,
    proposal: str | None = None,
) -> Score:
    """A score with its interval; see :class:`Score`.

    Args:
        metric: Its name.
        values: Float[Q], nan where a query has none.
        partition: val or test.
        value: Their mean, where that is computed elsewhere; None: it is computed here.
        keep_values: Whether the score holds ``values``, so that differences can be paired.
        groups: Long[Q]: the values of a group are resampled together.
        ceiling: What a perfect generator would be expected to score.
        floor: What a generator that ignores the query would be expected to score.
        constant: What the best constant answer scores.
        deaf: What a generator that ignores the query and draws every image anew would be expected to score.
        protocol: None if the metric is the same under every protocol.
        attribute: None: all attributes.
        level: Number of specified attributes.
        num_samples: Images per query.
        proposal: What the z of a likelihood were drawn from.
    """
    per_query = values.double().tolist()
    members = None if groups is None else groups.tolist()
    low, high = mean_interval(per_query, groups=members, fraction=metric_info(metric).unit == "%")
    return Score(
        metric=metric,
        partition=partition,
        value=mean_of(values) if value is None else value,
        protocol=protocol,
        attribute=attribute,
        level=level,
        ci_low=low,
        ci_high=high,
        ceiling=ceiling,
        floor=floor,
        constant=constant,
        deaf=deaf,
        num_queries=int((~values.isnan()).sum()),
        num_samples=num_samples,
        per_query=per_query if keep_values else None,
        groups=members if keep_values else None,
        proposal=proposal,
    )


@dataclass(frozen=True)
class Judge:
    """What predictions are scored against.

    Attributes:
        schema: The attributes.
        split: The trial's.
        training: Concepts of the trial's own training partition.
        held_out: Real images as the classifier reads them.
    """

    schema: Schema
    split: str
    training: TrainingConcepts
    held_out: HeldOut

    @property
    def scored(self) -> Tensor:
        """Bool[A]: all attributes but the given ones."""
        return torch.tensor([k in self.schema.scored_positions for k in range(len(self.schema))])

    @cached_property
    def blind(self) -> BlindGenerator:
        """A generator that ignores the query, as the classifier sees it."""
        return BlindGenerator(self.training, self.held_out.confusion(self.schema.sizes), self.scored)


def accuracy_on_real_images(held_out: HeldOut, concepts: Tensor) -> Tensor:
    """How well the classifier reads the specified attributes of real images that show a concept.

    Args:
        held_out: N real images.
        concepts: Long[Q, A], -1 where unspecified.

    Returns:
        Double[Q, A]: the fraction of the images satisfying the concept whose attribute is read correctly; nan where the
        attribute is unspecified or not scored, or no held-out image satisfies the concept.
    """
    right, rows = held_out.right, []
    for part in concepts.split(_QUERIES_AT_ONCE):
        matching = satisfies(held_out.concepts, part).double()
        rows.append(matching @ right / matching.sum(1, keepdim=True))
    return torch.cat(rows).masked_fill(~specified(concepts), math.nan)


def num_unmatched(held_out: HeldOut, concepts: Tensor) -> int:
    """How many of the concepts, Long[Q, A], no held-out image satisfies."""
    parts = concepts.split(_QUERIES_AT_ONCE)
    return sum(int((~satisfies(held_out.concepts, part).any(1)).sum()) for part in parts)


def mean_of(values: Tensor) -> float:
    """The mean over queries, nan left out; nan if nothing is left."""
    return float(values.double().nanmean())
