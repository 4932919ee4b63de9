"""A table turned for readers who look for an objective: objectives are rows, best first, and scores are columns.

Every number comes from the :class:`~mmvae_bench.report.tables.Table`; here it is only laid out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from ..metrics.catalogue import metric_info
from .tables import Cell, Row, Table
from .text import (
    DASH,
    column_head,
    columns_differ_in_steps,
    half_width,
    minus,
    number,
    row_label,
    seeds_text,
    text_row,
    with_interval,
)

_SHOWN_LEADERS = 4


def headline_rows(table: Table) -> list[Row]:
    """The scores that lead: those of the short table under the first protocol; all of them if it has none."""
    rows = list(table.of(table.headline))
    return [row for row in rows if metric_info(row.metric).headline] or rows


def first_score(rows: Iterable[Row]) -> Row | None:
    """The score by which objectives are ordered: the first that ranks two of them, else the first that may rank; None
    if no objective has one."""
    ranked = [row for row in rows if _direction(row) and any(cell is not None for cell in row.cells)]
    return next((row for row in ranked if row.best is not None), next(iter(ranked), None))


def order(table: Table, by: Row | None) -> list[int]:
    """The columns of a table, best first, those of one value as the table has them; those without this score after
    them, those without any trial done last."""

    def place(index: int) -> tuple[bool, bool, float]:
        cell = None if by is None else by.cells[index]
        value = 0.0 if by is None or cell is None else -_direction(by) * cell.settled
        return not table.columns[index].done, cell is None, value

    return sorted(range(len(table.columns)), key=place)


def board(
    table: Table, rows: Sequence[Row], columns: Sequence[int], *, title: str, caption: str, by: Row | None = None
) -> dict[str, Any]:
    """What the template ``board.html`` shows.

    Args:
        table: The table.
        rows: Those of its rows that become columns.
        columns: Its columns, in the order in which they become rows.
        title: For those who cannot see it.
        caption: Above it.
        by: The score that orders them: then cells have bars and ranks, which further tables leave out to stay small.
    """
    groups = [(label, len(list(same))) for label, same in groupby(map(row_label, rows))]
    texts = [text_row(row) for row in rows]
    lines: list[dict[str, Any]] = [
        {
            "label": table.columns[index].label,
            "head": column_head(table, index),
            "notes": list(_notes(table, index)),
            "cells": [_cell(row, index, full=by is not None) for row in rows],
        }
        for index in columns
    ]
    return {
        "title": title,
        "caption": caption,
        "groups": [{"label": label, "count": count} for label, count in groups],
        "starts": {sum(count for _, count in groups[:place]) for place in range(len(groups))},
        "scores": [
            {"name": _level(row), "level": text.level, "title": text.title, "direction": _direction(row)}
            for row, text in zip(rows, texts, strict=True)
        ],
        "sorted": next((place for place, row in enumerate(rows) if row is by), -1),
        "rows": lines,
        "has_ranks": any(cell is not None and cell["rank"] for line in lines for cell in line["cells"]),
        "references": [
            (name, [getattr(text, name) for text in texts])
            for name in ("ceiling", "floor")
        ],
    }  # fmt: skip


def leading(table: Table, row: Row) -> str:
    """Who leads a score, in words."""
    if row.leaders:
        names = [
            table.columns[index].label for index in sorted(row.leaders, key=lambda index: (index != row.best, index))
        ]
        more = f" and {len(names) - _SHOWN_LEADERS} more" if len(names) > _SHOWN_LEADERS else ""
        return ", ".join(names[:_SHOWN_LEADERS]) + more
    if row.best is None:
        only = [table.columns[index].label for index, cell in enumerate(row.cells) if cell is not None]
        return f"{only[0]}, alone" if only else ""
    label, best = table.columns[row.best].label, row.cells[row.best]
    cells = [cell for cell in row.cells if cell is not None]
    if best is None or all(cell.settled == best.settled for cell in cells):
        return "nobody leads: all have the same mean"
    if best.num_seeds > 1:
        return f"nobody leads; best mean: {label}"
    if any(cell.num_seeds > 1 for cell in cells):
        return f"nobody leads; best mean: {label}, from a single run"
    return f"{label}, in single runs"


def in_short(table: Table, row: Row) -> str:
    """A score in a sentence: who leads, or has the best mean, how good it is, and how many may be as good."""
    known = {place: cell for place, cell in enumerate(row.cells) if cell is not None}
    leaders, direction = row.leaders, metric_info(row.metric).direction
    # The best may be a single run, which is not compared, beside one with the same mean that leads.
    shown = max(leaders or known, key=lambda place: (direction * known[place].settled, -place))
    cell = known[shown]
    way = share_text(cell, row.metric)
    way = "" if way == DASH else f", {minus(way)} % of the way from floor to ceiling"
    rest = _beside(row, leaders, tuple(known.values()))
    return f"{table.columns[shown].label}: {_said(row, cell)}{way}; {rest}."


def _said(row: Row, cell: Cell) -> str:
    """What a score is, in words, with its unit and which way is better where that is not up."""
    info = metric_info(row.metric)
    name = info.label if row.attribute is None else f"{info.label}, {row.attribute}"
    if info.unit not in ("%", *info.label.replace(",", "").split()):
        name += f" ({info.unit})"
    level = "" if row.level is None else f" at level {row.level}"
    text = minus(with_interval(cell.value, cell.low, cell.high, info.unit)) + (" %" if info.unit == "%" else "")
    return f"{name}{level} is {text}{' (lower is better)' if info.direction < 0 else ''}"


def _beside(row: Row, leaders: Collection[int], cells: Collection[Cell]) -> str:
    """How the first of a score stands beside the others, as far as they can be compared."""
    best = None if row.best is None else row.cells[row.best]
    if best is None:
        return "nobody to compare it with"
    if leaders:
        others, single = len(leaders) - 1, any(cell.num_seeds == 1 for cell in cells)
        if not others:
            return "none of those compared is as good" if single else "nobody else is as good"
        among = " of those compared" if single else ""
        return f"one other{among} may be as good" if others == 1 else f"{others} others{among} may be as good"
    if all(cell.settled == best.settled for cell in cells):
        return "all have the same mean"
    if best.num_seeds > 1:
        return "the best mean, but nobody leads for certain"
    if any(cell.num_seeds > 1 for cell in cells):
        return "the best mean, but from a single run"
    return "the best of single runs, not of objectives"


def standing(row: Row | None, index: int) -> str:
    """What a column may be called for the score that orders a table: the best where it alone leads, the best mean where
    it has that; nothing where others are better, or where there is nobody to be better than."""
    best = None if row is None or row.best is None else row.cells[row.best]
    if row is None or best is None:
        return ""
    means = [None if cell is None else cell.settled for cell in row.cells]
    if means[index] != best.settled or len(set(means) - {None}) < 2:
        return ""
    return "the best" if row.leaders == {index} else "the best mean"


def share_text(cell: Cell | None, metric: str) -> str:
    """The share of the way from floor to ceiling, in percent with its sign; a dash if there is none."""
    return number(math.nan if cell is None else cell.shares(metric)["share"])


def _level(row: Row) -> str:
    return "score" if row.level is None else f"level {row.level}"


def _direction(row: Row) -> int:
    info = metric_info(row.metric)
    return info.direction * info.ranked


def _notes(table: Table, index: int) -> Iterator[str]:
    column = table.columns[index]
    if seeds := seeds_text(table, index):
        yield seeds
    if columns_differ_in_steps(table):
        yield f"{column.total_steps} steps"
    states = Counter(trial.state for trial in column.trials if trial.state != "done")
    yield from (f"{count} {state}" for state, count in states.items())


def _cell(row: Row, index: int, *, full: bool) -> dict[str, Any] | None:
    cell = row.cells[index]
    if cell is None:
        return None
    unit = metric_info(row.metric).unit
    arm = number(half_width(cell.value, cell.low, cell.high), unit)
    ends = [number(end, unit) for end in (cell.low, cell.high)]
    shares = cell.shares(row.metric) if full else {}
    share, low, high = (shares.get(name, math.nan) for name in ("share", "share_low", "share_high"))
    ranks = row.rank(index) if full else None
    known = math.isfinite(share)
    return {
        "value": number(cell.value, unit),
        "exact": f"{cell.value:.6g}",
        "arm": arm if math.isfinite(cell.low + cell.high) else "",
        "title": f"{ends[0]} to {ends[1]}" if math.isfinite(cell.low + cell.high) else "",
        "leader": index in row.leaders,
        "share": number(share) if known else None,
        "width": f"{100 * _inside(share):.1f}" if known else None,
        "span": _span(low, high) if known and math.isfinite(low + high) else None,
        "rank": "" if ranks is None else "–".join(dict.fromkeys(map(str, ranks))),
    }


def _span(low: float, high: float) -> tuple[str, str]:
    """Start and width of an interval on the bar, in percent."""
    start, end = _inside(low), _inside(high)
    return f"{100 * start:.1f}", f"{100 * (end - start):.1f}"


def _inside(share: float) -> float:
    return min(max(share, 0.0), 1.0)
