"""Turns the numbers of a run into the rows of a table: means over training seeds, and paired differences."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BenchmarkError
from ..base.seeds import derive_seed
from ..base.statistics import hierarchical_interval, paired_difference
from ..metrics.catalogue import metric_info, metric_order
from ..metrics.protocols import PROTOCOL_RULES, ProtocolRule
from ..runs.scores import shares_of_score
from ..specs.components import datasets
from .frames import Frames
from .grouping import Column, Group, Setting

HEADLINE = "paper"
"""The protocol that is shown first, unless the dataset names another."""
MANY_ATTRIBUTES = 5
"""Up to this many attributes, the table by attribute shows every level."""


class SeedScore(NamedTuple):
    """The score of one trial: its training seed, what determined its queries, and the score of each query."""

    seed: int
    query_settings: str
    per_query: NDArray[np.float64] | None
    groups: NDArray[np.int64] | None
    proposal: str | None


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
    constant: float = math.nan
    deaf: float = math.nan
    num_seeds: int
    num_queries: int | None
    num_samples: int | None
    seeds: tuple[SeedScore, ...] = field(repr=False, compare=False)

    def shares(self, metric: str) -> dict[str, float]:
        """``share``, ``share_low`` and ``share_high``: how far it has come from its floor to its ceiling."""
        ends = {"value": self.value, "ci_low": self.low, "ci_high": self.high}
        return shares_of_score({"metric": metric, "floor": self.floor, "ceiling": self.ceiling, **ends})


@dataclass(frozen=True)
class Difference:
    """The best objective's score minus another's, with a 95 % interval.

    Attributes:
        num_seeds: Training seeds that both have; the difference is the mean over them.
    """

    value: float
    low: float
    high: float
    num_seeds: int

    @property
    def tied(self) -> bool:
        """Whether the interval contains zero: the two are not significantly different on these queries."""
        return self.low <= 0 <= self.high


@dataclass(frozen=True, kw_only=True)
class Row:
    """One metric at one level, for every objective.

    Attributes:
        cells: One per column; None if the objective has no such score.
        best: Position of the best cell; None if fewer than two can be ranked.
        differences: Best minus each other column, on the same queries; None if there is none.
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
        """The best column and those not significantly different from it; none if one cannot be paired with it."""
        others = [index for index, cell in enumerate(self.cells) if cell is not None and index != self.best]
        if self.best is None or any(self.differences[index] is None for index in others):
            return frozenset()
        tied = (index for index, difference in enumerate(self.differences) if difference and difference.tied)
        return frozenset((self.best, *tied))

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
        seed = derive_seed("report differences", question=list(question))
        info = metric_info(question[1])
        best, differences = best_and_differences(cells, direction=info.direction * info.ranked, seed=seed)
        protocol, metric, attribute, level = question
        rows.append(Row(protocol=protocol, metric=metric, attribute=attribute, level=level, cells=cells, best=best,
                        differences=differences))  # fmt: skip
    return Table(setting=group.setting, title=group.title, columns=group.columns, rows=tuple(rows))


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
    return (2, 0, name) if rule is None or rule.asks == "texts" else (1, list(PROTOCOL_RULES).index(rule.name), name)


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
        SeedScore(seed, queries, frames.per_query(row), frames.groups(row), frames.proposal[row])
        for seed, queries, row in known
    )
    low, high = float(frames.ci_low[rows[0]]), float(frames.ci_high[rows[0]])
    per_query = [each.per_query for each in seeds if each.per_query is not None]
    if len(rows) > 1:
        low = high = math.nan
        if len(per_query) == len(rows) and len({len(values) for values in per_query}) == 1:
            seed = derive_seed("report interval", question=list(question))
            low, high = hierarchical_interval(per_query, groups=seeds[0].groups, seed=seed)
    elif per_query and len(per_query[0]) < 2:
        low = high = math.nan  # The bootstrap of a single value has no width, although its uncertainty is unknown.
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


def _count(number: np.int64) -> int | None:
    return None if number < 0 else int(number)


def _mean(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)].tolist()
    return math.fsum(finite) / len(finite) if finite else math.nan


def best_and_differences(
    cells: Sequence[Cell | None], *, direction: int, seed: int
) -> tuple[int | None, tuple[Difference | None, ...]]:
    """Finds the best of several objectives and its difference from each of the others.

    Args:
        cells: The score of each objective; None if it has none.
        direction: 1 where higher is better, -1 where lower is, 0 where neither is.
        seed: Of the resamples.

    Returns:
        (position of the best, one difference per objective); None for the best where fewer than two can be ranked,
        and for a difference where there is none: the best's own, and where the two have different queries.
    """
    values = {index: direction * cell.value for index, cell in enumerate(cells) if cell is not None}
    if direction == 0 or len(values) < 2:
        return None, (None,) * len(cells)
    best = max(values, key=values.__getitem__)
    top = cells[best]
    return best, tuple(
        None if index == best or cell is None or top is None else _difference(top.seeds, cell.seeds, seed)
        for index, cell in enumerate(cells)
    )


def _difference(best: Sequence[SeedScore], other: Sequence[SeedScore], seed: int) -> Difference | None:
    """Seeds are paired with seeds and queries with queries; a resample of queries is shared by the seeds."""
    theirs = {each.seed: each for each in other}
    pairs = [(each, theirs[each.seed]) for each in best if each.seed in theirs]
    arrays = [
        (first.per_query, second.per_query)
        for first, second in pairs
        if first.query_settings == second.query_settings
        and first.per_query is not None and second.per_query is not None
        and first.per_query.shape == second.per_query.shape
    ]  # fmt: skip
    if not arrays or len(arrays) != len(pairs) or len({len(first) for first, _ in arrays}) != 1:
        return None
    groups = pairs[0][0].groups
    if len(arrays) == 1:
        value, low, high = paired_difference(*arrays[0], groups=groups, seed=seed)
    else:
        differences = [first - second for first, second in arrays]
        scored = [float(np.nanmean(each)) for each in differences if not np.isnan(each).all()]
        value = math.fsum(scored) / len(scored) if scored else math.nan
        low, high = hierarchical_interval(differences, groups=groups, seed=seed)
    return Difference(value, low, high, len(arrays)) if math.isfinite(value) else None
