"""Which value of an attribute is read where another was asked for: the tables of a result, summed over seeds.

Shapes: V value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from .drawing import INK, RULE, SMALL, TITLE, Drawn
from .tables import Table

REAL = "real images"
MOST_ATTRIBUTES = 6
"""Attributes beside each other in the figure: those that are confused most."""
MOST_VALUES, MOST_LETTERS = 40, 24
"""The largest table that is drawn, and how much of a value's name."""
MOST_CELLS = 4_000
"""Of the figure: objectives that come later are left to the table."""
MOST_WRONG = 3
"""Confusions listed of an objective."""
_CELL, _GAP, _LETTER, _LEAST = 0.17, 0.25, 0.075, 0.005
"""Inches: of a cell, between tables, of a letter; and the smallest share that is drawn."""


@dataclass(frozen=True)
class Confusion:
    """Of one attribute: how many images that were asked for a value (row) are read as each (column).

    Attributes:
        attribute: Its name.
        values: Of the attribute.
        counts: Int[V, V].
        real: The same of held-out real images: the classifier's own confusion; None if it is not stored.
        level: Number of attributes that the queries specify.
        images: What the classifier was shown: sample or mean.
    """

    attribute: str
    values: tuple[str, ...]
    counts: NDArray[np.int64]
    real: NDArray[np.int64] | None
    level: int
    images: str

    @property
    def shares(self) -> NDArray[np.float64]:
        """Float[V, V]: each row sums to one; nan where a value was not asked for."""
        return shares_of(self.counts)

    @property
    def wrong(self) -> float:
        """The share of images that are read otherwise than asked, the mean over values."""
        asked = self.counts.sum(1) > 0
        return float(1 - self.shares.diagonal()[asked].mean()) if asked.any() else 0.0


@dataclass(frozen=True)
class Wrong:
    """One confusion: ``asked`` is read as ``read`` in a share of the images, and in one of real images (or None)."""

    attribute: str
    asked: str
    read: str
    share: float
    real: float | None


