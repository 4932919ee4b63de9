"""Numbers and tables as text: what the terminal, Markdown, LaTeX and HTML all print, each in its own layout.

A number is written the same in every rendering, with no more digits than its interval supports.
"""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.table import Table as RichTable

from ..metrics.catalogue import metric_info
from .grouping import flatten, setting_of, with_every_field
from .tables import Row, Table

DASH = "–"
"""Printed where there is no number."""
UNLIMITED = 100_000
"""A width at which no line is wrapped."""


_INTERVAL = "± is the longer arm of the 95 % interval"
INTERVAL_NOTE = f"{_INTERVAL}: over queries with one training seed, over training seeds and queries with several"
"""What every rendering says about its intervals."""
BOLD_NOTE = (
    "the best of its row and those not told apart from it, where something is told apart from the best and the best "
    "from the floor (5 % probability of one false claim in the whole table; never with one training seed)"
)
"""What every rendering says about bold numbers."""
_REFERENCES = (
    "floor: the expected score of a generator that ignores the query; ceiling: that of an exact conditional generator",
    "for correctness, compositionality and named queries the classifier's accuracy on held-out real images of the same "
    "concepts",
    "references, not bounds",
)
REFERENCE_NOTE = f"{_REFERENCES[0]}, {_REFERENCES[1]}; {_REFERENCES[2]}"
"""What every rendering says about floor and ceiling; what they are of other metrics is in their explanations."""

TRAINING_NOTE = (
    "steps: of all stages; wall time: of the training loop, for which a GPU was held where there was one; processor "
    "time: of all threads in it"
)
"""What every rendering says about the costs of training."""

_DECIMALS = {"nats/dim": 3, "MSE": 4, "FID": 2, "KID": 4, "cos": 4, "SSE": 2, "ratio": 3}


def interval_note(seeds: Collection[int]) -> str:
    """As :data:`INTERVAL_NOTE`, where the objectives have these numbers of training seeds.

    >>> interval_note({1})
    '± is the longer arm of the 95 % interval over queries'
    """
    several = {number > 1 for number in seeds}
    return INTERVAL_NOTE if len(several) != 1 else f"{_INTERVAL} over {'training seeds and ' * several.pop()}queries"


def reference_note(*, judged: bool) -> str:
    """As :data:`REFERENCE_NOTE`; without the classifier where there is none."""
    return REFERENCE_NOTE if judged else f"{_REFERENCES[0]}; {_REFERENCES[2]}"


def number(value: float, unit: str = "%") -> str:
    """One decimal for percent and nats, more for nats per dimension and squared errors; a dash if there is no number.

    >>> number(0.91149), number(-0.0001), number(float("nan")), number(-112.25, "nats")
    ('91.1', '0.0', '–', '-112.2')
    """
    if not math.isfinite(value):
        return DASH
    text = f"{100 * value if unit == '%' else value:.{_DECIMALS.get(unit, 1)}f}"
    return text.removeprefix("-") if not float(text) else text


def half_width(value: float, low: float, high: float) -> float:
    """The longer arm of an interval: what is printed after ±, so that value ± arm covers the interval."""
    return max(high - value, value - low)


def with_interval(value: float, low: float, high: float, unit: str = "%") -> str:
    """A value and the longer arm of its interval.

    >>> with_interval(0.911, 0.906, 0.915), with_interval(0.911, float("nan"), float("nan"))
    ('91.1 ±0.5', '91.1')
    """
    arm = number(half_width(value, low, high), unit)
    return number(value, unit) if DASH in (arm, number(value, unit)) else f"{number(value, unit)} ±{arm}"


def minus(text: str) -> str:
    """A number as text with a typographic minus sign; not for names, whose hyphens it would turn."""
    return text.replace("-", "\N{MINUS SIGN}")


def with_bounds(value: float, low: float, high: float, unit: str = "%") -> str:
    """A difference and both ends of its interval.

    >>> with_bounds(0.02, -0.001, 0.041)
    '+2.0 [-0.1, +4.1]'
    """
    if not math.isfinite(value):
        return DASH
    ends = [_signed(number(end, unit)) for end in (value, low, high)]
    return ends[0] if DASH in ends else f"{ends[0]} [{ends[1]}, {ends[2]}]"


def _signed(text: str) -> str:
    return text if text in (DASH, "0.0") or text.startswith("-") else f"+{text}"


@dataclass(frozen=True)
class TextCell:
    """The content of a cell.

    Attributes:
        leader: Whether it is shown in bold; see :data:`BOLD_NOTE`.
        exact: Both ends of the interval, for renderings with room for them.
    """

    text: str
    leader: bool = False
    exact: str = ""


@dataclass(frozen=True)
class TextRow:
    """A row: its label and level, the cells, and the references."""

    label: str
    level: str
    cells: tuple[TextCell, ...]
    ceiling: str
    floor: str
    title: str


@dataclass(frozen=True)
class DifferenceRow:
    """The best objective of a row compared with one other."""

    label: str
    level: str
    best: str
    other: str
    difference: str
    ahead: str
    significant: bool


def text_rows(table: Table, protocol: str | None, *, headline_only: bool = False) -> list[TextRow]:
    """The rows of one protocol; ``headline_only`` leaves out those that are not part of the short table."""
    rows = [row for row in table.of(protocol) if metric_info(row.metric).headline or not headline_only]
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
        label=row_label(row),
        level=level_text(row.level),
        cells=tuple(cells),
        ceiling=_range(row.reference("ceiling"), style.unit),
        floor=_range(row.reference("floor"), style.unit),
        title=_asked(row),
    )


