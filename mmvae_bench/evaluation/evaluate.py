"""The whole evaluation of a trained objective: the same questions for all, and the scores of the answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..data.base import ConceptDataModule
from ..metrics.protocols import PROTOCOL_RULES
from ..objectives.base import Objective
from ..runs.scores import Score
from ..specs.components import classifiers
from ..specs.trial import EvaluationSpec
from .classifier import ObservationClassifier
from .classifier_training import Progress, observation_classifier
from .likelihood import likelihood_scores
from .named import named_query_scores
from .queries import Queries, fixed_queries, named_queries
from .real_images import classifier_scores, description_scores, elbo_score
from .references import TrainingConcepts
from .sampling import predictions_of
from .scoring import Intervals, Judge, num_unmatched
from .texts import prior_scores, text_scores
from .watched import real_frequency_scores, watched_scores


@dataclass(frozen=True)
class Evaluation:
    """What a trained model scored.

    Attributes:
        scores: Every number with its interval and references.
        classifier: The judge.
        unmatched: Queries that no held-out real image satisfies, by ``partition/level``: left out of the ceiling of
            correctness, not of correctness itself.
        left_out: Likelihoods and comparisons that were asked and that the objective's mathematics does not give, with
            the reason.
    """

    scores: list[Score]
    classifier: ObservationClassifier
    unmatched: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def evaluate(
    model: Objective,
    data: ConceptDataModule,
    evaluation: EvaluationSpec,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Evaluation:
    """Asks a trained model everything that its mathematics can answer.

    Images are drawn once for each query and shared by the protocols. A model without q(z|y) has no 3 C's, one without
    q(z|x) no description accuracy, and one that takes full concepts only is asked at the highest level only.
    Likelihoods and images from the prior are asked where the evaluation wants any, each where the model has it.
    The queries and the attributes that a dataset names (``named_queries``, ``watched_attributes``) have scores of their
    own.

    Args:
        model: Moved to ``device`` and left there; its mode is as it was.
        data: After ``setup()``; the trial's own, whose training partition gives the references.
        evaluation: What to ask.
        device: Where networks run.
        progress: Called with ``"classifier"``, ``"imagine"``, ``"likelihood"`` or ``"prior"``, how much of it is
            done and in all.
    """
    device = torch.device(device)
    model.to(device)
    intervals = Intervals(evaluation.num_resamples, evaluation.seed)

    def ask(queries: Queries) -> Tensor:
        return predictions_of(
            model, classifier, data, queries,
            num_samples=evaluation.num_samples, seed=evaluation.seed, progress=progress,
        )  # fmt: skip

    with validated_distributions():
        classifier = judge_of(data, evaluation, device=device, progress=progress)
        training = TrainingConcepts(data.concepts("train"), sizes=data.schema.sizes)
        judge = Judge(data.schema, data.spec.split, training, classifier.held_out, intervals)
        watched = data.spec.watched_attributes
        scores: list[Score] = []
        unmatched: dict[str, int] = {}
        left_out: dict[str, str] = {}
        rules = [PROTOCOL_RULES[protocol] for protocol in evaluation.protocols]
        for partition in evaluation.partitions:
            asked = []
            for queries in answerable(model, fixed_queries(data, evaluation, partition)):
                predictions = ask(queries)
                asked.append((queries, predictions))
                for rule in rules:
                    if rule.asks == "queries":
                        scores += judge.scores(rule, queries, predictions)
                unmatched[f"{partition}/{queries.level}"] = num_unmatched(classifier.held_out, queries.concepts)
            scores += watched_scores(judge, watched, asked, num_samples=evaluation.num_samples)
            for queries in answerable(model, named_queries(data, evaluation, partition)):
                scores += named_query_scores(judge, queries, ask(queries))
            if model.can_imagine and any(rule.asks == "texts" for rule in rules):
                scores += text_scores(
                    model, classifier, data, judge, partition, seed=evaluation.seed, progress=progress
                )
            if model.can_describe:
                scores += description_scores(model, data, partition, intervals, device=device)
            scores.append(elbo_score(model, data, partition, intervals, device=device))
            if evaluation.likelihood_images:
                bounded = likelihood_scores(
                    model, data, evaluation, partition, intervals, device=device, progress=progress
                )
                scores += bounded.scores
                left_out |= bounded.left_out
            if evaluation.prior_images:
                found, reasons = prior_scores(
                    model, classifier, data, judge, partition, num_images=evaluation.prior_images,
                    seed=evaluation.seed, device=device, progress=progress,
                )  # fmt: skip
                scores += found
                left_out |= reasons
        scores += classifier_scores(classifier, data, intervals)
        scores += real_frequency_scores(judge, watched)
    return Evaluation(scores, classifier, unmatched, left_out)


def judge_of(
    data: ConceptDataModule,
    evaluation: EvaluationSpec,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> ObservationClassifier:
    """The observation classifier that an evaluation names, or the dataset's own; trained where it is not cached."""
    spec = evaluation.classifier or classifiers.parse(data.spec.default_classifier())
    return observation_classifier(spec, data, device=device, progress=progress)


@contextmanager
def validated_distributions() -> Iterator[None]:
    """torch Distributions check their arguments inside the block, which a training step cannot afford."""
    # There is no public way to read the setting.
    before = Distribution._validate_args
    Distribution.set_default_validate_args(True)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)


def answerable(model: Objective, queries: list[Queries]) -> list[Queries]:
    """Those of the queries that the model's mathematics can answer."""
    if not model.can_imagine:
        return []
    return [each for each in queries if model.takes_partial_concepts or each.level == len(model.schema)]
