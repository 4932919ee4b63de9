"""The numbers that a trial can have, by the names of :mod:`mmvae_bench.tracking.metrics`, as far as its spec says.

A sweep that optimises any other would train for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ..base.errors import Problem, nearest
from ..metrics.catalogue import MEAN_IMAGES, metric_info
from ..metrics.protocols import PROTOCOL_RULES
from .components import QuestionSpec, questions
from .trial import TrialSpec, trial_label

_ALWAYS: Final = "test"
"""The partition of scores that do not depend on those that are evaluated, such as the classifier's accuracy."""
_QUERIES: Final = "three_cs"
_LEVEL_BY_LEVEL: Final = (_QUERIES, "imputation", "query_statistics")
"""The questions about the fixed queries, whose protocols they share."""
_LIKELIHOOD: Final = "likelihood"
"""What stands for a protocol in the names of likelihoods."""
_WORDS: Final = "words"
"""The question whose scores are about single words of captions, in the place of an attribute."""
_COUNTS: Final = {
    "likelihoods": "likelihood_images", "prior": "prior_images", "reconstruction": "reconstruction_images"
}  # fmt: skip
"""Questions that are asked only where a setting of the evaluation is not 0."""
_TOLD: Final = "reconstruction"
"""The question whose scores a model may have without q(z|x), because it is told y."""
_POSTERIORS: Final = {"q(z|x,y)": "joint", "q(z|x)": "image", "q(z|y)": "concept"}
_LIKELIHOODS: Final = {"p(x|z)": "image", "p(y|z)": "concept"}
"""What a metric needs, and what the spec of an objective calls it."""
_DESCRIBES: Final = (("q(z|x)", "p(y|z)"), ("q(y|x), or q(z|x) and p(y|z)",))
"""What is needed to describe an image; q(y|x) does it too."""
_TRAINING: Final = re.compile(
    r"train/(?P<train>[^/]+)(?:/(?:labelled|unlabelled|with_image|without_image))?/(?:loss|parts/.+)"
    r"|validation/(?P<validation>[^/]+)/(?:elbo|parts/.+)"
)


def metric_problems(name: str, trials: Sequence[TrialSpec], *, of_each: bool = False) -> list[Problem]:
    """What is wrong with the name of the number that a sweep optimises; nothing if one of its trials can have it.

    What a loss is made of is not known before an objective is built: any part of a loss is taken. Which scores it can
    have is known by the distributions that its spec declares, but for some: those are taken too.

    Args:
        name: As in the sweep file.
        trials: Some of the sweep's, with each value of each parameter.
        of_each: Whether each trial has to have it, as where the next one is chosen by it.
    """
    reasons = [(trial, _why_not(trial, name)) for trial in trials]
    without = [(trial, reason) for trial, reason in reasons if reason is not None]
    said = dict.fromkeys(reason for _, reason in without if reason)
    if len(without) < len(reasons):
        if not without or not of_each:
            return []
        common = set.intersection(*({*_names(trial)} for trial in trials))
        known = [each for each in _names(trials[0]) if each in common]
        said = said or dict.fromkeys(f"{trial_label(trial.canonical())} has no such number" for trial, _ in without)
        message = f"the next trial is chosen by what all before it scored, and {'; '.join(said)}"
        return [Problem(message, ("metric", "name"), repr(name)[:120], near=nearest(name, known))]
    if not trials:
        return []
    known = list(dict.fromkeys(each for trial in trials for each in _names(trial)))
    near = nearest(name, known)
    message = "no trial of this sweep has such a number"
    if said:
        message += f": {'; '.join(said)}"
        return [Problem(message, ("metric", "name"), repr(name)[:120], near=near)]
    partitions = dict.fromkeys(each for trial in trials for each in trial.evaluation.partitions)
    first = name.partition("/")[0]
    if first in ("val", "test") and first not in partitions:
        message += f": evaluation.partitions is {', '.join(partitions)}"
    elif first == "curve" and not any(trial.evaluation.curve_points for trial in trials):
        message += ": evaluation.curve_points is 0"
    elif near is None:
        message += f": expected what a trial logs, such as {' or '.join(known[:2])}"
    return [Problem(message, ("metric", "name"), repr(name)[:120], near=near)]


@dataclass(frozen=True)
class _Scores:
    """The scores of a question: one for each partition, protocol, metric and level, and some for each attribute.

    Attributes:
        question: Its spec.
        protocols: None: they belong to none.
        levels: How many attributes a query may specify; empty: queries need not have a level.
    """

    question: QuestionSpec
    partitions: tuple[str, ...]
    protocols: tuple[str | None, ...]
    levels: tuple[int, ...] = ()


def _why_not(trial: TrialSpec, name: str) -> str | None:
    """None if the trial can have a number; else what its objective lacks, empty if its settings do not ask for it."""
    if of_training := _TRAINING.fullmatch(name):
        return None if (of_training["train"] or of_training["validation"]) in trial.objective.stage_names else ""
    lacking = [_lacks(trial, scores, *found) for scores in _scores(trial)
               if (found := _matched(trial, scores, name.split("/"))) is not None]  # fmt: skip
    if not lacking:
        return ""
    return None if "" in lacking else f"{trial.objective.name} has no {lacking[0]}"


