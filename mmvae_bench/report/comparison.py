"""The comparison: one object with everything that a report says. It is computed once; the renderers only print it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from .aggregate import AggregateTable, aggregate_tables
from .drawing import NUM_COLORS
from .figures import draw_amounts, draw_figures
from .frames import Frames, RunRecord
from .grouping import Group, group_trials
from .notes import (
    Judge,
    Progress,
    count_states,
    explain_metrics,
    explain_missing,
    explain_protocols,
    judges,
    progress,
    provenance,
    warnings,
)
from .pairs import PairRow, pair_rows
from .published import PublishedRow, published_note, published_rows
from .selection import Candidate, candidates
from .tables import Table, table_of
from .trials import TrialRecord


@dataclass(frozen=True, kw_only=True)
class Section(Table):
    """The table of one setting, and everything that the report says about it.

    Attributes:
        published: Published numbers next to ours.
        published_note: Why there are no published numbers; None if there are some.
        aggregate: The tables of aggregate posteriors.
        selection: The settings among which the validation partition chooses.
        judges: The classifiers behind the scores.
        progress: One line per finished trial.
        warnings: What makes the numbers hard to compare or to trust.
        pairs: Every two objectives, score by score.
    """

    published: tuple[PublishedRow, ...]
    published_note: str | None
    aggregate: tuple[AggregateTable, ...]
    selection: tuple[Candidate, ...] = ()
    judges: tuple[Judge, ...]
    progress: tuple[Progress, ...]
    warnings: tuple[str, ...]
    pairs: tuple[PairRow, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that a report says about a run.

    Attributes:
        name: The run folder's name.
        summary: What its grid says of it; empty where it says nothing.
        directory: The run's folder, or that of a merged report.
        sections: One per setting that has numbers.
        trials: Every trial, in any state.
        unstarted: Trials of the grid that have no folder yet.
        sources: The folders that were merged, with their numbers of trials; empty for a single run.
        states: How many trials are in which state, in words.
        missing: One line per trial without numbers.
        judges: The classifiers behind all scores.
        metrics: Label and explanation of each metric.
        protocols: Name and explanation of each protocol.
        provenance: How the numbers were made: code, versions and machine.
    """

    name: str
    summary: str
    directory: Path
    sections: tuple[Section, ...]
    trials: tuple[TrialRecord, ...]
    unstarted: int
    sources: tuple[str, ...]
    states: str
    missing: tuple[str, ...]
    judges: tuple[Judge, ...]
    metrics: tuple[tuple[str, str], ...]
    protocols: tuple[tuple[str, str], ...]
    provenance: tuple[tuple[str, str], ...]

    @property
    def unfinished(self) -> tuple[TrialRecord, ...]:
        """The trials without numbers."""
        return tuple(trial for trial in self.trials if trial.state != "done")

    @cached_property
    def colors(self) -> Mapping[str, int]:
        """The colour number of each column label."""
        labels = dict.fromkeys(column.label for section in self.sections for column in section.columns)
        return {label: index % NUM_COLORS for index, label in enumerate(labels)}

    @cached_property
    def figures(self) -> tuple[Mapping[str, str], ...]:
        """The figures of each section as SVG, by their kind; drawn once, when they are first needed."""
        amounts = {place: {"amounts": svg} for place, svg in draw_amounts(self.sections, self.colors).items()}
        return tuple(
            draw_figures(section, self.colors) | amounts.get(place, {}) for place, section in enumerate(self.sections)
        )

    def frame(self) -> pd.DataFrame:
        """One row per cell, values as fractions."""
        rows = [row for section in self.sections for row in _plain_rows(section)]
        frame = pd.DataFrame(rows, columns=list(FRAME_COLUMNS))
        return frame.astype(dict.fromkeys(_WHOLE_NUMBERS, "Int64"))


FRAME_COLUMNS = (
    "table", "dataset", "source", "split", "split_seed", "backbone", "partition", "protocol", "metric", "attribute",
    "level", "objective", "value", "ci_low", "ci_high", "ceiling", "floor", "num_seeds", "num_queries", "num_samples",
    "leader", "published", "published_std", "constant", "deaf", "share", "share_low", "share_high", "rank_low",
    "rank_high", "steps",
)  # fmt: skip
"""The columns of table.csv and leaderboard.csv; new ones go to the end. steps: ``num_steps`` of a column."""


_WHOLE_NUMBERS = ("split_seed", "level", "num_seeds", "num_queries", "num_samples", "rank_low", "rank_high", "steps")


def compare(run: RunRecord) -> Comparison:
    """Aggregates over training seeds and compares the objectives; the trials may be in any state."""
    groups = group_trials(run.trials)
    sections = [_section(group, run.frames) for group in groups if any(column.done for column in group.columns)]
    done = [trial for trial in run.trials if trial.state == "done"]
    return Comparison(
        name=run.name,
        summary=run.summary,
        directory=run.directory,
        sections=tuple(replace(section, selection=tuple(candidates(section, sections))) for section in sections),
        trials=run.trials,
        unstarted=run.unstarted,
        sources=run.sources,
        states=count_states(run.trials),
        missing=tuple(explain_missing(run.trials, run.unstarted)),
        judges=tuple(judges(done, run.frames)),
        metrics=tuple(explain_metrics({row.metric for section in sections for row in section.rows})),
        protocols=tuple(explain_protocols({name for section in sections for name in section.protocols})),
        provenance=tuple(provenance(done)),
    )


def _section(group: Group, frames: Frames) -> Section:
    table = table_of(group, frames)
    lines = progress(table)
    found = judges([line.trial for line in lines], frames)
    note = published_note(table)
    return Section(
        **{field.name: getattr(table, field.name) for field in fields(table)},
        published=published_rows(table) if note is None else (),
        published_note=note,
        aggregate=tuple(aggregate_tables(table)),
        judges=tuple(found),
        progress=tuple(lines),
        warnings=tuple(warnings(table, found, lines)),
        pairs=pair_rows(table),
    )


def _plain_rows(section: Section) -> list[dict[str, object]]:
    setting = section.setting
    printed = {(id(item.row), item.column): item for item in section.published}
    rows: list[dict[str, object]] = []
    for row in section.rows:
        leaders = row.leaders
        for index, (column, cell) in enumerate(zip(section.columns, row.cells, strict=True)):
            if cell is not None:
                theirs = printed.get((id(row), index))
                ranks = row.rank(index) or (None, None)
                rows.append({
                    "table": section.title, "dataset": setting.dataset, "source": setting.source,
                    "split": setting.split, "split_seed": setting.split_seed, "backbone": setting.backbone,
                    "partition": setting.partition, "protocol": row.protocol, "metric": row.metric,
                    "attribute": row.attribute, "level": row.level, "objective": column.label, "value": cell.value,
                    "ci_low": cell.low, "ci_high": cell.high, "ceiling": cell.ceiling, "floor": cell.floor,
                    "num_seeds": cell.num_seeds, "num_queries": cell.num_queries, "num_samples": cell.num_samples,
                    "leader": index in leaders, "published": theirs.mean if theirs else None,
                    "published_std": theirs.std if theirs else None, "constant": cell.constant, "deaf": cell.deaf,
                    **cell.shares(row.metric), "rank_low": ranks[0], "rank_high": ranks[1],
                    "steps": column.num_steps,
                })  # fmt: skip
    return rows
