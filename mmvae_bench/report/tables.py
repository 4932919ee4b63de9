"""Turns the numbers of a run into the rows of a table: means over training seeds, and paired differences."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BenchmarkError
from ..base.multiple_comparisons import told_apart
from ..base.seeds import derive_seed
from ..base.statistics import (
    Difference,
    Interval,
    pair_errors,
    paired_difference,
    seeds_interval,
    seeds_interval_of_means,
    unpaired_errors,
)
from ..metrics.catalogue import metric_info, metric_order
from ..metrics.protocols import PROTOCOL_RULES, ProtocolRule
from ..runs.scores import shares_of_score
from ..specs.components import datasets
from .frames import Frames
from .grouping import Column, Group, Setting

_REPEATS = 2
"""How often each concept is asked, where that is not recorded: ``evaluation.query_repeats`` by default."""
HEADLINE = "paper"
"""The protocol that is shown first, unless the dataset names another."""
MANY_ATTRIBUTES = 5
"""Up to this many attributes, the table by attribute shows every level."""


class SeedScore(NamedTuple):
    """The score of one trial: its training seed, its value with its own interval over queries, what determined its
    queries, the score of each, and how many groups of queries there are at least."""

    seed: int
    value: float
    interval: Interval
    query_settings: str
    per_query: NDArray[np.float64] | None
    groups: NDArray[np.int64] | None
    proposal: str | None
    num_groups: int

    @property
    def arm(self) -> float:
        """How far its interval reaches, the longer way; nan if it is not known."""
        return max(self.value - self.interval[0], self.interval[1] - self.value)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A score of one objective, the mean over its training seeds.

    The interval is one over queries; over training seeds and queries where there are several seeds. ``scores`` has the
    value of each seed.
    """

    value: float
    low: float
    high: float
    ceiling: float
    floor: float
    constant: float = math.nan
    deaf: float = math.nan
    num_seeds: int
    num_queries: int | None
    num_samples: int | None
    seeds: tuple[SeedScore, ...] = field(repr=False, compare=False)

    @property
    def settled(self) -> float:
        """The value without the digits that rounding makes up: two means that are equal are equal here."""
        return float(f"{self.value:.9g}")

    def above(self, reference: float, direction: int) -> bool:
        """Whether the whole interval is better than a reference; also where either is unknown."""
        end = self.low if direction > 0 else self.high
        return not direction * end <= direction * reference

    def shares(self, metric: str) -> dict[str, float]:
        """``share``, ``share_low`` and ``share_high``: how far it has come from its floor to its ceiling."""
        ends = {"value": self.value, "ci_low": self.low, "ci_high": self.high}
        return shares_of_score({"metric": metric, "floor": self.floor, "ceiling": self.ceiling, **ends})


@dataclass(frozen=True, kw_only=True)
class Row:
    """One metric at one level, for every objective.

    Attributes:
        cells: One per column; None if the objective has no such score.
        best: Position of the best cell, the first of those that are as good; None if fewer than two can be ranked.
        differences: Best minus each other column, on the same queries and seeds; None if there is none.
        better: Bool[column, column]: the first is better than the second, told apart over seeds and queries with 5 %
            probability of one false claim in the whole table.
    """

    protocol: str | None
    metric: str
    attribute: str | None
    level: int | None
    cells: tuple[Cell | None, ...]
    best: int | None = None
    differences: tuple[Difference | None, ...] = ()
    better: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), dtype=bool), repr=False, compare=False)

    @property
    def leaders(self) -> frozenset[int]:
        """The best column and those not told apart from it, or from any that is as good.

        None where nothing is told apart from the best, where the best cannot be told from the floor, and with a single
        training seed, which compares runs and not objectives.
        """
        best = None if self.best is None else self.cells[self.best]
        if best is None or not self.better.size:
            return frozenset()
        direction = metric_info(self.metric).direction
        ahead = [
            index
            for index, cell in enumerate(self.cells)
            if cell is not None
            and cell.settled == best.settled
            and self.better[index].any()
            and cell.above(cell.floor, direction)
        ]
        if not ahead:
            return frozenset()
        compared = (index for index, cell in enumerate(self.cells) if cell is not None and cell.num_seeds > 1)
        return frozenset(index for index in compared if not self.better[ahead, index].any())

    def rank(self, index: int) -> tuple[int, int] | None:
        """The best and the worst rank that a column may have, all of the table at once with 95 % confidence.

        One plus the number of columns told to be better, and the number of columns less those told to be worse
        (Mogstad et al. 2024). None where it was not compared.
        """
        compared = [place for place, cell in enumerate(self.cells) if cell is not None and cell.num_seeds > 1]
        if self.best is None or index not in compared or len(compared) < 2:
            return None
        return 1 + int(self.better[:, index].sum()), len(compared) - int(self.better[index].sum())

    def reference(self, name: str) -> tuple[float, float]:
        """The lowest and the highest ``ceiling`` or ``floor`` of the cells; equal if all have the same."""
        values = [getattr(cell, name) for cell in self.cells if cell is not None]
        values = [value for value in values if math.isfinite(value)]
        return (min(values), max(values)) if values else (math.nan, math.nan)


