"""The tables as text cells: what the terminal, Markdown, LaTeX and HTML all print, each in its own dress."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from ..metrics.catalogue import metric_info
from .cells import Row
from .style import DASH, number, with_bounds, with_interval
from .table import Comparison, Section
from .trials import STATES


@dataclass(frozen=True)
class TextCell:
    """What stands in a cell.

    Attributes:
        leader: Whether it is the best of its row, or not told from it.
        exact: Both ends of the interval, for where there is room.
    """

    text: str
    leader: bool = False
    exact: str = ""


@dataclass(frozen=True)
class TextRow:
    """A row: what was asked, at which level, the cells, and the references."""

    label: str
    level: str
    cells: tuple[TextCell, ...]
    ceiling: str
    floor: str
    title: str


@dataclass(frozen=True)
class DifferenceRow:
    """The best objective of a row against one other."""

    label: str
    level: str
    best: str
    other: str
    difference: str
    told: bool


@dataclass(frozen=True)
class PublishedText:
    """A printed number beside ours."""

    label: str
    level: str
    objective: str
    ours: str
    published: str
    difference: str


def text_rows(section: Section, protocol: str | None, *, headline_only: bool = False) -> list[TextRow]:
    """The rows of one protocol; ``headline_only`` leaves out those that do not belong into a short table."""
    rows = [row for row in section.of(protocol) if metric_info(row.metric).headline or not headline_only]
    return [text_row(row) for row in rows]


def text_row(row: Row) -> TextRow:
    """One row as text."""
    style = metric_info(row.metric)
    leaders = row.leaders
    cells = []
    for index, cell in enumerate(row.cells):
        if cell is None:
            cells.append(TextCell(DASH))
        else:
            ends = f"{number(cell.low, style.unit)} to {number(cell.high, style.unit)}"
            text = with_interval(cell.value, cell.low, cell.high, style.unit)
            cells.append(TextCell(text, index in leaders, ends if math.isfinite(cell.low + cell.high) else ""))
    return TextRow(
        label=_label(row),
        level=level_text(row.level),
        cells=tuple(cells),
        ceiling=_range(row.reference("ceiling"), style.unit),
        floor=_range(row.reference("floor"), style.unit),
        title=_asked(row),
    )


def difference_rows(section: Section, protocol: str | None) -> list[DifferenceRow]:
    """Best minus each other objective, row by row."""
    found = []
    for row in section.of(protocol):
        unit = metric_info(row.metric).unit
        for index, difference in enumerate(row.differences):
            if difference is not None and row.best is not None:
                found.append(
                    DifferenceRow(
                        label=_label(row),
                        level=level_text(row.level),
                        best=section.columns[row.best].label,
                        other=section.columns[index].label,
                        difference=with_bounds(difference.value, difference.low, difference.high, unit),
                        told=not difference.tied,
                    )
                )
    return found


def published_texts(section: Section) -> list[PublishedText]:
    """Ours, theirs and the difference."""
    found = []
    for item in section.published:
        cell = item.row.cells[item.column]
        assert cell is not None
        found.append(
            PublishedText(
                label=_label(item.row),
                level=level_text(item.row.level),
                objective=section.columns[item.column].label,
                ours=with_interval(cell.value, cell.low, cell.high),
                published=with_interval(item.mean, item.mean - item.std, item.mean + item.std),
                difference=with_bounds(item.difference, item.low, item.high),
            )
        )
    return found


def level_text(level: int | None) -> str:
    """Number of specified attributes; empty where there is none."""
    return "" if level is None else str(level)


def seeds_text(section: Section, index: int) -> str:
    """Seeds of a column that have numbers, such as ``n=2``, or ``n=1 of 2``; empty where no column has several."""
    counts = [(len(column.done), len(column.trials)) for column in section.columns]
    done, total = counts[index]
    if max(number for _, number in counts) == 1 and done == total:
        return ""
    return f"n={done}" if done == total else f"n={done} of {total}"


def columns_differ_in_steps(section: Section) -> bool:
    """Whether the objectives had different budgets, so that each column must say its own."""
    return len({column.steps for column in section.columns}) > 1


def _label(row: Row) -> str:
    style = metric_info(row.metric)
    label = style.label + (" ↓" if style.direction < 0 else "") + ("" if style.unit == "%" else f", {style.unit}")
    return label if row.attribute is None else f"{label}, {row.attribute}"


def explain_missing(comparison: Comparison) -> list[str]:
    """One line a trial without numbers: what it is, where it stands, and why."""
    lines = []
    for trial in comparison.unfinished:
        status = trial.status
        at = f" at step {status.step:,} of {status.steps:,}" if status.steps else ""
        reason = f": {trial.problem.splitlines()[0]}" if trial.problem else ""
        lines.append(f"{trial.key} {trial.label}: {trial.state}{at}{reason}")
    if comparison.unstarted:
        one = comparison.unstarted == 1
        lines.append(f"{comparison.unstarted} further trial{'' if one else 's'} of the grid: not started")
    return lines


def count_states(comparison: Comparison) -> str:
    """Such as ``6 of 8 trials done, 1 failed, 1 pending``."""
    counts = Counter(trial.state for trial in comparison.trials)
    others = [f"{counts[state]} {state}" for state in STATES if state != "done" and counts[state]]
    total = len(comparison.trials)
    return ", ".join([f"{counts['done']} of {total} trial{'s' if total > 1 else ''} done", *others])


def caption(section: Section, protocol: str | None) -> str:
    """What a table shows, in one line."""
    rows = (row for row in section.of(protocol) if row.level is not None and not metric_info(row.metric).own_rows)
    asked = dict.fromkeys(map(_asked, rows))
    # Where levels were asked different numbers of queries, no one number stands for all.
    detail = f" (a level: {next(iter(asked))})" if len(asked) == 1 and "" not in asked else ""
    return f"{section.setting.partition}, protocol {protocol}{detail}" if protocol else section.setting.partition


def setting_lines(section: Section) -> list[tuple[str, str]]:
    """The setting in words: (what, its parameters)."""
    setting = section.setting
    seed = "" if setting.split_seed is None else f", split_seed {setting.split_seed}"
    steps = ", ".join(dict.fromkeys(f"{column.steps} steps" for column in section.columns))
    return [
        ("dataset", _words(setting.dataset, (("source", setting.source), *setting.dataset_params))),
        ("split", f"{setting.split}{seed}; scored on {setting.partition}"),
        ("backbone", _words(setting.backbone, setting.backbone_params)),
        ("training", _words(steps, setting.training_params)),
        *((column.label, _pairs(column.params)) for column in section.columns),
    ]


def _words(name: str, params: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(filter(None, [name, _pairs(params)]))


def _pairs(params: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(f"{key} {value}" for key, value in params)


def _range(ends: tuple[float, float], unit: str) -> str:
    low, high = number(ends[0], unit), number(ends[1], unit)
    return low if low == high else f"{low} to {high}"


def _asked(row: Row) -> str:
    """How many queries and samples are behind the numbers of a row."""
    cell = next((cell for cell in row.cells if cell is not None), None)
    if cell is None or cell.num_queries is None:
        return ""
    samples = f", {cell.num_samples:,} samples each" if cell.num_samples else ""
    return f"{cell.num_queries:,} quer{'y' if cell.num_queries == 1 else 'ies'}{samples}"
