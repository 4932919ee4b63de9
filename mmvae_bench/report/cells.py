"""Questions and answers: scores aggregated over training seeds, the objectives side by side."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..base.hashing import derive_seed
from ..base.statistics import hierarchical_interval
from ..metrics.catalogue import metric_info, metric_order
from .differences import Answer, Difference, best_and_differences
from .grouping import Group

PROTOCOLS = ("paper", "official", "corrected")
"""The protocols in their order on the page; the first one heads it."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A score of one objective, the mean over its training seeds.

    The interval is the bootstrap's over queries; over training seeds and then queries where there are several seeds.
    """

    value: float
    low: float
    high: float
    ceiling: float
    floor: float
    num_seeds: int
    num_queries: int | None
    num_samples: int | None
    answers: tuple[Answer, ...] = field(repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One question, put to every objective.

    Attributes:
        cells: One a column; None where the objective has no such score.
        best: Position of the best cell; None where fewer than two can be ranked.
        differences: Best minus each other column, on the same queries; None where there is none.
    """

    protocol: str | None
    metric: str
    attribute: str | None
    level: int | None
    cells: tuple[Cell | None, ...]
    best: int | None = None
    differences: tuple[Difference | None, ...] = ()

    @property
    def leaders(self) -> frozenset[int]:
        """The best column and those that its paired difference does not tell from it; none where one is not paired."""
        others = [index for index, cell in enumerate(self.cells) if cell is not None and index != self.best]
        if self.best is None or any(self.differences[index] is None for index in others):
            return frozenset()
        tied = (index for index, difference in enumerate(self.differences) if difference and difference.tied)
        return frozenset((self.best, *tied))

    def reference(self, name: str) -> tuple[float, float]:
        """The lowest and the highest ``ceiling`` or ``floor`` of the cells; equal where all were asked the same."""
        values = [getattr(cell, name) for cell in self.cells if cell is not None]
        values = [value for value in values if math.isfinite(value)]
        return (min(values), max(values)) if values else (math.nan, math.nan)


_Question = tuple[str | None, str, str | None, int | None]


def rows_of(group: Group) -> tuple[Row, ...]:
    """The rows of a table: every question that any of its trials answered, in the order of the page."""
    attributes: dict[str | None, int] = {None: 0}
    answers: dict[_Question, dict[int, list[Answer]]] = defaultdict(lambda: defaultdict(list))
    for index, column in enumerate(group.columns):
        for trial in column.done:
            for score in trial.scores:
                if score.partition == group.setting.partition and score.metric != "classifier_accuracy":
                    question = (score.protocol, score.metric, score.attribute, score.level)
                    answer = Answer(int(trial.spec.get("seed", 0)), trial.asked, score)
                    answers[question][index].append(answer)
                    attributes.setdefault(score.attribute, len(attributes))
    rows = []
    for question in sorted(answers, key=lambda question: _row_order(question, attributes)):
        cells = tuple(_cell(answers[question].get(index, ()), question) for index in range(len(group.columns)))
        best, differences = best_and_differences(
            [None if cell is None else (cell.value, cell.answers) for cell in cells],
            direction=metric_info(question[1]).direction,
            seed=derive_seed("report differences", question=list(question)),
        )
        protocol, metric, attribute, level = question
        rows.append(Row(protocol=protocol, metric=metric, attribute=attribute, level=level, cells=cells, best=best,
                        differences=differences))  # fmt: skip
    return tuple(rows)


def _row_order(question: _Question, attributes: Mapping[str | None, int]) -> tuple[object, ...]:
    """By protocol, metric, attribute in the order of the schema, and level from full concepts down."""
    protocol, metric, attribute, level = question
    place = PROTOCOLS.index(protocol) if protocol in PROTOCOLS else len(PROTOCOLS)
    return place, protocol or "", metric_order(metric), attributes[attribute], -(level or 0)


def _cell(given: Iterable[Answer], question: _Question) -> Cell | None:
    """The mean over training seeds; a seed without a number is left out of it."""
    answers = tuple(answer for answer in given if math.isfinite(answer.score.value))
    if not answers:
        return None
    scores = [answer.score for answer in answers]
    low, high = scores[0].ci_low, scores[0].ci_high
    if len(scores) == 1 and scores[0].per_query is not None and len(scores[0].per_query) < 2:
        low = high = math.nan  # A bootstrap of one value has no width, which is not what is known about it.
    if len(scores) > 1:
        per_query = [score.per_query for score in scores if score.per_query is not None]
        seed = derive_seed("report interval", question=list(question))
        known = len(per_query) == len(scores) and len({len(values) for values in per_query}) == 1
        low, high = (math.nan, math.nan)
        if known:
            low, high = hierarchical_interval(per_query, groups=scores[0].groups, seed=seed)
    return Cell(
        value=_mean(score.value for score in scores),
        low=low,
        high=high,
        ceiling=_mean(score.ceiling for score in scores),
        floor=_mean(score.floor for score in scores),
        num_seeds=len(scores),
        num_queries=scores[0].num_queries,
        num_samples=scores[0].num_samples,
        answers=answers,
    )


def _mean(values: Iterable[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else math.nan