@dataclass(frozen=True, kw_only=True)
class Table:
    """The scores of one setting: a row per question, a column per objective."""

    setting: Setting
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocols with numbers, the headline first."""
        order = partial(_protocol_order, headline=headline_of(self.setting.dataset))
        return tuple(sorted({row.protocol for row in self.rows if row.protocol}, key=order))

    @property
    def headline(self) -> str | None:
        """The protocol of the short table; None if no score belongs to one."""
        return next(iter(self.protocols), None)

    def of(self, protocol: str | None) -> tuple[Row, ...]:
        """The rows of a protocol over all attributes; for the headline also those that belong to no protocol."""
        wanted = {protocol, None} if protocol == self.headline else {protocol}
        return tuple(row for row in self.rows if row.protocol in wanted and not _of_one_attribute(row))

    @property
    def by_attribute(self) -> tuple[Row, ...]:
        """The rows of the headline protocol about one attribute each.

        With many attributes only those of the highest level that each metric has; the others are in
        ``table.csv``.
        """
        rows = [row for row in self.rows if row.protocol in (self.headline, None) and _of_one_attribute(row)]
        if len({row.attribute for row in rows}) <= MANY_ATTRIBUTES:
            return tuple(rows)
        highest: dict[str, int] = {}
        for row in rows:
            highest[row.metric] = max(highest.get(row.metric, 0), row.level or 0)
        return tuple(row for row in rows if (row.level or 0) == highest[row.metric])


def _of_one_attribute(row: Row) -> bool:
    return row.attribute is not None and not metric_info(row.metric).own_rows


_Question = tuple[str | None, str, str | None, int | None]


def table_of(group: Group, frames: Frames) -> Table:
    """The table of a group of trials, with a row for everything that any of them was scored on."""
    attributes: dict[str | None, int] = {None: 0}
    found: dict[_Question, dict[int, list[tuple[int, str, int]]]] = defaultdict(lambda: defaultdict(list))
    for index, column in enumerate(group.columns):
        for trial in column.done:
            seed, queries = int(trial.spec.get("seed", 0)), trial.query_settings
            for row in frames.rows.get(trial.key, ()):
                protocol, partition, metric, attribute, level = frames.questions[row]
                if partition == group.setting.partition and metric != "classifier_accuracy":
                    found[protocol, metric, attribute, level][index].append((seed, queries, row))
                    attributes.setdefault(attribute, len(attributes))
    rows, headline = [], headline_of(group.setting.dataset)
    for question in sorted(found, key=lambda question: _row_order(question, attributes, headline)):
        cells = tuple(_cell(frames, found[question].get(index, ()), question) for index in range(len(group.columns)))
        info = metric_info(question[1])
        best, differences = best_and_differences(cells, direction=info.direction * info.ranked)
        protocol, metric, attribute, level = question
        rows.append(Row(protocol=protocol, metric=metric, attribute=attribute, level=level, cells=cells, best=best,
                        differences=differences))  # fmt: skip
    rows = _told_apart(rows, len(group.columns))
    return Table(setting=group.setting, title=group.title, columns=group.columns, rows=tuple(rows))


def _told_apart(rows: Sequence[Row], num_columns: int) -> list[Row]:
    """The rows with what is told apart in each, all of the table at once."""
    ranked = [row for row in rows if row.best is not None]
    seeds = sorted({each.seed for row in ranked for cell in row.cells if cell is not None for each in cell.seeds})
    scores = np.full((num_columns, len(seeds), len(ranked)), np.nan)
    errors = np.full((num_columns, num_columns, len(ranked), 2), np.nan)
    for place, row in enumerate(ranked):
        direction = metric_info(row.metric).direction
        for column, cell in enumerate(row.cells):
            for each in cell.seeds if cell is not None else ():
                scores[column, seeds.index(each.seed), place] = direction * each.value
        errors[:, :, place] = _query_errors(row)
    by_column = [each[~np.isnan(each).all(1)] for each in scores]
    better = told_apart(by_column, errors, seed=derive_seed("report told apart"))
    found = {id(row): better[:, :, place] for place, row in enumerate(ranked)}
    return [replace(row, better=found[id(row)]) if id(row) in found else row for row in rows]


def _query_errors(row: Row) -> NDArray[np.float64]:
    """Float[column, column, 2]: standard errors over queries, and degrees of freedom; nan where nothing is known.

    From the intervals of the trials where two objectives cannot be paired query by query.
    """
    seeds = [cell.seeds if cell is not None else () for cell in row.cells]
    numbers = [min((each.num_groups for each in cell), default=0) for cell in seeds]
    errors = unpaired_errors([[each.arm for each in cell] for cell in seeds], numbers)
    alike: dict[object, dict[int, list[SeedScore]]] = defaultdict(dict)
    for index, cell in enumerate(row.cells):
        # Seeds without scores per query are left out: the error over queries of fewer seeds is, if anything, larger.
        known = [each for each in cell.seeds if each.per_query is not None] if cell is not None else []
        asked = {_queries_of(each) for each in known}
        if len(asked) == 1:
            alike[asked.pop()][index] = known
    for found in alike.values():
        places, cells = list(found), list(found.values())
        scores = [[each.per_query for each in known if each.per_query is not None] for known in cells]
        errors[np.ix_(places, places)] = pair_errors(scores, groups=cells[0][0].groups)
    return errors


def _queries_of(score: SeedScore) -> tuple[object, ...]:
    """What says that two scores are of the same queries."""
    number = 0 if score.per_query is None else len(score.per_query)
    return score.query_settings, number, None if score.groups is None else score.groups.tobytes()


def headline_of(dataset: str) -> str:
    """The protocol that is shown first for a dataset: what its spec says; the default where it is not installed."""
    try:
        return datasets.get(dataset).headline_protocol if dataset in datasets else HEADLINE
    except BenchmarkError:
        return HEADLINE


def _row_order(question: _Question, attributes: Mapping[str | None, int], headline: str) -> tuple[object, ...]:
    """By protocol, metric, attribute in the order of the schema, and level from full concepts down."""
    protocol, metric, attribute, level = question
    return _protocol_order(protocol, headline), metric_order(metric), attributes[attribute], -(level or 0)


def _protocol_order(name: str | None, headline: str = HEADLINE) -> tuple[int, int, str]:
    """The headline, others about the fixed queries as in the catalogue, what belongs to none, the rest by name."""
    if name is None or name == headline:
        return (0, 0, headline) if name else (2, 0, "")
    rule = protocol_rule(name)
    if rule is None or rule.asks in ("texts", "coherence"):
        return 2, 0, name
    return 1, list(PROTOCOL_RULES).index(rule.name), name


def protocol_rule(name: str) -> ProtocolRule | None:
    """The rule of a protocol; None where its package is not installed or is broken."""
    rules: Any = PROTOCOL_RULES
    try:
        return rules[name] if name in rules else None  # noqa: SIM401 - get() may raise
    except BenchmarkError:
        return None


def _cell(frames: Frames, found: Iterable[tuple[int, str, int]], question: _Question) -> Cell | None:
    """The mean over training seeds; a seed without a number is left out of it."""
    known = [(seed, queries, row) for seed, queries, row in found if math.isfinite(frames.value[row])]
    if not known:
        return None
    rows = [row for _, _, row in known]
    seeds = tuple(
        SeedScore(
            seed, float(frames.value[row]), (float(frames.ci_low[row]), float(frames.ci_high[row])), queries,
            frames.per_query(row), frames.groups(row), frames.proposal[row], _num_groups(frames, row, queries),
        )
        for seed, queries, row in known
    )  # fmt: skip
    low, high = _interval(seeds, fraction=metric_info(question[1]).is_share)
    return Cell(
        value=_mean(frames.value[rows]),
        low=low,
        high=high,
        ceiling=_mean(frames.ceiling[rows]),
        floor=_mean(frames.floor[rows]),
        constant=_mean(frames.constant[rows]),
        deaf=_mean(frames.deaf[rows]),
        num_seeds=len(rows),
        num_queries=_count(frames.num_queries[rows[0]]),
        num_samples=_count(frames.num_samples[rows[0]]),
        seeds=seeds,
    )


def _num_groups(frames: Frames, row: int, query_settings: str) -> int:
    """How many groups of queries a number is over, at least: repeats of one concept are one group."""
    if (groups := frames.groups(row)) is not None:
        return len(np.unique(groups))
    if (values := frames.per_query(row)) is not None:
        return len(values)
    repeats = json.loads(query_settings)[1]
    return max(int(frames.num_queries[row]), 0) // (repeats if isinstance(repeats, int) and repeats > 0 else _REPEATS)


def _interval(seeds: Sequence[SeedScore], *, fraction: bool) -> Interval:
    """Over seeds and queries: from the scores per query where all have them, else from the seeds' own intervals."""
    per_query = [each.per_query for each in seeds if each.per_query is not None]
    if len(per_query) < len(seeds) or len({len(values) for values in per_query}) > 1:
        if len(seeds) == 1:
            return seeds[0].interval
        values = [each.value for each in seeds]
        bounded = fraction and all(0 <= value <= 1 for value in values)
        return seeds_interval_of_means(values, [each.interval for each in seeds], fraction=bounded)
    bounded = fraction and not any(((values < 0) | (values > 1)).any() for values in per_query)
    return seeds_interval(per_query, groups=seeds[0].groups, fraction=bounded)


