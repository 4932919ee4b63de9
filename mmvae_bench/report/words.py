"""How often each word is written, and is in training captions (Cremer and Kushman 2018, Fig. 3, 5 and 7)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .drawing import INK, RULE, SMALL, Drawn, legend, looks, panels, titled
from .tables import Row, Table

MOST_WORDS = 40
"""Words in the figure: those that training captions have most often."""
MOST_LETTERS = 20
_SOURCES = {"word_frequency": "texts of held-out images", "word_frequency_prior": "texts of z ~ p(z)"}
_LINE, _WIDTH = 0.2, 4.2
"""Inches: of a word, and of a panel, which the names of words share with it."""


def words_figure(table: Table, colors: Mapping[str, int]) -> Drawn | None:
    """A panel for texts of images and one for texts of the prior: a bar for the share of training captions that have a
    word, a point for the share of each objective's texts, with its interval; None where no words were counted.

    Args:
        table: What to draw.
        colors: Column label to colour number.
    """
    by_source: dict[str, dict[str, Row]] = {name: {} for name in _SOURCES}
    for row in table.rows:
        if row.metric in by_source and row.attribute is not None and any(row.cells):
            by_source[row.metric][row.attribute] = row
    shown = {name: rows for name, rows in by_source.items() if rows}
    if not shown:
        return None
    training = {word: _in_training(row) for rows in shown.values() for word, row in rows.items()}
    words = sorted(training, key=lambda word: -training[word])[:MOST_WORDS]
    figure, all_axes = panels(len(shown), 0.7 + _LINE * len(words), width=_WIDTH)
    look_of, named = looks(table, colors), dict[str, None]()
    for axes, (name, rows) in zip(all_axes, shown.items(), strict=True):
        axes.barh(range(len(words)), [100 * training[word] for word in words], height=0.75, color=INK, alpha=0.12)
        present = [place for place in range(len(table.columns)) if any(row.cells[place] for row in rows.values())]
        step = min(0.12, 0.7 / max(len(present), 1))
        for rank, place in enumerate(present):
            found = [(line, rows[word].cells[place]) for line, word in enumerate(words) if word in rows]
            cells = [(line, cell) for line, cell in found if cell is not None and math.isfinite(cell.value)]
            offset = step * (rank - (len(present) - 1) / 2)
            label = table.columns[place].label
            look = {**look_of[label], "linestyle": "none"}
            bounded = [(line + offset, cell) for line, cell in cells if math.isfinite(cell.low + cell.high)]
            axes.hlines([y for y, _ in bounded], [100 * cell.low for _, cell in bounded],
                        [100 * cell.high for _, cell in bounded], color=look["color"], linewidth=1.2)  # fmt: skip
            values = [100 * cell.value for _, cell in cells]
            axes.plot(values, [line + offset for line, _ in cells], markersize=3.5, **look)
            named[label] = None
        axes.set_yticks(range(len(words)), [word[:MOST_LETTERS] for word in words], fontsize=SMALL)
        axes.set_ylim(len(words) - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x", color=RULE, linewidth=0.7)
        axes.set_xlabel("share that has the word, %")
        titled(axes, _SOURCES[name])
    legend(figure, look_of, named, lines=False)
    return figure, f"How often each word is written, {table.title}"


def _in_training(row: Row) -> float:
    """The share of training captions that have the word: the ceiling of its row, 0 where none is known."""
    low, high = row.reference("ceiling")
    return (low + high) / 2 if math.isfinite(low) else 0.0
