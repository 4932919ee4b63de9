"""The comparison: one object with every number of the report, from which all renderings are made."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ..metrics.catalogue import metric_info
from .cells import PROTOCOLS, Row, rows_of
from .grouping import Column, Group, Setting, group_trials
from .published import PublishedRow, published_note, published_rows
from .trials import RunRecord, TrialRecord

MANY_ATTRIBUTES = 5
"""Attributes up to which the table by attribute shows every level."""


def _of_one_attribute(row: Row) -> bool:
    return row.attribute is not None and not metric_info(row.metric).own_rows


@dataclass(frozen=True, kw_only=True)
class Section:
    """The table of one setting."""

    setting: Setting
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    published: tuple[PublishedRow, ...]
    published_note: str | None

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocols with numbers, the headline first."""
        found = {row.protocol for row in self.rows if row.protocol}
        return tuple(name for name in (*PROTOCOLS, *sorted(found - {*PROTOCOLS})) if name in found)

    @property
    def headline(self) -> str | None:
        """The protocol of the short table; None where no score belongs to one."""
        return next(iter(self.protocols), None)

    def of(self, protocol: str | None) -> tuple[Row, ...]:
        """The rows of a protocol, all attributes together; with those that belong to none where it is the headline."""
        wanted = {protocol, None} if protocol == self.headline else {protocol}
        return tuple(row for row in self.rows if row.protocol in wanted and not _of_one_attribute(row))

    @property
    def by_attribute(self) -> tuple[Row, ...]:
        """The rows of the headline protocol about one attribute each.

        With many attributes only those of the highest level that each metric was asked at; the others are in
        ``table.csv``.
        """
        rows = [row for row in self.rows if row.protocol in (self.headline, None) and _of_one_attribute(row)]
        if len({row.attribute for row in rows}) <= MANY_ATTRIBUTES:
            return tuple(rows)
        highest: dict[str, int] = {}
        for row in rows:
            highest[row.metric] = max(highest.get(row.metric, 0), row.level or 0)
        return tuple(row for row in rows if (row.level or 0) == highest[row.metric])


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that a report says about a run.

    Attributes:
        name: The run folder's name.
        sections: One a setting that has numbers.
        trials: Every trial, in any state.
        unstarted: Trials of the grid that have no folder yet.
        sources: The folders that were merged, with their numbers of trials; empty where it is one run.
    """

    name: str
    sections: tuple[Section, ...]
    trials: tuple[TrialRecord, ...]
    unstarted: int = 0
    sources: tuple[str, ...] = ()

    @property
    def unfinished(self) -> tuple[TrialRecord, ...]:
        """The trials without numbers."""
        return tuple(trial for trial in self.trials if trial.state != "done")

    def frame(self) -> pd.DataFrame:
        """One row a cell, values as fractions."""
        rows = [
            _plain(section, row, index)
            for section in self.sections
            for row in section.rows
            for index, cell in enumerate(row.cells)
            if cell is not None
        ]
        frame = pd.DataFrame(rows, columns=list(FRAME_COLUMNS))
        return frame.astype(dict.fromkeys(("split_seed", "level", "num_seeds", "num_queries", "num_samples"), "Int64"))


FRAME_COLUMNS = (
    "table", "dataset", "source", "split", "split_seed", "backbone", "partition", "protocol", "metric", "attribute",
    "level", "objective", "value", "ci_low", "ci_high", "ceiling", "floor", "num_seeds", "num_queries", "num_samples",
    "leader", "published", "published_std",
)  # fmt: skip


def compare(run: RunRecord) -> Comparison:
    """Aggregates over training seeds and sets the objectives side by side; the trials may be in any state."""
    groups = group_trials(run.trials)
    sections = tuple(_section(group) for group in groups if any(column.done for column in group.columns))
    return Comparison(name=run.name, sections=sections, trials=run.trials, unstarted=run.unstarted, sources=run.sources)


def _section(group: Group) -> Section:
    rows = rows_of(group)
    note = published_note(group.setting)
    published = published_rows(group, rows) if note is None else ()
    return Section(setting=group.setting, title=group.title, columns=group.columns, rows=rows,
                   published=published, published_note=note)  # fmt: skip


def _plain(section: Section, row: Row, index: int) -> dict[str, object]:
    cell, setting = row.cells[index], section.setting
    assert cell is not None
    printed = [item for item in section.published if item.row is row and item.column == index]
    return {
        "table": section.title, "dataset": setting.dataset, "source": setting.source, "split": setting.split,
        "split_seed": setting.split_seed, "backbone": setting.backbone, "partition": setting.partition,
        "protocol": row.protocol, "metric": row.metric, "attribute": row.attribute, "level": row.level,
        "objective": section.columns[index].label, "value": cell.value, "ci_low": cell.low, "ci_high": cell.high,
        "ceiling": cell.ceiling, "floor": cell.floor, "num_seeds": cell.num_seeds, "num_queries": cell.num_queries,
        "num_samples": cell.num_samples, "leader": index in row.leaders,
        "published": printed[0].mean if printed else None, "published_std": printed[0].std if printed else None,
    }  # fmt: skip