def _count(number: np.int64) -> int | None:
    return None if number < 0 else int(number)


def _mean(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)].tolist()
    return math.fsum(finite) / len(finite) if finite else math.nan


def best_and_differences(
    cells: Sequence[Cell | None], *, direction: int
) -> tuple[int | None, tuple[Difference | None, ...]]:
    """Finds the best of several objectives and its difference from each of the others.

    Args:
        cells: The score of each objective; None if it has none.
        direction: 1 where higher is better, -1 where lower is, 0 where neither is.

    Returns:
        (position of the best, one difference per objective); None for the best where fewer than two can be ranked,
        and for a difference where there is none: the best's own, and where the two have different queries.
    """
    values = {index: direction * cell.settled for index, cell in enumerate(cells) if cell is not None}
    if direction == 0 or len(values) < 2:
        return None, (None,) * len(cells)
    best = max(values, key=values.__getitem__)
    top = cells[best]
    return best, tuple(
        None if index == best or cell is None or top is None else difference_of(top.seeds, cell.seeds)
        for index, cell in enumerate(cells)
    )


def difference_of(best: Sequence[SeedScore], other: Sequence[SeedScore]) -> Difference | None:
    """Seeds are paired with seeds and queries with queries; None where the two were asked different queries."""
    theirs = {each.seed: each for each in other}
    pairs = [(each, theirs[each.seed]) for each in best if each.seed in theirs]
    arrays = [
        (first.per_query, second.per_query)
        for first, second in pairs
        if first.per_query is not None and second.per_query is not None
        and _queries_of(first) == _queries_of(second)
    ]  # fmt: skip
    if not arrays or len(arrays) != len(pairs) or len({len(first) for first, _ in arrays}) != 1:
        return None
    first, second = zip(*arrays, strict=True)
    difference = paired_difference(first, second, groups=pairs[0][0].groups)
    return difference if math.isfinite(difference.value) else None
