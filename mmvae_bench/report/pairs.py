"""Any two objectives of a table compared on the same queries and seeds, for the page to show those that are chosen."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from ..metrics.catalogue import metric_info
from .tables import Row, Table, difference_of
from .text import ahead_of, number, text_row


@dataclass(frozen=True)
class PairRow:
    """One score, for every two objectives.

    Attributes:
        label: What is scored.
        level: At how many specified attributes; empty if there is none.
        values: The score of each column as text.
        pairs: Of columns (0, 1), (0, 2), ..., (1, 2), ...: the first minus the second, both ends of its interval, how
            often the first is ahead of how many pairs of seeds, and whether the two are told apart, with semicolons
            between them; empty where they are not compared.
    """

    label: str
    level: str
    values: tuple[str, ...]
    pairs: tuple[str, ...]


def pair_rows(table: Table) -> tuple[PairRow, ...]:
    """The scores of the first protocol; none for a table of fewer than two objectives."""
    done = sum(bool(column.done) for column in table.columns)
    return tuple(map(_pair_row, table.of(table.headline))) if done > 1 else ()


def _pair_row(row: Row) -> PairRow:
    text = text_row(row)
    pairs = tuple(_pair(row, first, second) for first, second in combinations(range(len(row.cells)), 2))
    return PairRow(text.label, text.level, tuple(cell.text for cell in text.cells), pairs)


def _pair(row: Row, first: int, second: int) -> str:
    one, other = row.cells[first], row.cells[second]
    found = None if one is None or other is None else difference_of(one.seeds, other.seeds)
    if found is None:
        return ""
    unit = metric_info(row.metric).unit
    apart = row.better.size and (row.better[first, second] or row.better[second, first])
    numbers = [number(value, unit) for value in (found.value, found.low, found.high)]
    return ";".join([*numbers, *ahead_of(row, first, second), "1" if apart else ""])
