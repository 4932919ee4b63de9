"""What is relied on of a question, asked of small models that nobody has trained, on images made in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from ..evaluation.questions import Context, Question, build_question
from ..evaluation.rehearsal import ask_untrained, context_of
from ..metrics.catalogue import MEAN_IMAGES, METRICS
from ..runs.scores import Score
from ..specs.components import QuestionSpec, objectives
from ..specs.trial import EvaluationSpec
from .models import Model

ASKED = ("jmvae", "telbo", "vlvae", "jvae", "vae")
"""Models of these objectives are tried, in this order: a question is asked of the first that can be."""


def _context(question: Question) -> Context:
    import pytest

    reasons = []
    for name in ASKED:
        model = Model.of(objectives.parse(name))
        built = model.build()
        if (reason := question.reason_not(built, model.data)) is None:
            evaluation = EvaluationSpec(protocols=("paper",), num_samples=10, partitions=("val", "test"))
            return context_of(built, model.data, evaluation)
        reasons.append(f"{name}: {reason}")
    raise pytest.skip.Exception("it cannot be asked about the models that there are here: " + "; ".join(reasons))


def gives_the_scores_that_it_names(spec: QuestionSpec) -> None:
    """Numbers of the metrics that its spec names and the catalogue has, each of the partition that is asked about."""
    question = build_question(spec)
    context = _context(question)
    try:
        scores = ask_untrained(question, context)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"what it returns cannot be used: {error}") from error
    assert scores or context.left_out, "it gives no score, and context.left_out does not say why"
    for score in scores:
        metric = score.metric.removesuffix(MEAN_IMAGES)
        assert metric in METRICS, f"the catalogue of metrics has no {metric}: register a MetricInfo of this name"
        assert score.partition == context.partition, f"a score of {score.partition}, asked about {context.partition}"


def gives_the_same_scores_again(spec: QuestionSpec) -> None:
    """Whatever the global generator has drawn before: objectives and reruns are compared by these numbers."""
    question = build_question(spec)
    context, found = _context(question), list[list[Score]]()
    for seed in (0, 1):
        torch.manual_seed(seed)
        found.append(ask_untrained(question, replace(context, drawn={}, left_out={})))
    one, other = ([score.to_json() for score in scores] for scores in found)
    changed = sorted({mine["metric"] for mine, theirs in zip(one, other, strict=False) if mine != theirs})
    assert one == other, f"other scores the second time ({', '.join(changed)}): draw with a generator of the seed"


def leaves_the_model_as_it_is(spec: QuestionSpec) -> None:
    """Its weights, and its mode: others are asked after it."""
    question = build_question(spec)
    context = _context(question)
    context.model.train()
    before = {name: value.clone() for name, value in context.model.state_dict().items()}
    ask_untrained(question, context)
    moved = [name for name, value in context.model.state_dict().items() if not torch.equal(value, before[name])]
    assert not moved, f"it changes the model: {', '.join(moved[:5])}"
    assert context.model.training, "it leaves the model in another mode than it was in"


CHECKS: list[Callable[[Any], None]] = [
    gives_the_scores_that_it_names,
    gives_the_same_scores_again,
    leaves_the_model_as_it_is,
]
