"""The 3 C's of visual imagination: what a model shows of the fixed queries, under each protocol.

Shapes: Q query, S sample, A attribute.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from torch import Tensor

from ...data.base import ConceptDataModule
from ...metrics.functional import (
    compositionality,
    correctness,
    coverage,
    coverage_reference_per_query,
    deaf_joint_divergence,
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
from .base import NO_IMAGINATION, UNSAID, Context, Point, Question

ONE_ATTRIBUTE = {
    "coverage": "a concept has one attribute, which every query specifies: none is left open",
    "compositionality": "a concept has one attribute: there is nothing to put together in a new way",
}
"""Why two of the 3 C's are not scored where there is one attribute."""

Measure = Callable[[Tensor], Tensor]
"""A metric as a function of the predictions alone: Long[Q, S, A] to Float[Q]."""


class ThreeCs(Question):
    """Correctness, coverage, joint divergence and compositionality; images are drawn once and shared by protocols."""

    records_reason = False

    def reason_not(self, model: Objective, data: ConceptDataModule) -> str | None:
        """A reason if there is no q(z|y)."""
        return None if model.can_imagine else NO_IMAGINATION

    def ask(self, context: Context) -> list[Score]:
        """Scores at each level, under each protocol."""
        scores = []
        if not context.leaves_open:
            context.left_out.update(dict.fromkeys(("coverage", "joint_divergence"), UNSAID))
        if len(context.data.schema) == 1:
            context.left_out.update(ONE_ATTRIBUTE)
        for queries in context.queries:
            for rule in context.protocols(self.name):
                for suffix, mean in [("", True)] if rule.image == "mean" else context.shown:
                    seen = context.predictions(queries, mean=mean)
                    scores += three_cs(
                        context.judge, rule, queries, seen, suffix=suffix, leaves_open=context.leaves_open
                    )
        return scores

    def points(self, context: Context) -> list[Point]:
        """Correctness and coverage as under the dataset's first protocol, and correctness by attribute at the highest
        level.

        No references and no intervals, so that many points cost little.
        """
        points: list[Point] = []
        rule, schema = PROTOCOL_RULES[context.data.spec.headline_protocol], context.data.schema
        _, mean = context.shown[0]
        for queries in context.queries:
            predictions, concepts = context.predictions(queries, mean=mean), queries.concepts
            measured: dict[tuple[str, str | None], Tensor] = {("correctness", None): correctness(predictions, concepts)}
            if context.leaves_open:
                target = context.judge.training.target(rule.target, concepts)
                measured["coverage", None] = coverage(predictions, concepts, target, rule.base)
            if queries.level == len(schema):
                for k in schema.scored_positions:
                    measured["correctness", schema.names[k]] = _correctness_of(predictions, concepts, k)
            points += [
                {"metric": metric, "attribute": attribute, "level": queries.level, "value": mean_of(values)}
                for (metric, attribute), values in measured.items()
            ]
        return points


def three_cs(
    judge: Judge,
    rule: ProtocolRule,
    queries: Queries,
    predictions: Tensor,
    *,
    suffix: str = "",
    leaves_open: bool = True,
) -> list[Score]:
    """Correctness (also by attribute), coverage and joint divergence, and on ``comp`` compositionality.

    The ceiling of correctness is the classifier's accuracy on held-out real images of the same concepts; its floor is
    what the classifier reads in real images of training concepts drawn without regard to the query
    (:class:`~mmvae_bench.evaluation.references.BlindGenerator`). The ceiling of coverage and joint divergence is the
    expected score of an exact conditional generator, which draws from the training rows that satisfy a query, whatever
    the protocol compares it with; their floor is that of a generator which shows one training concept, drawn without
    regard to the query; both with as many samples and no classifier. Given attributes never count. A metric that no
    query defines (the coverage of full concepts) has no score.

    Args:
        judge: What the predictions are scored against.
        rule: The protocol.
        queries: Q concepts.
        predictions: Long[Q, S, A], from all samples drawn; -1 where an attribute is not scored.
        suffix: Of the names of the metrics.
        leaves_open: Whether an attribute that a query does not specify is open to the model; if not, coverage and joint
            divergence are left out.
    """
    concepts, predictions = queries.concepts, predictions[:, : rule.num_samples]
    num_samples, schema, training = predictions.shape[1], judge.schema, judge.training
    constant = judge.blind.constant(len(concepts))

    def score(
        metric: str, measure: Measure, *, ceiling: Tensor, floor: Tensor, deaf: Tensor, attribute: str | None = None
    ) -> Score:
        return make_score(
            metric + suffix,
            measure(predictions),
            partition=queries.partition,
            keep_values=attribute is None,
            groups=queries.groups,
            ceiling=mean_of(ceiling),
            floor=mean_of(floor),
            constant=mean_of(measure(constant)),
            deaf=mean_of(deaf),
            protocol=rule.name,
            attribute=attribute,
            level=queries.level,
            num_samples=num_samples,
        )

    scored, blind = judge.scored, judge.blind.correctness(concepts)
    real = accuracy_on_real_images(judge.held_out, concepts)
    scores = [
        score("correctness", lambda seen: correctness(seen, concepts), ceiling=real.nanmean(1), floor=blind, deaf=blind)
    ]
    floors = judge.blind.correctness_of_each(concepts)
    for k in schema.scored_positions:
        floor = floors[:, k]
        measure = partial(_correctness_of, concepts=concepts, k=k)
        scores.append(
            score("correctness", measure, ceiling=real[:, k], floor=floor, deaf=floor, attribute=schema.names[k])
        )
    if leaves_open:
        target, base = training.target(rule.target, concepts), rule.base
        exact, marginal = training.exact(concepts), training.marginal()
        perfect, collapsed = coverage_reference_per_query(
            concepts, target, num_samples, base, drawn=marginal, shown=exact, scored=scored
        )
        deaf = coverage_reference_per_query(concepts, target, num_samples, base, shown=marginal, scored=scored).perfect
        measure = partial(coverage, concepts=concepts, reference=target, base=base)
        scores.append(score("coverage", measure, ceiling=perfect, floor=collapsed, deaf=deaf))
        perfect, collapsed = joint_divergence_reference(
            concepts, target, num_samples, base, drawn=marginal, shown=exact, scored=scored
        )
        deaf = deaf_joint_divergence(concepts, target, marginal, num_samples, base, scored=scored)
        measure = partial(joint_divergence, concepts=concepts, reference=target, base=base)
        scores.append(score("joint_divergence", measure, ceiling=perfect, floor=collapsed, deaf=deaf))
    if judge.split == COMPOSITIONAL:
        seen = satisfied(concepts, training.combinations)
        ceiling, floor = (part.masked_fill(seen, math.nan) for part in (real.nanmean(1), blind))
        measure = partial(compositionality, concepts=concepts, training_concepts=training.combinations)
        scores.append(score("compositionality", measure, ceiling=ceiling, floor=floor, deaf=floor))
    return [each for each in scores if each.num_queries]


def _correctness_of(predictions: Tensor, concepts: Tensor, k: int) -> Tensor:
    """Correctness of one attribute alone, Float[Q]."""
    return correctness(predictions[..., k : k + 1], concepts[:, k : k + 1])
