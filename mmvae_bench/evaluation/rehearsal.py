"""Questions of other packages, asked of an untrained model on made-up images: a bug shows before any training.

What they return is looked at as in an evaluation. The model has its initial weights and the classifier has made one
step, so no number means anything.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence

import torch

from ..base.errors import BenchmarkError
from ..data.base import ConceptDataModule
from ..metrics.protocols import PROTOCOL_RULES
from ..objectives.base import Objective, evaluating
from ..runs.scores import Score
from ..specs.built_in.classifiers import TrainedClassifierSpec
from ..specs.components import QuestionSpec, classifiers
from ..specs.trial import EvaluationSpec, TrialSpec
from ..training.rehearsal import OWN, SECONDS, MadeUp, told
from .checks import argument_checks
from .classifier_training import train
from .evaluate import _answers, references_of
from .questions import Context, Question, build_question

NUM_IMAGES = 16
"""Made-up images, all of them in every partition."""
NUM_QUERIES = 4
"""Concepts that are queried at a level."""


def rehearse_questions(specs: Sequence[TrialSpec], *, seconds: float = SECONDS) -> Iterator[tuple[str, str | None]]:
    """(name, what went wrong) for each question of another package that a trial asks; None if nothing did.

    A question is asked of the first model that can be asked it, in the order of their objectives and images; if there
    is none, nothing is said of it.

    Args:
        specs: Trials.
        seconds: When no further question is begun.
    """
    end = time.monotonic() + seconds
    asked: set[str] = set()
    first = {(spec.objective.name, spec.dataset.name, spec.evaluation): spec for spec in reversed(specs)}
    for spec in reversed(first.values()):
        waiting = [each for each in spec.evaluation.questions if each.name not in asked]
        waiting = [each for each in waiting if not each.implementation.startswith(OWN)]
        if not waiting or spec.dataset.domain != "images" or time.monotonic() > end:
            continue
        try:
            context = _context(spec)
        except Exception:
            continue  # Of the objective, which is tried for itself, or of images that are too few for a classifier.
        for each in waiting:
            if (answer := _asked(each, context)) is not None:
                asked.add(each.name)
                yield each.name, answer or None


def ask_untrained(question: Question, context: Context) -> list[Score]:
    """The scores of a question, as an evaluation takes them; empty where it cannot be asked.

    Raises:
        Exception: whatever is raised by a question, or by what it returns.
    """
    with argument_checks(True), evaluating(context.model), torch.no_grad():
        if question.reason_not(context.model, context.data) is not None:
            return []
        scores = _answers(question, context)
    json.dumps([score.to_json() for score in scores], allow_nan=False)
    return scores


def context_of(
    model: Objective, data: ConceptDataModule, evaluation: EvaluationSpec, *, batch_size: int = NUM_IMAGES
) -> Context:
    """What a question is asked with, with few queries and samples, and a classifier that has made one step.

    Args:
        model: With any weights.
        data: After ``setup()``.
        evaluation: The settings, which are made small.
        batch_size: Images of the classifier's step.
    """
    needed = [PROTOCOL_RULES[name].num_samples or 1 for name in evaluation.protocols]
    small = evaluation.model_copy(
        update={"num_samples": min(evaluation.num_samples, max(2, *needed)), "query_repeats": 1,
                "num_queries": min(evaluation.num_queries or NUM_QUERIES, NUM_QUERIES)}
    )  # fmt: skip
    judge = evaluation.classifier or classifiers.parse(data.spec.default_classifier())
    assert isinstance(judge, TrainedClassifierSpec)
    classifier = train(judge.model_copy(update={"steps": 1, "batch_size": batch_size}), data)
    references = references_of(data, small, classifier)
    return Context(model, data, classifier, references, small, small.partitions[-1], torch.device("cpu"))


def _context(spec: TrialSpec) -> Context:
    return context_of(spec.build(), MadeUp(spec, NUM_IMAGES), spec.evaluation)


def _asked(spec: QuestionSpec, context: Context) -> str | None:
    """What went wrong, empty if nothing did; None if the model cannot be asked."""
    kind: type | None = None
    try:
        question = build_question(spec)
        kind = type(question)
        if question.reason_not(context.model, context.data) is not None:
            return None
        ask_untrained(question, context)
    except BenchmarkError as error:
        return str(error)
    except Exception as error:
        return told(error, kind)
    return ""
