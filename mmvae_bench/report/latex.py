"""The report as LaTeX: ``table.tex``, one ``table`` per setting and protocol, to be included with ``\\input``."""

from __future__ import annotations

from collections.abc import Iterator

from .aggregate import NOTE as AGGREGATE_NOTE
from .aggregate import SOURCE as AGGREGATE_SOURCE
from .comparison import Comparison, Section
from .published import SOURCE, published_texts
from .text import (
    BOLD_NOTE,
    DASH,
    INTERVAL_NOTE,
    REFERENCE_NOTE,
    TextCell,
    caption,
    column_head,
    setting_lines,
    text_rows,
)

_SPECIAL = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
            "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", DASH: "--", "±": r"$\pm$",
            "↓": r"$\downarrow$", "<": r"\textless{}", ">": r"\textgreater{}", "·": r"$\cdot$", "×": r"$\times$",
            "|": r"$|$"}  # fmt: skip


def render_latex(comparison: Comparison) -> str:
    """The tables of a comparison; they need the packages ``booktabs`` and, for wide ones, ``graphicx``."""
    return "\n".join(_lines(comparison)) + "\n"


def escape(text: str) -> str:
    """Text with the characters that are special in LaTeX escaped.

    >>> escape("split_seed 42, 95 %")
    'split\\\\_seed 42, 95 \\\\%'
    """
    escaped = "".join(_SPECIAL.get(character, character) for character in text)
    # At the start of a row LaTeX would take a bracket for an argument of the line break before it.
    return f"{{[}}{escaped[1:]}" if escaped.startswith("[") else escaped


def _lines(comparison: Comparison) -> Iterator[str]:
    yield "% \\usepackage{booktabs}"
    if not comparison.sections:
        yield "% No trial is done yet: there is no table."
    for section in comparison.sections:
        for protocol in section.protocols or (None,):
            yield from _scores(section, protocol)
        yield from _published(section)
        yield from _aggregate(section)


def _scores(section: Section, protocol: str | None) -> Iterator[str]:
    rows = text_rows(section, protocol)
    words = "; ".join(text for name, text in setting_lines(section) if name in ("backbone", "training"))
    yield from _open(
        f"{section.title}. {caption(section, protocol)}. {words}. In % unless stated otherwise. {INTERVAL_NOTE}. "
        f"Bold: {BOLD_NOTE}. {REFERENCE_NOTE[:1].upper()}{REFERENCE_NOTE[1:]}.",
        "lr" + "r" * len(section.columns) + "rr",
    )
    heads = [escape(column_head(section, index)) for index in range(len(section.columns))]
    yield " & ".join(["", "level", *heads, "ceiling", "floor"]) + r" \\"
    yield r"\midrule"
    previous = None
    for row in rows:
        if previous not in (None, row.label):
            yield r"\addlinespace"
        label = "" if row.label == previous else escape(row.label)
        cells = [label, row.level, *map(_cell, row.cells), _number(row.ceiling), _number(row.floor)]
        yield " & ".join(cells) + r" \\"
        previous = row.label
    yield from _close()


def _published(section: Section) -> Iterator[str]:
    rows = published_texts(section, section.published)
    if rows:
        yield from _open(
            f"{section.title}. Our numbers and the published ones ({SOURCE}). Protocol official, in %; published ± "
            "one standard deviation; the difference with its 95 % interval.",
            "lrlrrr",
        )
        yield r" & level & objective & ours & published & difference \\"
        yield r"\midrule"
        for row in rows:
            numbers = map(_number, (row.ours, row.published, row.difference))
            yield " & ".join([escape(row.label), row.level, escape(row.objective), *numbers]) + r" \\"
        yield from _close()


def _aggregate(section: Section) -> Iterator[str]:
    for table in section.aggregate:
        yield from _open(
            f"{table.title}. {AGGREGATE_SOURCE}. {AGGREGATE_NOTE} ± is the longer arm of the 95 % interval.",
            "l" + "r" * (len(table.heads) - 1),
        )
        yield " & ".join(map(escape, table.heads)) + r" \\"
        yield r"\midrule"
        for first, *others in table.rows:
            yield " & ".join([escape(first), *map(_number, others)]) + r" \\"
        yield from _close()


def _open(text: str, columns: str) -> Iterator[str]:
    yield from ("", r"\begin{table}", r"\centering", rf"\caption{{{escape(text)}}}", rf"\begin{{tabular}}{{{columns}}}")
    yield r"\toprule"


def _close() -> Iterator[str]:
    yield from (r"\bottomrule", r"\end{tabular}", r"\end{table}")


def _cell(cell: TextCell) -> str:
    return rf"\textbf{{{_number(cell.text)}}}" if cell.leader else _number(cell.text)


def _number(text: str) -> str:
    """Numbers with typographic minus signs."""
    return escape(text).replace("-", "$-$") if text != DASH else escape(text)
