"""Coverage against correctness: an objective that is always right may always say the same."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..metrics.catalogue import metric_info
from .drawing import INK, PANELS, RULE, SMALL, Drawn, legend, looks, panels, point, titled
from .tables import Cell, Row, Table

MOST_PANELS = 6


def scatter_figure(table: Table, colors: Mapping[str, int]) -> Drawn | None:
    """A panel per level at which both are scored, a point per objective with both intervals; None if there is none.

    Args:
        table: What to draw.
        colors: Column label to colour number.
    """
    rows = {(row.metric, row.level): row for row in table.of(table.headline) if row.level}
    pairs = [(row, rows["coverage", level]) for (metric, level), row in rows.items()
             if metric == "correctness" and ("coverage", level) in rows]  # fmt: skip
    pairs = [pair for pair in pairs if any(_both(*pair, place) for place in range(len(table.columns)))][:MOST_PANELS]
    if not pairs:
        return None
    figure, all_axes = panels(len(pairs), 2.8)
    look_of, named = looks(table, colors), list[str]()
    for position, (axes, (correct, covered)) in enumerate(zip(all_axes, pairs, strict=True)):
        for row, line in ((correct, axes.axvline), (covered, axes.axhline)):
            for name in ("floor", "ceiling"):
                low, high = row.reference(name)
                if math.isfinite(low):
                    line(50 * (low + high), color=INK, linewidth=0.8, linestyle=(0, (2, 2)), alpha=0.6)
        for place, column in enumerate(table.columns):
            found = _both(correct, covered, place)
            if found is None:
                continue
            point(axes, *found, look_of[column.label])
            named.append(column.label)
        axes.grid(axis="x", color=RULE, linewidth=0.7)
        axes.margins(0.1)
        titled(axes, f"level {correct.level}")
        axes.set_xlabel(f"{metric_info('correctness').label}, %")
        if position % PANELS == 0:
            axes.set_ylabel(f"{metric_info('coverage').label}, %", fontsize=SMALL, color=INK)
    legend(figure, look_of, named, lines=False)
    return figure, f"Coverage against correctness, {table.title}"


def _both(correct: Row, covered: Row, place: int) -> tuple[Cell, Cell] | None:
    first, second = correct.cells[place], covered.cells[place]
    return None if first is None or second is None else (first, second)
