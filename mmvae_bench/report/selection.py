"""Which setting of each objective the validation partition selects, and what it then scores on test.

As in Vedantam et al. (2018, section 5.1): the setting with the highest correctness on the validation set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .tables import Table
from .text import DASH, number

RULE = "highest correctness on val, mean over levels"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A setting of an objective.

    Attributes:
        label: Objective, and how the setting differs from its others.
        val: Correctness, mean over the levels, as a fraction.
        test: The same on test; nan if it was not scored.
        chosen: Whether it has the highest ``val`` of its objective.
    """

    label: str
    val: float
    test: float
    chosen: bool

    @property
    def texts(self) -> tuple[str, str, str, str]:
        """Label, both scores and the mark of the chosen one."""
        val, test = (number(value) if math.isfinite(value) else DASH for value in (self.val, self.test))
        return self.label, val, test, "chosen" if self.chosen else ""


def candidates(table: Table, tables: Sequence[Table]) -> list[Candidate]:
    """The settings of every objective that has several of them, in a table of the partition val; else none.

    Args:
        table: The table.
        tables: All tables of the report, among them perhaps the one of the same trials on test.
    """
    if table.setting.partition != "val":
        return []
    same = replace(table.setting, partition="test")
    twin = next((other for other in tables if other.setting == same), None)
    on_test = {} if twin is None else dict(zip((c.label for c in twin.columns), _correctness(twin), strict=True))
    on_val = _correctness(table)
    found = []
    for objective in dict.fromkeys(column.objective for column in table.columns):
        places = [index for index, column in enumerate(table.columns) if column.objective == objective]
        known = [index for index in places if math.isfinite(on_val[index])]
        if len(places) < 2 or not known:
            continue
        best = max(known, key=lambda index: on_val[index])
        for index in places:
            label = table.columns[index].label
            found.append(
                Candidate(label=label, val=on_val[index], test=on_test.get(label, math.nan), chosen=index == best)
            )
    return found


def _correctness(table: Table) -> list[float]:
    """Of each column, the mean over levels under the headline protocol; nan where a level is missing."""
    rows = [row for row in table.of(table.headline) if row.metric == "correctness"]
    values = [[math.nan if cell is None else cell.value for cell in row.cells] for row in rows]
    return [math.fsum(column) / len(rows) for column in zip(*values, strict=True)] or [math.nan] * len(table.columns)