def difference_rows(table: Table, protocol: str | None) -> list[DifferenceRow]:
    """Best minus each other objective, row by row."""
    found = []
    for row in table.of(protocol):
        unit = metric_info(row.metric).unit
        for index, difference in enumerate(row.differences):
            if difference is not None and row.best is not None:
                found.append(
                    DifferenceRow(
                        label=row_label(row),
                        level=level_text(row.level),
                        best=table.columns[row.best].label,
                        other=table.columns[index].label,
                        difference=with_bounds(difference.value, difference.low, difference.high, unit),
                        ahead=_ahead(row, index),
                        significant=bool(row.better.size and row.better[row.best, index]),
                    )
                )
    return found


def _ahead(row: Row, index: int) -> str:
    """In how many pairs of seeds the best is ahead of another, such as ``7.5 of 9``; empty with a single seed."""
    ahead, total = ahead_of(row, row.best or 0, index)
    return f"{ahead} of {total}" if total else ""


def ahead_of(row: Row, first: int, second: int) -> tuple[str, str]:
    """In how many pairs of a seed of each the first column is ahead, of how many: the probability of improvement.

    Empty with a single seed, and for a score by which nobody is ahead. Ties count half.
    """
    one, other = row.cells[first], row.cells[second]
    info = metric_info(row.metric)
    direction = info.direction * info.ranked
    if one is None or other is None or min(one.num_seeds, other.num_seeds) < 2 or not direction:
        return "", ""
    gaps = [direction * (mine.value - theirs.value) for mine in one.seeds for theirs in other.seeds]
    return f"{sum((gap > 0) + (gap == 0) / 2 for gap in gaps):g}", str(len(gaps))


def level_text(level: int | None) -> str:
    """Number of specified attributes; empty if there is none."""
    return "" if level is None else str(level)


def seeds_text(table: Table, index: int) -> str:
    """How many seeds of a column have results, such as ``n=2`` or ``n=1 of 2``; empty if no column has several."""
    counts = [(len(column.done), len(column.trials)) for column in table.columns]
    done, total = counts[index]
    if max(number for _, number in counts) == 1 and done == total:
        return ""
    return f"n={done}" if done == total else f"n={done} of {total}"


def column_head(table: Table, index: int) -> str:
    """What is written over a column: its label, how many seeds have results, and its steps where columns differ."""
    steps = f"{table.columns[index].total_steps} steps" if columns_differ_in_steps(table) else ""
    extra = ", ".join(filter(None, [seeds_text(table, index), steps]))
    return table.columns[index].label + (f" ({extra})" if extra else "")


def columns_differ_in_steps(table: Table) -> bool:
    """Whether the objectives were trained for different numbers of steps, so that each column must show its own."""
    return len({column.total_steps for column in table.columns}) > 1


def row_label(row: Row) -> str:
    style = metric_info(row.metric)
    label = style.label + (" ↓" if style.direction < 0 else "") + ("" if style.unit == "%" else f", {style.unit}")
    return label if row.attribute is None else f"{label}, {row.attribute}"


def caption(table: Table, protocol: str | None) -> str:
    """What a table shows, in one line."""
    rows = (row for row in table.of(protocol) if row.level is not None and not metric_info(row.metric).own_rows)
    asked = dict.fromkeys(map(_asked, rows))
    # Where levels have different numbers of queries, no single number describes all of them.
    detail = f" (per level: {next(iter(asked))})" if len(asked) == 1 and "" not in asked else ""
    return f"{table.setting.partition}, protocol {protocol}{detail}" if protocol else table.setting.partition


def setting_lines(table: Table) -> list[tuple[str, str]]:
    """The setting in words: (what, its parameters), with every default."""
    trials = [with_every_field(column.trials[0]) for column in table.columns]
    setting = setting_of(trials[0], table.setting.partition)
    seed = "" if setting.split_seed is None else f", split_seed {setting.split_seed}"
    steps = ", ".join(dict.fromkeys(f"{column.total_steps} steps" for column in table.columns))
    source = tuple(("source", name) for name in setting.world[1:])  # A stand-in has another name.
    return [
        ("dataset", _words(setting.dataset, (*source, *setting.dataset_params))),
        ("split", f"{setting.split}{seed}; scored on {setting.partition}"),
        ("backbone", _words(setting.backbone, setting.backbone_params)),
        ("training", _words(steps, setting.training_params)),
        *(
            (column.label, _pairs(flatten(trial.parameters("objective"))))
            for column, trial in zip(table.columns, trials, strict=True)
        ),
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
    samples = f", {cell.num_samples:,} sample{'' if cell.num_samples == 1 else 's'} each" if cell.num_samples else ""
    return f"{cell.num_queries:,} quer{'y' if cell.num_queries == 1 else 'ies'}{samples}"


def as_text(parts: Iterable[RenderableType], *, width: int, color: bool = False) -> str:
    """What rich prints of the parts, without spaces at the ends of lines; escape codes only where ``color``."""
    file = io.StringIO()
    # In a notebook rich would display the parts instead of writing them.
    console = Console(file=file, width=width, force_terminal=color, force_jupyter=False, no_color=not color,
                      highlight=False, markup=False, emoji=False,
                      color_system="standard" if color else None)  # fmt: skip
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def plain_table() -> RichTable:
    """A table without lines."""
    return RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
