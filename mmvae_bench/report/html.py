"""The report as one HTML file that needs nothing else: styles, figures and pictures are inside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from ..base.files import tail, write_text
from ..base.printable import printable
from ..runs.store import DAMAGED
from .aggregate import NOTE as AGGREGATE_NOTE
from .aggregate import SOURCE as AGGREGATE_SOURCE
from .board import board, first_score, headline_rows, order
from .comparison import Comparison, Section
from .figures import standalone
from .grouping import Column
from .notes import Judge, weights_lines
from .published import SOURCE, published_texts
from .selection import RULE
from .sheets import sheet_uri
from .text import (
    BOLD_NOTE,
    INTERVAL_NOTE,
    REFERENCE_NOTE,
    TRAINING_NOTE,
    TextRow,
    caption,
    columns_differ_in_steps,
    difference_rows,
    number,
    seeds_text,
    setting_lines,
    text_row,
    text_rows,
)
from .trials import TrialRecord

_PICTURE_BYTES = 16 * 2**20
_NAME_CHARACTERS = 100
"""The longest name of a figure's file, without its kind."""


def template(name: str) -> Template:
    """A page of this room: escaped, strict, with the filter ``minus``."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["minus"] = lambda text: text.replace("-", "\N{MINUS SIGN}")
    return templates.get_template(name)


def render_html(comparison: Comparison) -> str:
    """The page, as text."""
    context = {
        "name": comparison.name,
        "states": comparison.states,
        "sources": comparison.sources,
        "sections": [_section(comparison, place) for place in range(len(comparison.sections))],
        "selection_rule": RULE,
        "metrics": comparison.metrics,
        "protocols": comparison.protocols,
        "judges": [_judge(judge) for judge in comparison.judges],
        "unfinished": [_unfinished(trial) for trial in comparison.unfinished],
        "unstarted": comparison.unstarted,
        "provenance": comparison.provenance,
        "interval_note": INTERVAL_NOTE,
        "bold_note": BOLD_NOTE,
        "reference_note": f"{REFERENCE_NOTE[:1].upper()}{REFERENCE_NOTE[1:]}",
        "training_note": f"{TRAINING_NOTE[:1].upper()}{TRAINING_NOTE[1:]}",
    }
    return template("page.html").render(context)


def write_figures(comparison: Comparison, folder: Path) -> None:
    """Writes the page's figures as files too, in light colours, for use elsewhere: ``<table>-<figure>.svg``."""
    style = (Path(__file__).parent / "style.html").read_text(encoding="utf-8")
    for section, figures in zip(comparison.sections, comparison.figures, strict=True):
        name = re.sub(r"[^\w.-]+", "-", section.title).strip("-")[:_NAME_CHARACTERS]
        for kind, svg in figures.items():
            write_text(folder / f"{name}-{kind}.svg", standalone(svg, style))


def _section(comparison: Comparison, place: int) -> dict[str, Any]:
    section, colors, figures = comparison.sections[place], comparison.colors, comparison.figures[place]
    others = section.protocols[1:]
    main = headline_rows(section)
    by = first_score(main)
    best_first = order(section, by)
    samples = _samples(tuple(section.columns[index] for index in best_first), colors, first=True)
    return {
        "id": f"table-{place}",
        "title": section.title,
        "settings": setting_lines(section),
        "warnings": section.warnings,
        "columns": [_column(section, index, colors) for index in range(len(section.columns))],
        "board": board(
            section, main, best_first, title=section.title, caption=caption(section, section.headline), by=by
        ),
        "main": _table(section, section.headline),
        "others": [_table(section, protocol) for protocol in others],
        "by_attribute": _grouped([text_row(row) for row in section.by_attribute]),
        "differences": difference_rows(section, section.headline),
        "published": published_texts(section, section.published),
        "published_note": section.published_note,
        "source": SOURCE,
        "aggregate": section.aggregate,
        "aggregate_source": f"{AGGREGATE_SOURCE}. {AGGREGATE_NOTE}",
        "plane_figure": _markup(figures.get("latent-plane")),
        "scores_figure": _markup(figures.get("scores")),
        "curves_figure": _markup(figures.get("elbo-curves")),
        "score_curves_figure": _markup(figures.get("score-curves")),
        "selection": section.selection,
        "sheet": samples[:1],
        "samples": samples[1:],
        "more_samples": _samples(section.columns, colors, first=False),
        "progress": [(line, colors[line.column]) for line in section.progress],
        "weights": weights_lines(section.progress),
    }


def _column(section: Section, index: int, colors: Mapping[str, int]) -> dict[str, Any]:
    column = section.columns[index]
    steps = f"{column.total_steps} steps" if columns_differ_in_steps(section) else ""
    extra = column.label.removeprefix(column.objective).strip()
    notes = [note for note in (extra, seeds_text(section, index), steps) if note]
    return {"name": column.objective, "label": column.label, "notes": notes, "color": colors[column.label]}


def _table(section: Section, protocol: str | None) -> dict[str, Any]:
    groups = _grouped(text_rows(section, protocol))
    return {"protocol": protocol, "caption": caption(section, protocol), "groups": groups}


def _grouped(rows: list[TextRow]) -> list[list[TextRow]]:
    """Groups the rows by metric."""
    groups: dict[str, list[TextRow]] = {}
    for row in rows:
        groups.setdefault(row.label, []).append(row)
    return list(groups.values())


def _samples(columns: tuple[Column, ...], colors: Mapping[str, int], *, first: bool) -> list[dict[str, Any]]:
    """The sample grids of the first finished seed of each column, or of the others."""
    found = []
    for column in columns:
        for trial in column.done[:1] if first else column.done[1:]:
            if (uri := sheet_uri(trial, at_most=_PICTURE_BYTES)) is not None:
                found.append({"label": column.label, "seed": trial.spec.get("seed"), "uri": uri,
                              "color": colors[column.label]})  # fmt: skip
    return found


def _judge(judge: Judge) -> dict[str, Any]:
    rows = [(attribute, number(value)) for attribute, value in judge.accuracy]
    return {"name": judge.name, "fingerprint": judge.fingerprint, "rows": rows, "mean": number(judge.mean)}


def _unfinished(trial: TrialRecord) -> dict[str, Any]:
    status = trial.status
    return {
        "key": trial.key,
        "label": trial.label,
        "state": trial.state,
        "at": f"step {status.step:,} of {status.steps:,}" if status.steps else "",
        "problem": trial.problem,
        "log": printable(str(trial.log)) if trial.log.is_file() and not trial.log.is_symlink() else None,
        "tail": "\n".join(tail(trial.log, num_lines=15)) if trial.state in ("failed", DAMAGED) else "",
    }


def _markup(svg: str | None) -> Markup | None:
    return None if svg is None else Markup(svg)