def shares_of(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The rows of a table of counts as shares; nan in an empty row."""
    total = counts.sum(1, keepdims=True)
    shares: NDArray[np.float64] = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    return shares


def confusions(
    results: Iterable[Mapping[str, Any]], *, partition: str, level: int | None = None
) -> tuple[Confusion, ...]:
    """The tables of some results of one objective, summed; in the order of the attributes, empty where there are none.

    Args:
        results: Of trials, as stored in ``result.json``.
        partition: val or test.
        level: Of the queries; None: the highest that there is.
    """
    records = [result.get("confusion") or {} for result in results]
    found = [each for record in records for each in record.get("asked", ()) if each["partition"] == partition]
    found = [each for each in found if len(each["counts"]) == len(each["values"])]
    levels = {each["level"] for each in found if level in (None, each["level"])}
    if not levels:
        return ()
    chosen = max(levels)
    found = [each for each in found if each["level"] == chosen]
    # A sample where there is one; its mean takes the place of a sample whose noise is a setting.
    images = max(each["images"] for each in found)
    found = [each for each in found if each["images"] == images]
    real = {
        (each["attribute"], *each["values"]): each["counts"]
        for record in records
        for each in record.get("real", ())
        if len(each["counts"]) == len(each["values"])
    }
    tables: dict[tuple[str, ...], list[Any]] = {}
    for each in found:
        tables.setdefault((each["attribute"], *each["values"]), []).append(each["counts"])
    return tuple(
        Confusion(
            key[0],
            key[1:],
            np.sum([np.array(counts, dtype=np.int64) for counts in several], axis=0),
            np.array(real[key], dtype=np.int64) if key in real else None,
            chosen,
            images,
        )
        for key, several in tables.items()
    )


def most_wrong(found: Sequence[Confusion], *, number: int = MOST_WRONG, least: float = 0.01) -> tuple[Wrong, ...]:
    """The largest shares of images that are read as another value than asked, largest first.

    Args:
        found: Of one objective.
        number: The largest number of them.
        least: The smallest share that is worth naming.
    """
    wrong = []
    for each in found:
        shares, real = each.shares, None if each.real is None else shares_of(each.real)
        for row, column in zip(*np.nonzero(shares >= least), strict=True):
            if row != column:
                of_real = None if real is None or np.isnan(real[row, column]) else float(real[row, column])
                names = each.attribute, each.values[row], each.values[column]
                wrong.append(Wrong(*names, float(shares[row, column]), of_real))
    return tuple(sorted(wrong, key=lambda one: -one.share)[:number])


def by_column(table: Table) -> list[tuple[str, tuple[Confusion, ...]]]:
    """The tables of each objective of a report that has any, by its label."""
    found = [
        (column.label, confusions([trial.result for trial in column.done], partition=table.setting.partition))
        for column in table.columns
    ]
    return [(label, tables) for label, tables in found if tables]


def confusion_figure(table: Table, colors: Mapping[str, int]) -> Drawn | None:
    """The tables as squares, the darker the larger the share: a row per objective, real images first, a column per
    attribute; None where nothing is stored."""
    found = [
        (label, tuple(each for each in tables if len(each.values) <= MOST_VALUES)) for label, tables in by_column(table)
    ]
    found = [(label, tables) for label, tables in found if tables]
    names = _shown_attributes([tables for _, tables in found])
    if not names:
        return None
    first = {each.attribute: each for each in found[0][1]}
    real = [(REAL, {name: first[name].real for name in names if name in first})]
    rows = real + [(label, {each.attribute: each.counts for each in tables}) for label, tables in found]
    values = {each.attribute: [value[:MOST_LETTERS] for value in each.values] for _, tables in found for each in tables}
    cells = sum(len(values[name]) ** 2 for name in names)
    rows = rows[: max(2, MOST_CELLS // max(cells, 1))]

    widest = {name: _LETTER * max(map(len, values[name])) for name in names}
    left = dict[str, float]()
    x = 0.0
    for name in names:
        left[name] = x + widest[name] + 0.08
        x = left[name] + _CELL * len(values[name]) + _GAP
    height = max(len(values[name]) for name in names) * _CELL + 2 * _GAP
    above = max(widest.values()) + 0.45
    width, total = max(x, 3.4), above + height * len(rows)
    figure = Figure(figsize=(width, total))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(total, 0))
    axes.axis("off")
    for name in names:
        axes.text(left[name], 0.16, name, fontsize=TITLE, color=INK, va="center")
        for place, value in enumerate(values[name]):
            axes.text(left[name] + _CELL * (place + 0.5), above - 0.06, value, rotation=90, fontsize=SMALL, color=INK,
                      ha="center", va="bottom")  # fmt: skip
    for place, (label, tables) in enumerate(rows):
        top = above + place * height + _GAP
        axes.text(0, top - 0.1, label, fontsize=9, color=INK, va="center", weight="bold")
        for name in names:
            counts = tables.get(name)
            if counts is None or counts.shape != (len(values[name]),) * 2:
                continue
            size = _CELL * len(counts)
            axes.add_patch(
                Rectangle((left[name], top), size, size, fill=False, edgecolor=RULE, linewidth=0.8, clip_on=False)
            )
            for row, shares in enumerate(shares_of(counts)):
                axes.text(left[name] - 0.05, top + _CELL * (row + 0.5), values[name][row], fontsize=SMALL, color=INK,
                          ha="right", va="center")  # fmt: skip
                for column, share in enumerate(shares):
                    if share >= _LEAST:
                        corner = left[name] + _CELL * column, top + _CELL * row
                        axes.add_patch(
                            Rectangle(
                                corner, _CELL, _CELL, facecolor=INK, alpha=round(share, 2), linewidth=0, clip_on=False
                            )
                        )
    return figure, f"Confusion of each attribute, asked against read, {table.title}"


def _shown_attributes(found: Sequence[Sequence[Confusion]]) -> list[str]:
    """The attributes that are confused most, in the order of the schema."""
    wrong: dict[str, list[float]] = {}
    for tables in found:
        for each in tables:
            wrong.setdefault(each.attribute, []).append(each.wrong)
    chosen = sorted(wrong, key=lambda name: -sum(wrong[name]) / len(wrong[name]))[:MOST_ATTRIBUTES]
    return [name for name in wrong if name in chosen]
