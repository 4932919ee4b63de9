"""The 3 C's of one set of samples under one protocol, each beside its references.

Shapes: Q query, S sample, A attribute, N held-out image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..base.hashing import derive_seed
from ..base.statistics import bootstrap_interval
from ..concepts import Schema, satisfies, specified
from ..metrics.functional import (
    correctness,
    correctness_chance,
    coverage,
    coverage_reference_per_query,
    joint_divergence,
    joint_divergence_reference,
    satisfied,
)
from ..metrics.protocols import ProtocolRule
from ..runs.scores import Score
from .classifier import HeldOut
from .queries import COMPOSITIONAL, Queries
from .references import TrainingConcepts

_QUERIES_AT_ONCE = 64


@dataclass(frozen=True)
class Intervals:
    """How the intervals of an evaluation are made.

    Attributes:
        num_resamples: Bootstrap resamples.
        seed: Of the evaluation.
    """

    num_resamples: int
    seed: int

    def __call__(self, values: Sequence[float], groups: Sequence[int] | None = None) -> tuple[float, float]:
        """The 95 % interval of the mean of ``values``, nan left out; groups of them are resampled as a whole."""
        if sum(not math.isnan(value) for value in values) < 2:
            return math.nan, math.nan  # One value says nothing of its spread.
        # One seed for all: scores of the same queries are resampled alike.
        seed = derive_seed("bootstrap", seed=self.seed)
        return bootstrap_interval(values, groups=groups, num_resamples=self.num_resamples, seed=seed)


def make_score(
    metric: str,
    values: Tensor,
    intervals: Intervals,
    *,
    partition: str,
    keep_values: bool = True,
    groups: Tensor | None = None,
    ceiling: float = math.nan,
    floor: float = math.nan,
    protocol: str | None = None,
    attribute: str | None = None,
    level: int | None = None,
    num_samples: int | None = None,
    proposal: str | None = None,
) -> Score:
    """The mean of ``values`` (Float[Q], nan where a query has none) with its interval; see :class:`Score`."""
    per_query = values.double().tolist()
    members = None if groups is None else groups.tolist()
    low, high = intervals(per_query, members)
    return Score(
        metric=metric,
        partition=partition,
        value=_mean(values),
        protocol=protocol,
        attribute=attribute,
        level=level,
        ci_low=low,
        ci_high=high,
        ceiling=ceiling,
        floor=floor,
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
        split: Of the trial.
        training: Concepts of the trial's own training partition.
        held_out: Real images as the classifier reads them.
        intervals: How intervals are made.
    """

    schema: Schema
    split: str
    training: TrainingConcepts
    held_out: HeldOut
    intervals: Intervals

    @property
    def scored(self) -> Tensor:
        """Bool[A]: all attributes but the given ones."""
        return torch.tensor([k in self.schema.scored_positions for k in range(len(self.schema))])

    def scores(self, rule: ProtocolRule, queries: Queries, predictions: Tensor) -> list[Score]:
        """Correctness (also by attribute), coverage and joint divergence, and on ``comp`` compositionality.

        Correctness stands between the classifier's accuracy on held-out real images of the same concepts and chance.
        Coverage and joint divergence stand between the expected scores of a perfect generator and of a collapsed one;
        as many samples, no classifier. For coverage the collapsed one shows one value, drawn from the reference; for
        joint divergence one concept, drawn without hearing the query. Given attributes count in nothing. A metric that
        no query defines (the coverage of full concepts) has no row.

        Args:
            rule: The protocol.
            queries: Q concepts.
            predictions: Long[Q, S, A], from all samples drawn; -1 where an attribute is not scored.
        """
        concepts, predictions = queries.concepts, predictions[:, : rule.num_samples]
        num_samples = predictions.shape[1]

        def score(
            metric: str, values: Tensor, *, ceiling: Tensor, floor: Tensor, attribute: str | None = None
        ) -> Score:
            return make_score(
                metric,
                values,
                self.intervals,
                partition=queries.partition,
                keep_values=attribute is None,
                groups=queries.groups,
                ceiling=_mean(ceiling),
                floor=_mean(floor),
                protocol=rule.name,
                attribute=attribute,
                level=queries.level,
                num_samples=num_samples,
            )

        scored = self.scored
        right = correctness(predictions, concepts)
        chance = correctness_chance(concepts, self.schema.sizes, scored=scored)
        real = accuracy_on_real_images(self.held_out, concepts)
        scores = [score("correctness", right, ceiling=real.nanmean(1), floor=chance)]
        for k in self.schema.scored_positions:
            of_one = correctness(predictions[..., k : k + 1], concepts[:, k : k + 1])
            floor, name = torch.tensor(1 / self.schema.sizes[k]), self.schema.names[k]
            scores.append(score("correctness", of_one, ceiling=real[:, k], floor=floor, attribute=name))

        target = self.training.target(rule.target, concepts)
        covered = coverage(predictions, concepts, target, rule.base)
        perfect, collapsed = coverage_reference_per_query(concepts, target, num_samples, rule.base, scored=scored)
        scores.append(score("coverage", covered, ceiling=perfect, floor=collapsed))
        divergence = joint_divergence(predictions, concepts, target, rule.base)
        perfect, collapsed = joint_divergence_reference(
            concepts, target, num_samples, rule.base, drawn=self.training.unheard(rule.target), scored=scored
        )
        scores.append(score("joint_divergence", divergence, ceiling=perfect, floor=collapsed))

        if self.split == COMPOSITIONAL:
            seen = satisfied(concepts, self.training.combinations)
            novel = (part.masked_fill(seen, math.nan) for part in (right, real.nanmean(1), chance))
            values, ceiling, floor = novel
            scores.append(score("compositionality", values, ceiling=ceiling, floor=floor))
        return [each for each in scores if each.num_queries]


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


def _mean(values: Tensor) -> float:
    """Over queries, nan left out; nan where nothing is left."""
    return float(values.double().nanmean())
