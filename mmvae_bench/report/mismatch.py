"""Correctness against the mismatch of aggregate posteriors: whether the one tells of the other, over objectives."""

from __future__ import annotations

import math
from collections.abc import Mapping

from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from ..base.ranks import LEAST, RankCorrelation, rank_correlation
from ..base.seeds import derive_seed
from ..metrics.catalogue import metric_info
from .drawing import INK, PANELS, RULE, SMALL, Drawn, legend, looks, panels, point, titled
from .tables import Cell, Row, Table

MOST_PANELS = 6
MISMATCH = "concept_mismatch"


def correlations(table: Table) -> list[tuple[Row, Row, RankCorrelation]]:
    """At each level where both are scored: the rows of mismatch and correctness, and the correlation of their ranks.

    Only of levels at which at least two objectives have both numbers.
    """
    rows = {(row.metric, row.level): row for row in table.of(table.headline) if row.level}
    found = []
    for (metric, level), correct in rows.items():
        mismatch = rows.get((MISMATCH, level))
        if metric != "correctness" or mismatch is None:
            continue
        both = _both(mismatch, correct)
        if len(both) >= 2:
            values = ([cells[side].value for cells in both.values()] for side in (0, 1))
            found.append((mismatch, correct, rank_correlation(*values, seed=derive_seed("mismatch", level=level))))
    return found


def mismatch_figure(table: Table, colors: Mapping[str, int]) -> Drawn | None:
    """A panel per level, a point per objective with both intervals, and the rank correlation above it; None where no
    two objectives have both.

    Args:
        table: What to draw.
        colors: Column label to colour number.
    """
    found = correlations(table)[:MOST_PANELS]
    if not found:
        return None
    figure, all_axes = panels(len(found), 2.9)
    look_of, named = looks(table, colors), list[str]()
    for position, (axes, (mismatch, correct, correlation)) in enumerate(zip(all_axes, found, strict=True)):
        both = _both(mismatch, correct)
        for place, (across, along) in both.items():
            point(axes, across, along, look_of[table.columns[place].label], scale=1)
            named.append(table.columns[place].label)
        if min(cells[0].value for cells in both.values()) > 0:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=4))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(axis="x", color=RULE, linewidth=0.7)
        axes.margins(0.1)
        titled(axes, f"level {correct.level}, n = {correlation.number}\n{said(correlation)}")
        axes.set_xlabel(f"{metric_info(MISMATCH).label}, nats")
        if position % PANELS == 0:
            axes.set_ylabel(f"{metric_info('correctness').label}, %", fontsize=SMALL, color=INK)
    legend(figure, look_of, named, lines=False)
    return figure, f"Correctness against the mismatch of aggregate posteriors, {table.title}"


def said(found: RankCorrelation) -> str:
    """A correlation in words.

    >>> said(RankCorrelation(-0.5, -0.9, 0.125, 12)), said(RankCorrelation(math.nan, math.nan, math.nan, 3))
    ('ρ -0.50 [-0.90, 0.12]', 'too few to correlate')
    """
    if found.number < LEAST:
        return "too few to correlate"
    if not math.isfinite(found.value):
        return "no ρ: all are tied"
    return f"ρ {found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _both(first: Row, second: Row) -> dict[int, tuple[Cell, Cell]]:
    cells = enumerate(zip(first.cells, second.cells, strict=True))
    return {
        place: (one, other)
        for place, (one, other) in cells
        if one is not None and other is not None and math.isfinite(one.value + other.value)
    }
