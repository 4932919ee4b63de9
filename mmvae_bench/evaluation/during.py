"""Scores of a model during training: the points of the curve of each score against steps.

Fewer samples than at the end and no intervals, so that many points cost little; the questions are the same.
"""

from __future__ import annotations

import torch

from ..data.base import ConceptDataModule
from ..objectives.base import Objective, evaluating
from ..specs.trial import EvaluationSpec
from .checks import argument_checks
from .evaluate import can_be_asked, judge_of, references_of
from .questions import Context, Point, questions_of

NUM_SAMPLES = 10
"""Images drawn per query at each point, as many as the official protocol scores."""


class ScoreCurve:
    """Evaluates a model that is being trained, on the first partition of its evaluation: what each question gives as
    :meth:`~mmvae_bench.evaluation.questions.base.Question.points`.

    The classifier is trained here if it is not cached.

    Args:
        data: After ``setup()``.
        evaluation: The settings of the evaluation at the end; its levels, repeats, seed and classifier apply here too.
        device: Where networks run.
    """

    def __init__(self, data: ConceptDataModule, evaluation: EvaluationSpec, *, device: torch.device | str) -> None:
        self.data, self.device = data, torch.device(device)
        self.evaluation = evaluation.model_copy(update={"num_samples": NUM_SAMPLES})
        classifier = judge_of(data, evaluation, device=device)
        assert classifier is not None  # There is no curve without q(z|y), which no model of a graph has.
        self.classifier = classifier
        self.judge = references_of(data, evaluation, self.classifier)
        self.questions = questions_of(evaluation)

    def __call__(self, model: Objective) -> list[Point]:
        """The points that the model can be scored on, as fractions; nan left out.

        Neither the model's mode nor any global random state is changed.

        Args:
            model: On the device.
        """
        partition = self.evaluation.partitions[0]
        context = Context(model, self.data, self.classifier, self.judge, self.evaluation, partition, self.device)
        with argument_checks(True), evaluating(model), torch.no_grad():
            asked = [question for question in self.questions if can_be_asked(question, context)]
            points = [point for question in asked for point in question.points(context)]
        return [point for point in points if point["value"] == point["value"]]
