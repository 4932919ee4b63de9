"""The 3 C's of visual imagination: what a model shows of the fixed queries, under each protocol.

Shapes: Q query, S sample, A attribute.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...data.base import ConceptDataModule
from ...metrics.functional import (
    compositionality,
    correctness,
    correctness_chance,
    coverage,
    coverage_reference_per_query,
    joint_divergence,
    joint_divergence_reference,
    satisfied,
)
from ...metrics.protocols import PROTOCOL_RULES, ProtocolRule
from ...objectives.base import Objective
from ...runs.scores import Score
from ...specs.trial import COMPOSITIONAL
from ..queries import Queries
from ..scoring import Judge, accuracy_on_real_images, make_score, mean_of
from .base import NO_IMAGINATION, Context, Point, Question


class ThreeCs(Question):
    """Correctness, coverage, joint divergence and compositionality; images are drawn once and shared by protocols."""

    records_reason = False

    def reason_not(self, model: Objective, data: ConceptDataModule) -> str | None:
        """A reason if there is no q(z|y)."""
        return None if model.can_imagine else NO_IMAGINATION

    def ask(self, context: Context) -> list[Score]:
        """Scores at each level, under each protocol."""
        scores = []
        for queries in context.queries:
            for rule in context.protocols(self.name):
                predictions = context.predictions(queries, mean=rule.image == "mean")
                scores += three_cs(context.judge, rule, queries, predictions)
        return scores

    def points(self, context: Context) -> list[Point]:
        """Correctness and coverage as under the protocol ``paper``, and correctness by attribute at the highest level.

        No references and no intervals, so that many points cost little.
        """
        points: list[Point] = []
        rule, schema = PROTOCOL_RULES["paper"], context.data.schema
        for queries in context.queries:
            predictions, concepts = context.predictions(queries), queries.concepts
            target = context.judge.training.target(rule.target, concepts)
            measured: dict[tuple[str, str | None], Tensor] = {
                ("correctness", None): correctness(predictions, concepts),
                ("coverage", None): coverage(predictions, concepts, target, rule.base),
            }
            if queries.level == len(schema):
                for k in schema.scored_positions:
                    measured["correctness", schema.names[k]] = _correctness_of(predictions, concepts, k)
            points += [
                {"metric": metric, "attribute": attribute, "level": queries.level, "value": mean_of(values)}
                for (metric, attribute), values in measured.items()
            ]
        return points


def three_cs(judge: Judge, rule: ProtocolRule, queries: Queries, predictions: Tensor) -> list[Score]:
    """Correctness (also by attribute), coverage and joint divergence, and on ``comp`` compositionality.

    The ceiling of correctness is the classifier's accuracy on held-out real images of the same concepts, its floor is
    chance. Ceiling and floor of coverage and joint divergence are the expected scores of a perfect generator and of a
    collapsed one, with as many samples and no classifier. For coverage the collapsed generator shows one value, drawn
    from the reference; for joint divergence one concept, drawn independently of the query. Given attributes never
    count. A metric that no query defines (the coverage of full concepts) has no score.

    Args:
        judge: What the predictions are scored against.
        rule: The protocol.
        queries: Q concepts.
        predictions: Long[Q, S, A], from all samples drawn; -1 where an attribute is not scored.
    """
    concepts, predictions = queries.concepts, predictions[:, : rule.num_samples]
    num_samples, schema, training = predictions.shape[1], judge.schema, judge.training

    def score(metric: str, values: Tensor, *, ceiling: Tensor, floor: Tensor, attribute: str | None = None) -> Score:
        return make_score(
            metric,
            values,
            partition=queries.partition,
            keep_values=attribute is None,
            groups=queries.groups,
            ceiling=mean_of(ceiling),
            floor=mean_of(floor),
            protocol=rule.name,
            attribute=attribute,
            level=queries.level,
            num_samples=num_samples,
        )

    scored = judge.scored
    chance = correctness_chance(concepts, schema.sizes, scored=scored)
    real = accuracy_on_real_images(judge.held_out, concepts)
    scores = [score("correctness", correctness(predictions, concepts), ceiling=real.nanmean(1), floor=chance)]
    for k in schema.scored_positions:
        values, floor = _correctness_of(predictions, concepts, k), torch.tensor(1 / schema.sizes[k])
        scores.append(score("correctness", values, ceiling=real[:, k], floor=floor, attribute=schema.names[k]))

    target = training.target(rule.target, concepts)
    covered = coverage(predictions, concepts, target, rule.base)
    perfect, collapsed = coverage_reference_per_query(concepts, target, num_samples, rule.base, scored=scored)
    scores.append(score("coverage", covered, ceiling=perfect, floor=collapsed))
    divergence = joint_divergence(predictions, concepts, target, rule.base)
    perfect, collapsed = joint_divergence_reference(
        concepts, target, num_samples, rule.base, drawn=training.unconditional(rule.target), scored=scored
    )
    scores.append(score("joint_divergence", divergence, ceiling=perfect, floor=collapsed))

    if judge.split == COMPOSITIONAL:
        values = compositionality(predictions, concepts, training.combinations)
        seen = satisfied(concepts, training.combinations)
        ceiling, floor = (part.masked_fill(seen, math.nan) for part in (real.nanmean(1), chance))
        scores.append(score("compositionality", values, ceiling=ceiling, floor=floor))
    return [each for each in scores if each.num_queries]


def _correctness_of(predictions: Tensor, concepts: Tensor, k: int) -> Tensor:
    """Correctness of one attribute alone, Float[Q]."""
    return correctness(predictions[..., k : k + 1], concepts[:, k : k + 1])
