"""The report on a terminal: the short table, what is behind it, and which trials are missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..metrics.catalogue import metric_info
from .comparison import Comparison, Section
from .published import published_metrics, published_texts
from .selection import RULE
from .text import (
    BOLD_NOTE,
    DASH,
    TextRow,
    as_text,
    caption,
    columns_differ_in_steps,
    interval_note,
    plain_table,
    reference_note,
    seeds_text,
    text_rows,
)

MIN_WIDTH = 80
"""Narrower terminals get this width, and wrap."""
_BOLD, _DIM, _WARN = "bold", "dim", "yellow"


def render_terminal(comparison: Comparison, *, width: int = MIN_WIDTH, color: bool = False) -> str:
    """The report as text, at most ``width`` columns wide; without escape codes unless ``color``."""
    return as_text(_parts(comparison, max(width, MIN_WIDTH)), width=max(width, MIN_WIDTH), color=color)


def _parts(comparison: Comparison, width: int) -> Iterator[RenderableType]:
    yield Text.assemble((comparison.name, _BOLD), f": {comparison.states}")
    yield from (Text(f"from {source}", _DIM) for source in comparison.sources)
    remarks = [_remarks(section) for section in comparison.sections]
    # Remarks that apply to every table are printed once, at the end.
    common = [line for line in remarks[0] if all(line in lines for lines in remarks)] if remarks else []
    for section, lines in zip(comparison.sections, remarks, strict=True):
        yield from _section(section, width)
        yield from _selection(section)
        yield from (line for line in lines if line not in common)
    if comparison.sections:
        yield ""
        yield from common
        yield Text(_legend(comparison.sections), _DIM)
        yield from (Text(note, _DIM) for note in _published_notes(comparison.sections))
    if comparison.missing:
        yield Text("\nNot in the tables", _BOLD)
        for line in comparison.missing:
            yield Padding(Text(line), (0, 0, 0, 2))


def _legend(sections: Sequence[Section]) -> str:
    """What the signs in the tables mean: those that are there."""
    rows = [row for section in sections for row in text_rows(section, section.headline, headline_only=True)]
    cells = [cell for row in rows for cell in row.cells]
    seeds = {len(column.done) for section in sections for column in section.columns if column.done}
    slopes = any(line.slope_text != DASH for section in sections for line in section.progress)
    slope = "slope of the validation ELBO over the last third of training, in nats per 1000 steps"
    notes = (
        (True, "In % unless stated otherwise"),
        (any(cell.exact for cell in cells), interval_note(seeds)),
        (any(cell.leader for cell in cells), f"*: {BOLD_NOTE}"),
        (
            any({row.ceiling, row.floor} != {DASH} for row in rows),
            reference_note(judged=any(section.judges for section in sections)),
        ),
        (slopes, f"ELBO slope: {slope}, with the 95 % interval behind the verdict"),
    )
    return " ".join(f"{note}." for shown, note in notes if shown)


def _published_notes(sections: Sequence[Section]) -> list[str]:
    """Why there are no published numbers beside the scores that are shown, each reason once. A table of the validation
    partition, for which none are expected, is left out where one of the test partition says it of the same dataset."""
    tested = {section.setting.dataset for section in sections if section.setting.partition == "test"}
    shown = (
        section.published_note
        for section in sections
        if (section.setting.partition == "test" or section.setting.dataset not in tested)
        and any(
            row.metric in published_metrics(section.setting.dataset) and metric_info(row.metric).headline
            for row in section.of(section.headline)
        )
    )
    return [note for note in dict.fromkeys(shown) if note]


def _section(section: Section, width: int) -> Iterator[RenderableType]:
    yield Text.assemble("\n", (section.title, _BOLD))
    yield Text(caption(section, section.headline), _DIM)
    rows = text_rows(section, section.headline, headline_only=True)
    if rows:
        for indices in _blocks(section, rows, width):
            yield _scores(section, rows, indices)
    for found in section.aggregate:
        table = plain_table()
        for place, head in enumerate(found.heads):
            table.add_column(head, justify="right" if place else "left")
        for row in found.rows:
            table.add_row(*row)
        yield Text(found.title.removeprefix("Aggregate posteriors, ").replace(f"{section.title}: ", ""), _DIM)
        yield table
    yield _training(section)
    printed = _published(section)
    if printed is not None:
        yield printed


def _selection(section: Section) -> Iterator[RenderableType]:
    """The settings that the validation partition selects."""
    if section.selection:
        yield Text(f"selection: {RULE}", _DIM)
        shown = Table(box=None, show_edge=False, pad_edge=False)
        for head in ("setting", "val", "test", ""):
            shown.add_column(head, justify="left" if head in ("setting", "") else "right")
        for candidate in section.selection:
            shown.add_row(*candidate.texts, style=_BOLD if candidate.chosen else None)
        yield shown


def _remarks(section: Section) -> list[Text]:
    """The classifier behind a table, and the warnings about its numbers."""
    return [
        *(Text(f"classifier {judge.text}") for judge in section.judges),
        *(Text(f"! {warning}", _WARN) for warning in section.warnings),
    ]


def _header(section: Section, index: int) -> str:
    column = section.columns[index]
    extra = [column.label.removeprefix(column.objective).strip(), seeds_text(section, index)]
    if columns_differ_in_steps(section):
        extra.append(f"{column.total_steps} steps")
    return "\n".join(filter(None, [column.objective, *extra]))


def _blocks(section: Section, rows: list[TextRow], width: int) -> Iterator[list[int]]:
    """Splits the columns into blocks that fit next to the labels and references."""
    fixed = max(len(row.label) for row in rows) + len("level") + 6
    fixed += sum(max(len(name), *(len(getattr(row, name)) for row in rows)) + 2 for name in ("ceiling", "floor"))
    block: list[int] = []
    used = fixed
    for index in range(len(section.columns)):
        texts = [row.cells[index].text + "*" for row in rows] + _header(section, index).split("\n")
        needed = max(map(len, texts)) + 2
        if block and used + needed > width:
            yield block
            block, used = [], fixed
        block.append(index)
        used += needed
    yield block


def _scores(section: Section, rows: list[TextRow], indices: list[int]) -> Table:
    table = plain_table()
    table.add_column("")
    table.add_column("level", justify="right")
    for index in indices:
        table.add_column(_header(section, index), justify="right", no_wrap=True)
    table.add_column("ceiling", justify="right", style=_DIM)
    table.add_column("floor", justify="right", style=_DIM)
    previous = ""
    for row in rows:
        cells = [Text(f"{row.cells[index].text}{'*' if row.cells[index].leader else ' '}",
                      _BOLD if row.cells[index].leader else "") for index in indices]  # fmt: skip
        table.add_row("" if row.label == previous else row.label, row.level, *cells, row.ceiling, row.floor)
        previous = row.label
    return table


def _training(section: Section) -> Table:
    table = plain_table()
    for name in ("trial", "objective", "seed", "steps", "steps/s", "ELBO slope", "verdict"):
        table.add_column(name, justify="right" if name in ("seed", "steps", "steps/s", "ELBO slope") else "left")
    for line in section.progress:
        seed = str(line.trial.spec.get("seed", "–"))
        numbers = (line.steps_text, line.speed_text, line.slope_text)
        table.add_row(line.trial.key, line.column, seed, *numbers, line.verdict)
    return table


def _published(section: Section) -> Table | None:
    rows = published_texts(section, section.published)
    if not rows:
        return None
    table = plain_table()
    for name in ("published", "level", "objective", "ours", "theirs", "difference"):
        table.add_column(name, justify="left" if name in ("published", "objective") else "right")
    for row in rows:
        table.add_row(row.label, row.level, row.objective, row.ours, row.published, row.difference)
    return table
