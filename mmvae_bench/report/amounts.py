"""Scores against the number or the share of labels, or the share of missing images, where a run varies it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.axes import Axes

from ..metrics.catalogue import metric_info
from .drawing import INK, Drawn, legend, looks, panels, titled
from .grouping import Setting
from .tables import Cell, Table

ALONE = "classifier on the labels alone"
_ALONE_LOOK: Mapping[str, Any] = {"color": INK, "marker": "x", "linestyle": (0, (2, 2))}


@dataclass(frozen=True)
class Axis:
    """A setting of training that curves are drawn against.

    Attributes:
        key: Its name among a table's training parameters.
        label: What the axis says.
        metrics: What is drawn, a panel each, where there are scores.
        absent: The value of a table without this part of the settings; None: it has no place on the axis.
    """

    key: str
    label: str
    metrics: tuple[str, ...]
    absent: float | None = None

    @property
    def part(self) -> str:
        """The part of the settings that it belongs to, with a dot."""
        return self.key.partition(".")[0] + "."


_WITH_LABELS = ("label_error", "description_accuracy", "correctness")
_WITH_IMAGES = ("correctness", "description_accuracy", "coverage")
AXES = (
    Axis("supervision.labels_per_class", "labels a class", _WITH_LABELS),
    Axis("supervision.fraction", "share with labels", _WITH_LABELS),
    Axis("missing_images.fraction", "share without image", _WITH_IMAGES, absent=0.0),
)
Points = dict[str, list[tuple[float, Cell]]]
"""By the name of a line: its places, with what was scored there."""


def amount_figures(tables: Sequence[Table], colors: Mapping[str, int]) -> dict[int, Drawn]:
    """A figure for each group of tables that differ in nothing but the value of an axis, by the place of its first that
    has one: a table without, at which curves begin, may be in several groups.

    Args:
        tables: All tables of a report.
        colors: Column label to colour number.
    """
    found = {}
    for axis in AXES:
        for places in _groups(tables, axis):
            drawn = _figure({place: tables[place] for place in places}, axis, colors)
            if drawn is not None:
                found[next(place for place in places if _value(tables[place], axis) is not None)] = drawn
    return found


def _groups(tables: Sequence[Table], axis: Axis) -> Iterator[list[int]]:
    """Places of tables with at least two values of the axis, which are otherwise alike."""
    groups: dict[Setting, list[int]] = defaultdict(list)
    for place, table in enumerate(tables):
        if _value(table, axis) is not None:
            rest = tuple(pair for pair in table.setting.training_params if pair[0] != axis.key)
            groups[replace(table.setting, training_params=rest)].append(place)
    if axis.absent is not None:
        for place, table in enumerate(tables):
            if not any(name.startswith(axis.part) for name, _ in table.setting.training_params):
                for setting, places in groups.items():
                    rest = tuple(pair for pair in setting.training_params if not pair[0].startswith(axis.part))
                    if replace(setting, training_params=rest) == table.setting:
                        places.append(place)
    for places in groups.values():
        if len(places) > 1:
            yield sorted(places)


def _value(table: Table, axis: Axis) -> float | None:
    """The place of a table on the axis; None if it has none by its settings."""
    text = dict(table.setting.training_params).get(axis.key)
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _figure(tables: Mapping[int, Table], axis: Axis, colors: Mapping[str, int]) -> Drawn | None:
    shown = {metric: points for metric in axis.metrics if (points := _points(tables, axis, metric))}
    if not shown:
        return None
    first = next(iter(tables.values()))
    look_of: dict[str, Mapping[str, Any]] = {ALONE: _ALONE_LOOK}
    for table in tables.values():
        look_of |= looks(table, colors)
    figure, all_axes = panels(len(shown), 2.5)
    for axes, (metric, points) in zip(all_axes, shown.items(), strict=True):
        _panel(axes, points, look_of)
        titled(axes, f"{metric_info(metric).label}, %")
        axes.set_xlabel(axis.label)
    legend(figure, look_of, dict.fromkeys(name for points in shown.values() for name in points))
    names = ", ".join(metric_info(metric).label for metric in shown)
    return figure, f"{names} against the {axis.label}, {first.title}"


def _points(tables: Mapping[int, Table], axis: Axis, metric: str) -> Points:
    """The lines of a panel, each with at least two places; empty if there is none."""
    lines: Points = defaultdict(list)
    for table in tables.values():
        value = _value(table, axis)
        x = axis.absent if value is None else value
        assert x is not None
        for label, cell in _cells(table, metric):
            lines[label].append((x, cell))
        if metric == "label_error":
            # It is the same beside every objective.
            lines[ALONE] += [(x, cell) for _, cell in _cells(table, "label_error_alone")][:1]
    return {label: sorted(points, key=lambda point: point[0]) for label, points in lines.items() if len(points) > 1}


def _cells(table: Table, metric: str) -> list[tuple[str, Cell]]:
    """Each objective's score at the highest level, by its label."""
    rows = [row for row in table.of(table.headline) if row.metric == metric and row.attribute is None]
    rows = rows or [row for row in table.rows if row.metric == metric and row.attribute is None and not row.protocol]
    if not rows:
        return []
    row = max(rows, key=lambda each: each.level or 0)
    return [(column.label, cell) for column, cell in zip(table.columns, row.cells, strict=True) if cell is not None]


def _panel(axes: Axes, points: Points, look_of: Mapping[str, Mapping[str, Any]]) -> None:
    places = sorted({x for line in points.values() for x, _ in line})
    for label, line in points.items():
        look = look_of[label]
        axes.plot([x for x, _ in line], [100 * cell.value for _, cell in line], linewidth=1.4, markersize=4.5, **look)
        for x, cell in line:
            if math.isfinite(cell.low + cell.high):
                axes.plot([x, x], [100 * cell.low, 100 * cell.high], color=look["color"], linewidth=1.0)
    if places[0] > 0 and places[-1] >= 10 * places[0]:
        axes.set_xscale("log")
    axes.set_xticks(places, [f"{x:g}" for x in places])
    axes.minorticks_off()
    axes.margins(y=0.12)
