"""The evaluation of a trained objective: the same questions for all objectives, and their scores."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch

from ..base.errors import unknown
from ..data.base import ConceptDataModule
from ..metrics.catalogue import MEAN_IMAGES
from ..objectives.base import Objective, evaluating
from ..runs.scores import Score
from ..specs.components import classifiers
from ..specs.trial import EvaluationSpec
from .checks import argument_checks
from .classifier import ObservationClassifier
from .classifier_training import Progress, observation_classifier
from .confusion import Table, confusion_of, real_confusion
from .questions import Context, Question, questions_of
from .references import TrainingConcepts
from .scoring import Judge, num_unmatched


@dataclass(frozen=True)
class Evaluation:
    """What a trained model scored.

    Attributes:
        scores: Every number with its interval and references.
        classifier: The judge; None of a graph.
        unmatched: The number of queries that no held-out real image satisfies, by ``partition/level``: they are left
            out of the ceiling of correctness, not of correctness itself.
        left_out: The reason for each requested metric or question that the objective's mathematics does not provide.
        confusion: How the fixed queries and real images were read, see :mod:`~mmvae_bench.evaluation.confusion`.
        seconds: What each question took, over all partitions.
    """

    scores: list[Score]
    classifier: ObservationClassifier | None
    unmatched: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    confusion: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, Seconds] = field(default_factory=dict)


class Seconds:
    """What a question takes, added up. Images are drawn once: the first question that needs them pays for them.

    Attributes:
        wall: Seconds of the clock.
        processor: Seconds of all threads of the process together.
    """

    def __init__(self) -> None:
        self.wall = self.processor = 0.0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Adds what happens inside."""
        start = time.monotonic(), time.process_time()
        yield
        self.wall += time.monotonic() - start[0]
        self.processor += time.process_time() - start[1]

    def to_json(self) -> dict[str, float]:
        """Plain JSON, in milliseconds at best."""
        return {"wall": round(self.wall, 3), "processor": round(self.processor, 3)}


def evaluate(
    model: Objective,
    data: ConceptDataModule,
    evaluation: EvaluationSpec,
    *,
    questions: Sequence[Question] | None = None,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Evaluation:
    """Asks a trained model every question that its mathematics can answer, partition by partition.

    Args:
        model: Moved to ``device`` and left there; its mode is as it was.
        data: After ``setup()``; the trial's own, whose training partition gives the references.
        evaluation: The settings.
        questions: What to ask; None: everything that ``evaluation`` wants.
        device: Where networks run.
        progress: Called with ``"classifier"``, ``"imagine"``, ``"likelihood"`` or ``"prior"``, how much of it is
            done and in all.
    """
    device = torch.device(device)
    model.to(device)
    # Too slow in a training step, and worth it here.
    with argument_checks(True):
        classifier = judge_of(data, evaluation, device=device, progress=progress)
        judge = None if classifier is None else references_of(data, evaluation, classifier)
        # No question about a graph looks at either: they are what the questions about images need.
        judges = cast(ObservationClassifier, classifier), cast(Judge, judge)
        context = Context(model, data, *judges, evaluation, "test", device, progress)
        chosen = questions_of(evaluation, data.spec.domain) if questions is None else questions
        scores: list[Score] = []
        unmatched: dict[str, int] = {}
        with evaluating(model), torch.no_grad():
            asked = [question for question in chosen if can_be_asked(question, context)]
            seconds = {question.name: Seconds() for question in asked}
            tables: list[Table] = []
            for partition in evaluation.partitions:
                here = replace(context, partition=partition)
                for question in asked:
                    if question.per_partition:
                        with seconds[question.name].measured():
                            scores += _answers(question, here)
                if classifier is not None:
                    tables += confusion_of(here)
                    held_out = classifier.held_out
                    for queries in here.queries:
                        unmatched[f"{partition}/{queries.level}"] = num_unmatched(held_out, queries.concepts)
            for question in asked:
                if not question.per_partition:
                    with seconds[question.name].measured():
                        scores += _answers(question, context)
    _check_distinct(scores)
    confusion = {} if not tables else {"asked": tables, "real": real_confusion(context)}
    return Evaluation(scores, classifier, unmatched, context.left_out, confusion, seconds)


def _answers(question: Question, context: Context) -> list[Score]:
    """What a question of the user's returns, if it is what its spec says.

    Raises:
        TypeError: for anything but a list of scores.
        ValueError: for a score of a metric that the spec does not name.
    """
    found: object = question.ask(context)
    if not isinstance(found, list) or not all(isinstance(score, Score) for score in found):
        kinds = {type(each).__name__ for each in found} if isinstance(found, list) else {type(found).__name__}
        raise TypeError(f"question {question.name!r} returned {', '.join(sorted(kinds))}, expected a list of Score")
    if not question.spec.implementation.startswith("mmvae_bench."):
        named = question.spec.metrics
        for score in found:
            if score.metric.removesuffix(MEAN_IMAGES) not in named:
                problem = unknown(f"metric of question {question.name!r}:", score.metric, named)
                raise ValueError(f"{problem}\n  Name it in metrics of {type(question.spec).__name__}.")
    return found


def _check_distinct(scores: Sequence[Score]) -> None:
    """Two numbers for one row of a table would be averaged as if they were of two seeds."""
    seen: set[tuple[object, ...]] = set()
    for score in scores:
        row = (score.protocol, score.partition, score.metric, score.attribute, score.level)
        if row in seen:
            named = " ".join(str(part) for part in row if part is not None)
            raise ValueError(f"two scores are called {named}: no question may give a score that there is already")
        seen.add(row)


def references_of(data: ConceptDataModule, evaluation: EvaluationSpec, classifier: ObservationClassifier) -> Judge:
    """What the predictions of a trial's model are scored against."""
    training = TrainingConcepts(data.concepts("train"), sizes=data.schema.sizes)
    return Judge(data.schema, data.spec.split, training, classifier.held_out)


def can_be_asked(question: Question, context: Context) -> bool:
    """Whether the model can be asked; if it cannot, ``context.left_out`` says why, if that is worth recording."""
    reason = question.reason_not(context.model, context.data)
    if reason is not None and question.records_reason:
        context.left_out[question.name] = reason
    return reason is None


def judge_of(
    data: ConceptDataModule,
    evaluation: EvaluationSpec,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> ObservationClassifier | None:
    """The observation classifier that an evaluation names, or the dataset's own; trained if it is not cached.

    None for a graph.
    """
    name = data.spec.default_classifier()
    if name is None:
        return None
    spec = evaluation.classifier or classifiers.parse(name)
    return observation_classifier(spec, data, device=device, progress=progress)
