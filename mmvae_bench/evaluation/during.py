"""Scores of a model in the middle of training: the points of the curve of each score against steps.

Fewer samples than at the end and no intervals, so that many points cost little; the questions are the same ones.
"""

from __future__ import annotations

from typing import Any

import torch

from ..data.base import ConceptDataModule
from ..metrics.functional import correctness, coverage
from ..objectives.base import Objective
from ..specs.trial import EvaluationSpec
from .evaluate import answerable, judge_of, validated_distributions
from .queries import fixed_queries
from .references import TrainingConcepts
from .sampling import predictions_of

NUM_SAMPLES = 10
"""Images drawn a query at each point, as many as the official protocol scores."""

Points = list[dict[str, Any]]


class ScoreCurve:
    """Asks a model that is being trained, on the first partition of its evaluation.

    Correctness and coverage of each level as under the protocol ``paper`` but with 10 samples a query, and correctness
    by attribute at the highest level. The classifier is trained here, where it is not cached.

    Args:
        data: After ``setup()``.
        evaluation: What is asked at the end; its levels, repeats, seed and classifier count here too.
        device: Where networks run.
    """

    def __init__(self, data: ConceptDataModule, evaluation: EvaluationSpec, *, device: torch.device | str) -> None:
        self.data, self.evaluation = data, evaluation
        self._judge = judge_of(data, evaluation, device=device)
        self._marginal = TrainingConcepts(data.concepts("train"), sizes=data.schema.sizes).marginal()

    def __call__(self, model: Objective) -> Points:
        """``{"metric", "attribute", "level", "value"}`` of each score that the model can be asked, as fractions.

        Neither the model's mode nor any global random state is changed.

        Args:
            model: On the device.
        """
        partition = self.evaluation.partitions[0]
        points: Points = []
        with validated_distributions():
            for queries in answerable(model, fixed_queries(self.data, self.evaluation, partition)):
                predictions = predictions_of(
                    model, self._judge, self.data, queries,
                    num_samples=NUM_SAMPLES, seed=self.evaluation.seed,
                )  # fmt: skip
                values = {
                    "correctness": correctness(predictions, queries.concepts),
                    "coverage": coverage(predictions, queries.concepts, self._marginal),
                }
                points += [_point(metric, None, queries.level, value) for metric, value in values.items()]
                if queries.level == len(self.data.schema):
                    points += [
                        _point("correctness", name, queries.level,
                               correctness(predictions[..., k : k + 1], queries.concepts[:, k : k + 1]))
                        for k, name in enumerate(self.data.schema.names)
                    ]  # fmt: skip
        return [point for point in points if point["value"] == point["value"]]


def _point(metric: str, attribute: str | None, level: int, values: torch.Tensor) -> dict[str, Any]:
    """The mean over queries, nan (nothing to score) left out."""
    return {"metric": metric, "attribute": attribute, "level": level, "value": float(values.double().nanmean())}
