"""What the figures of a report have in common: their axes, and colours that stand for those of the page."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .tables import Cell, Table

NUM_COLORS = 8
"""How many colours the page has for objectives; after the last one they repeat."""
# Stand-ins that are replaced by the page's own colours once the SVG is text.
INK, RULE = "#010101", "#020202"
SERIES = [f"#0300{index:02x}" for index in range(NUM_COLORS)]
MARKERS = "osD^vPX*"
LINES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
"""Where colours repeat, the next marker and the next kind of line tell objectives apart."""
SMALL, TITLE = 8.5, 10.0
"""Sizes of text in points; no text on the page is smaller than 11 pixels, which are 8.25 points."""
LONG, LONG_TITLE = 30, 26
"""Letters of a name in a legend, and over a panel, after which it goes on in the next line."""
PANELS = 3
"""Panels beside each other."""

Drawn = tuple[Figure, str]
"""A figure and what it shows, for those who cannot see it."""


def panels(number: int, height: float, *, width: float = 2.8) -> tuple[Figure, list[Axes]]:
    """A figure with panels in rows of three; ``height`` and ``width``: of each, in inches."""
    num_columns = min(PANELS, number)
    num_rows = -(-number // num_columns)
    figure = Figure(figsize=(max(3.4, width * num_columns), height * num_rows), layout="constrained")
    return figure, [axes_of(figure.add_subplot(num_rows, num_columns, place + 1)) for place in range(number)]


def point(axes: Axes, across: Cell, along: Cell, look: Mapping[str, Any], *, scale: float = 100) -> None:
    """Draws two scores of an objective against each other, with their intervals: ``scale`` is that of ``across``."""
    axes.errorbar([scale * across.value], [100 * along.value], xerr=_arms(across, scale), yerr=_arms(along, 100),
                  linewidth=1.2, markersize=5, **{**look, "linestyle": "none"})  # fmt: skip


def _arms(cell: Cell, scale: float) -> list[list[float]]:
    """The arms of an interval; none where it is unknown."""
    if not math.isfinite(cell.low + cell.high):
        return [[0.0], [0.0]]
    return [[scale * max(cell.value - cell.low, 0)], [scale * max(cell.high - cell.value, 0)]]


def titled(axes: Axes, text: str) -> None:
    """Writes the title of a panel, in as many lines as keep it from the next one's."""
    axes.set_title(in_lines(text, LONG_TITLE), loc="left", fontsize=TITLE, color=INK)


def in_lines(text: str, most: int = LONG) -> str:
    """A name in lines of at most ``most`` letters, broken between its words and where it has none."""
    return "\n".join(line for part in text.split("\n") for line in textwrap.wrap(part, most) or [""])


def looks(table: Table, colors: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """Colour, marker and kind of line of each column, by its label; no two columns have the same three."""
    return {
        column.label: {
            "color": SERIES[colors[column.label] % NUM_COLORS],
            "marker": MARKERS[place // NUM_COLORS % len(MARKERS)],
            "linestyle": LINES[place // NUM_COLORS % len(LINES)],
        }
        for place, column in enumerate(table.columns)
    }


def legend(figure: Figure, found: Mapping[str, Mapping[str, Any]], names: Iterable[str], *, lines: bool = True) -> None:
    """Names below a figure what is in it; ``lines``: whether objectives are lines there, and not only points."""
    shown = list(dict.fromkeys(names))
    handles = []
    words = [in_lines(name) for name in shown]
    for name, label in zip(shown, words, strict=True):
        look = dict(found[name])
        look |= {"marker": "none"} if lines else {"linestyle": "none"}
        handles.append(Line2D([], [], linewidth=1.4, markersize=4.5, label=label, **look))
    longest = max((len(line) for label in words for line in label.split("\n")), default=1)
    width = max(1, int(figure.get_size_inches()[0] / (0.5 + 0.075 * longest)))
    figure.legend(handles=handles, loc="outside lower left", ncols=min(width, len(shown)), frameon=False,
                  fontsize=SMALL, labelcolor=INK, handlelength=2.2, borderpad=0.1, columnspacing=1.2)  # fmt: skip
    rows = -(-len(shown) // width)
    # Columns are filled one after the other; the highest counts, lines that go on are a little closer.
    columns = [words[start : start + rows] for start in range(0, len(words), rows)]
    height = max((sum(0.19 + 0.14 * label.count("\n") for label in column) for column in columns), default=0)
    figure.set_size_inches(figure.get_size_inches()[0], figure.get_size_inches()[1] + 0.08 + height)


def steps_below(axes: Axes) -> None:
    """Few whole numbers under an axis of steps."""
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))


def axes_of(axes: Axes) -> Axes:
    """Axes with a line below and a grid of values, in the colours of the page."""
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(RULE)
    axes.tick_params(colors=INK, length=0, labelsize=9)
    axes.xaxis.label.set(color=INK, fontsize=9)
    axes.yaxis.label.set(color=INK, fontsize=9)
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.patch.set_visible(False)
    return axes
