"""The report as Markdown: ``table.md``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .aggregate import NOTE as AGGREGATE_NOTE
from .aggregate import SOURCE as AGGREGATE_SOURCE
from .comparison import Comparison, Section
from .notes import weights_lines
from .published import SOURCE, published_texts
from .selection import RULE
from .text import (
    BOLD_NOTE,
    INTERVAL_NOTE,
    REFERENCE_NOTE,
    TRAINING_NOTE,
    TextCell,
    caption,
    column_head,
    difference_rows,
    setting_lines,
    text_row,
    text_rows,
)


class Markdown(str):
    """Text that is Markdown already."""


LEGEND = (
    f"In % unless stated otherwise. {INTERVAL_NOTE}. **Bold**: {BOLD_NOTE}. "
    f"{REFERENCE_NOTE[:1].upper()}{REFERENCE_NOTE[1:]}."
)


def render_markdown(comparison: Comparison) -> str:
    """The whole report as Markdown."""
    return "\n".join(_lines(comparison)) + "\n"


def _lines(comparison: Comparison) -> Iterator[str]:
    yield f"# {escape(comparison.name)}"
    yield ""
    if comparison.summary:
        yield from (f"{escape(comparison.summary)}.", "")
    yield f"{comparison.states}."
    if comparison.sources:
        yield ""
        yield from (f"- from {escape(source)}" for source in comparison.sources)
    if comparison.sections:
        yield ""
        yield LEGEND
    for section in comparison.sections:
        yield from _section(section)
        yield from _selection(section)
    if comparison.missing:
        yield from ("", "## Not in the tables", "")
        yield from (f"- {escape(line)}" for line in comparison.missing)


def _section(section: Section) -> Iterator[str]:
    yield from ("", f"## {escape(section.title)}", "")
    for name, words in setting_lines(section):
        yield f"- {escape(name)}: {escape(words)}"
    for warning in section.warnings:
        yield f"- **Warning.** {escape(warning)}"
    for judge in section.judges:
        yield f"- classifier {escape(judge.text)}"
    heads = [column_head(section, index) for index in range(len(section.columns))]
    for protocol in section.protocols or (None,):
        rows = text_rows(section, protocol)
        yield from ("", f"### {escape(caption(section, protocol))}", "")
        cells = [[row.label, row.level, *map(_cell, row.cells), row.ceiling, row.floor] for row in rows]
        yield from table(["", "level", *heads, "ceiling", "floor"], cells, left=1)
    yield from _by_attribute(section, heads)
    yield from _differences(section)
    yield from _published(section)
    yield from _aggregate(section)
    yield from _training(section)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> Iterator[str]:
    """A Markdown table; the first ``left`` columns are aligned left, the others right."""
    yield f"| {' | '.join(map(escape, heads))} |"
    yield f"|{'|'.join([' --- '] * left + [' ---: '] * (len(heads) - left))}|"
    for row in rows:
        yield f"| {' | '.join(cell if isinstance(cell, Markdown) else escape(cell) for cell in row)} |"


def _cell(cell: TextCell) -> Markdown:
    return Markdown(f"**{escape(cell.text)}**" if cell.leader else escape(cell.text))


def _by_attribute(section: Section, heads: list[str]) -> Iterator[str]:
    rows = [text_row(row) for row in section.by_attribute]
    if rows:
        yield from ("", "### By attribute", "")
        cells = [[row.label, row.level, *map(_cell, row.cells), row.ceiling, row.floor] for row in rows]
        yield from table(["", "level", *heads, "ceiling", "floor"], cells, left=1)


def _differences(section: Section) -> Iterator[str]:
    rows = difference_rows(section, section.headline)
    if rows:
        yield from ("", "### Best minus each of the others, on the same queries", "")
        cells = [[row.label, row.level, row.best, row.other, row.difference, row.ahead] for row in rows]
        yield from table(["", "level", "best", "other", "difference [95 %]", "ahead, of pairs of seeds"], cells, left=1)


def _selection(section: Section) -> Iterator[str]:
    if section.selection:
        yield from ("", f"### Selection: {RULE}", "")
        yield from table(["setting", "val", "test", ""], [candidate.texts for candidate in section.selection], left=1)


def _published(section: Section) -> Iterator[str]:
    rows = published_texts(section, section.published)
    if rows:
        yield from ("", f"### Compared with the published numbers: {SOURCE}", "")
        cells = [[row.label, row.level, row.objective, row.ours, row.published, row.difference] for row in rows]
        yield from table(["", "level", "objective", "ours (official)", "published ± std", "difference"], cells, left=1)
    elif section.published_note:
        yield from ("", escape(section.published_note))


def _aggregate(section: Section) -> Iterator[str]:
    for found in section.aggregate:
        yield from ("", f"### {escape(found.title)}", "")
        yield from table(found.heads, found.rows, left=1)
    if section.aggregate:
        yield from ("", f"{AGGREGATE_SOURCE}. {AGGREGATE_NOTE}")


def _training(section: Section) -> Iterator[str]:
    yield from ("", "### How far from convergence", "")
    cells = [[line.trial.key, line.column, str(line.trial.spec.get("seed", "–")), line.steps_text,
              line.samples_text, line.weights_text, line.speed_text, line.wall_text, line.processor_text,
              line.slope_text, line.verdict] for line in section.progress]  # fmt: skip
    heads = [
        "trial",
        "objective",
        "seed",
        "steps",
        "images seen",
        "weights",
        "steps/s",
        "wall time",
        "processor time",
        "ELBO slope, nats per 1000 steps",
        "verdict",
    ]
    yield from table(heads, cells, left=2)
    yield from ("", f"{TRAINING_NOTE[:1].upper()}{TRAINING_NOTE[1:]}.", "")
    yield from (
        f"- weights of {escape(column)}: {escape(weights)}" for column, weights in weights_lines(section.progress)
    )


_SPECIAL = re.compile(
    r"[\\`*|$]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # between letters it is only itself, as in mnist_a
    r"|~(?=~)|(?<=~)~"
    r"|\](?=[(\[:])"
)


def escape(text: str) -> str:
    """Text as it is, in one line: nothing in it is Markdown or HTML.

    >>> escape("mnist_a *x* <b> [-0.1, +4.1] [link](url)")
    'mnist_a \\\\*x\\\\* &lt;b&gt; [-0.1, +4.1] [link\\\\](url)'
    """
    text = _SPECIAL.sub(lambda found: f"\\{found.group()}", text)
    text = re.sub(r"&(?=[#\w])", "&amp;", text).replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\n", " ")