def _lacks(trial: TrialSpec, scores: _Scores, metric: str, level: int | None) -> str:
    """What a score needs and the objective has not; empty if there is nothing, or it cannot be told from its spec."""
    objective = trial.objective
    if trial.dataset.domain != "images" or scores.question.name not in questions.built_in():
        return ""
    needs = metric_info(metric).needs
    if needs in _DESCRIBES:
        both = "image" in objective.posteriors and "concept" in objective.likelihoods
        return "" if both or objective.has_describer else "q(y|x), nor both q(z|x) and p(y|z)"
    for need in needs:
        one_of = {*need.split(" or ")}
        if not one_of <= _POSTERIORS.keys() | _LIKELIHOODS.keys() or (need == "p(y|z)" and objective.has_describer):
            continue  # With q(y|x) some scores that need p(y|z) are sums over y.
        if scores.question.name == _TOLD and need == "q(z|x)":
            continue
        if not any(
            _POSTERIORS.get(one) in objective.posteriors or _LIKELIHOODS.get(one) in objective.likelihoods
            for one in one_of
        ):
            return need
    partial = objective.partial_concepts or trial.dataset.chosen_view == "text"
    if scores.question.name == _QUERIES and level not in (None, len(trial.dataset.concept_schema())) and not partial:
        return "q(z|y) of queries that leave attributes open"
    return ""


def _names(trial: TrialSpec) -> Iterator[str]:
    """The names over all attributes, without the parts of losses."""
    for scores in _scores(trial):
        for partition in scores.partitions:
            for protocol in scores.protocols:
                for metric in scores.question.metrics:
                    for level in _levels(trial, scores, metric) or (None,):
                        if _lacks(trial, scores, metric, level):
                            continue
                        parts = partition, protocol, metric, None if level is None else f"level_{level}"
                        yield "/".join(part for part in parts if part is not None)
    for stage in trial.objective.stage_names:
        yield from (f"validation/{stage}/elbo", f"train/{stage}/loss")


def _scores(trial: TrialSpec) -> Iterator[_Scores]:
    """What is known of the scores of a trial, question by question."""
    evaluation, schema = trial.evaluation, trial.dataset.concept_schema()
    chosen = {question.name: question for question in evaluation.questions}
    usual = (questions.get(name) for name in questions.built_in())
    asked = [spec.parse({}) for spec in usual if spec.domain == trial.dataset.domain and not spec.on_request]
    levels = tuple(level for level in evaluation.levels or schema.default_levels if level in trial.dataset.levels())
    if trial.dataset.split == "comp":
        levels = tuple(level for level in levels if level == len(schema))
    everywhere = tuple(dict.fromkeys((*evaluation.partitions, _ALWAYS)))
    for question in (*asked, *chosen.values()):
        if (setting := _COUNTS.get(question.name)) and not getattr(evaluation, setting):
            continue
        by_level = question.name in _LEVEL_BY_LEVEL
        asks = _QUERIES if by_level else question.name
        if question.name in ("likelihoods", "prior"):
            yield _Scores(question, evaluation.partitions, (_LIKELIHOOD,))
        elif asks in {PROTOCOL_RULES.get(name).asks for name in PROTOCOL_RULES.usable()[0]}:
            rules = tuple(name for name in evaluation.protocols if PROTOCOL_RULES.get(name).asks == asks)
            yield _Scores(question, evaluation.partitions, rules, levels if by_level else ())
        else:
            yield _Scores(question, everywhere, (None,))
    if evaluation.curve_points:
        yield _Scores(questions.parse(_QUERIES), ("curve",), (None,), levels)


def _levels(trial: TrialSpec, scores: _Scores, metric: str) -> tuple[int, ...]:
    """The levels of a metric: where everything is specified, nothing is left to cover."""
    covers = metric.startswith("coverage") and trial.dataset.chosen_view != "text"
    return tuple(level for level in scores.levels if not covers or level < len(trial.dataset.concept_schema()))


def _matched(trial: TrialSpec, scores: _Scores, parts: list[str]) -> tuple[str, int | None] | None:
    """(metric, level) if a name, divided at its slashes, may be that of one of the scores."""
    if parts[0] not in scores.partitions:
        return None
    if scores.question.name not in questions.built_in():
        # Of another package: its protocols are its own, and so may be what its scores are about.
        known = not scores.question.metrics or any(metric in parts for metric in scores.question.metrics)
        return ("", None) if known else None
    protocols = [protocol for protocol in scores.protocols if protocol is None or parts[1:2] == [protocol]]
    rest = parts[2:] if protocols and protocols[0] is not None else parts[1:]
    if not protocols or not rest:
        return None
    metric, *rest = rest
    means = MEAN_IMAGES if trial.evaluation.images != "sample" else ""
    if metric not in scores.question.metrics and metric.removesuffix(means) not in scores.question.metrics:
        return None
    given = re.fullmatch(r"level_(\d+)", rest[0]) if rest else None
    level, rest = (int(given[1]), rest[1:]) if given else (None, rest)
    if scores.levels or scores.question.name in _LEVEL_BY_LEVEL:
        if level not in _levels(trial, scores, metric):
            return None
    elif level is not None and level not in range(1, len(trial.dataset.concept_schema()) + 1):
        return None
    free = metric_info(metric).own_rows or scores.question.name == _WORDS
    return (metric, level) if not rest or free or "/".join(rest) in trial.dataset.concept_schema().names else None
