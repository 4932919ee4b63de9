"""The report as one HTML file that needs nothing else: styles, figures and pictures are inside it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from ..base.files import tail, write_text
from ..base.printable import printable
from ..runs.names import FIGURES_FOLDER, LOG_FILE, QUERIES_FILE, REPORT_FOLDER, RESULTS_FILE, SAMPLES_FILE
from ..runs.store import DAMAGED
from .aggregate import NOTE as AGGREGATE_NOTE
from .aggregate import SOURCE as AGGREGATE_SOURCE
from .board import board, first_score, headline_rows, in_short, order, standing
from .comparison import Comparison, Section
from .confusion import by_column, most_wrong
from .figures import standalone
from .notes import Judge, weights_lines
from .pictures import Sheets, add_pictures, at_a_glance, size_of
from .published import SOURCE, published_texts
from .selection import RULE
from .text import (
    BOLD_NOTE,
    INTERVAL_NOTE,
    REFERENCE_NOTE,
    TRAINING_NOTE,
    TextRow,
    caption,
    column_head,
    columns_differ_in_steps,
    difference_rows,
    minus,
    number,
    seeds_text,
    setting_lines,
    text_row,
    text_rows,
)
from .trials import TrialRecord

MOST_BYTES = 5_000_000
"""The largest page: pictures are left out where they would make it larger."""
_RESERVE = 50_000
"""Left for the words around pictures."""
_FOR_PICTURES = 800_000
"""Kept for pictures where a run has any: charts are left out before them, the least important first."""
_LEFT_FIRST = ("confusion", "loss-parts", "mismatch-correctness", "elbo-curves", "score-curves", "words", "scores",
               "latent-plane", "amounts", "coverage-correctness")  # fmt: skip
"""Kinds of figures, in the order in which they give way."""
_WORDS_OF_A_LINK, _WORDS_OF_A_NOTE = 50, 150
"""Bytes of the words that say what is left out: of each link after the first, and of the first with its paragraph."""
WIDEST = 8
"""Objectives beside each other in a table that has them as columns."""
_NAME_CHARACTERS = 100
"""The longest name of a figure's file, without its kind."""
_BESIDE = (
    ("table.csv", "table.csv"), ("table.md", "table.md"), ("table.tex", "table.tex"),
    (RESULTS_FILE, f"../{RESULTS_FILE}"), (QUERIES_FILE, f"../{QUERIES_FILE}"),
)  # fmt: skip
"""The files that are written with the page, and their addresses from it."""


_AT_A_GLANCE, _MOST_RESULTS = 6, 4
"""Images and sentences at the head of the page."""
_FIGURES = {
    "scores": "scores_figure",
    "amounts": "amounts_figure",
    "coverage-correctness": "scatter_figure",
    "mismatch-correctness": "mismatch_figure",
    "confusion": "confusion_figure",
    "words": "words_figure",
    "loss-parts": "losses_figure",
    "elbo-curves": "curves_figure",
    "score-curves": "score_curves_figure",
    "latent-plane": "plane_figure",
}
"""What the page calls each kind of figure."""


def template(name: str) -> Template:
    """A page of this room: escaped, strict, with the filters ``minus`` and ``between_tags``."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["minus"] = minus
    # Of a text between tags: quotation marks need no escape there, and commands are full of them.
    templates.filters["between_tags"] = lambda text: Markup(escape(text, quote=False))
    return templates.get_template(name)


def render_html(comparison: Comparison) -> str:
    """The page, as text; pictures and the table of all scores are in it as far as they fit into ``MOST_BYTES``."""
    sections = [_section(comparison, place) for place in range(len(comparison.sections))]
    results = [line for section in comparison.sections for line in _result(section)]
    context: dict[str, Any] = {
        "name": comparison.name,
        "summary": comparison.summary.rstrip("."),
        "states": comparison.states,
        "results": results[:_MOST_RESULTS],
        "more_results": len(results[_MOST_RESULTS:]),
        "glance": None,
        "sources": comparison.sources,
        "sections": sections,
        "selection_rule": RULE,
        "metrics": comparison.metrics,
        "protocols": comparison.protocols,
        "judges": [_judge(judge) for judge in comparison.judges],
        "unfinished": [_unfinished(trial, comparison) for trial in comparison.unfinished],
        "unstarted": comparison.unstarted,
        "provenance": comparison.provenance,
        "interval_note": INTERVAL_NOTE,
        "bold_note": BOLD_NOTE,
        "reference_note": f"{REFERENCE_NOTE[:1].upper()}{REFERENCE_NOTE[1:]}",
        "training_note": f"{TRAINING_NOTE[:1].upper()}{TRAINING_NOTE[1:]}",
        "table_gz": "",
        "beside": _BESIDE,
    }
    page = template("page.html")
    room = MOST_BYTES - _RESERVE - len(page.render(context).encode(errors="backslashreplace"))
    kept = _FOR_PICTURES if any((trial.directory / SAMPLES_FILE).is_file() for trial in comparison.trials) else 0
    room += _leave_out(comparison, sections, kept - room)
    packed = _packed(comparison.frame().to_csv(index=False)) if sections else ""
    if len(packed) < room / 2:
        context["table_gz"] = packed
        room -= len(packed)
    sheets = Sheets()
    glance, size = _glance(comparison, sections, sheets)
    if size < room / 2:
        room -= size
    else:
        glance = None
    add_pictures(comparison, sections, room, sheets)
    # It leads to the images of which it is the first.
    if glance is not None and sections[glance["place"]]["pictures"] is not None:
        context["glance"] = glance
    return page.render(context)


def _result(section: Section) -> Iterator[dict[str, str]]:
    """The message of a table, if it has a score to order by."""
    if (by := first_score(headline_rows(section))) is not None:
        yield {"title": section.title, "text": in_short(section, by)}


def _glance(
    comparison: Comparison, contexts: Sequence[Mapping[str, Any]], sheets: Sheets
) -> tuple[dict[str, Any] | None, int]:
    """One image per query of the best objective of the first table whose sheets say what is in them, and the bytes that
    it takes. With the best one's sheet missing it is of another, which is not called the best."""
    for place, (section, context) in enumerate(zip(comparison.sections, contexts, strict=True)):
        if (found := at_a_glance(section, context["best_first"], _AT_A_GLANCE, sheets)) is not None:
            label, images = found
            glance = {"place": place, "id": context["id"], "title": context["title"], "label": label,
                      "standing": context["standings"].get(label, ""), "images": images}  # fmt: skip
            return glance, size_of(images)
    return None, 0


def _leave_out(comparison: Comparison, sections: Sequence[dict[str, Any]], excess: int) -> int:
    """Takes figures off the page until it is ``excess`` bytes smaller; returns how many bytes smaller it is."""
    saved = 0
    names = figure_names([section.title for section in comparison.sections])
    for kind in _LEFT_FIRST:
        for place in reversed(range(len(sections))):
            svg = comparison.figures[place].get(kind)
            if saved >= excess or svg is None:
                continue
            sections[place][_FIGURES[kind]] = None
            address = f"{FIGURES_FOLDER}/{quote(f'{names[place]}-{kind}.svg')}"
            links = sections[place]["left_out"]
            saved += len(svg.encode()) - len(address) - (_WORDS_OF_A_LINK if links else _WORDS_OF_A_NOTE)
            links.append((kind.replace("-", " "), address))
    return saved


def _packed(text: str) -> str:
    """A text compressed, the same bytes each time, for a ``data:`` URI."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def write_figures(comparison: Comparison, folder: Path) -> list[Path]:
    """Writes the page's figures as files too, in light colours, for use elsewhere: ``<table>-<figure>.svg``; returns
    these files."""
    style = (Path(__file__).parent / "style.html").read_text(encoding="utf-8")
    titles = [section.title for section in comparison.sections]
    written = []
    for name, figures in zip(figure_names(titles), comparison.figures, strict=True):
        for kind, svg in figures.items():
            written.append(folder / f"{name}-{kind}.svg")
            write_text(written[-1], standalone(svg, style))
    return written


def figure_names(titles: Sequence[str]) -> list[str]:
    """What the names of the figures of each table begin with: its title, with a part of its SHA-256 where the title is
    cut, or another is written alike. Titles differ from each other, and so do these names."""
    names = [re.sub(r"[^\w.-]+", "-", title).strip("-") for title in titles]
    # Some file systems take capitals for small letters.
    alike = Counter(name.casefold() for name in names)
    return [
        name if len(name) <= _NAME_CHARACTERS and alike[name.casefold()] == 1
        else f"{name[:_NAME_CHARACTERS - 9]}-{hashlib.sha256(title.encode(errors='backslashreplace')).hexdigest()[:8]}"
        for name, title in zip(names, titles, strict=True)
    ]  # fmt: skip


def _section(comparison: Comparison, place: int) -> dict[str, Any]:
    section, colors, figures = comparison.sections[place], comparison.colors, comparison.figures[place]
    others = section.protocols[1:]
    main = headline_rows(section)
    by = first_score(main)
    best_first = order(section, by)
    return {
        "id": f"table-{place}",
        "title": section.title,
        "world": " · ".join(section.setting.world),
        "split": section.setting.split,
        "best_first": best_first,
        "standings": {column.label: standing(by, index) for index, column in enumerate(section.columns)},
        "settings": setting_lines(section),
        "warnings": section.warnings,
        "columns": [_column(section, index, colors) for index in range(len(section.columns))],
        "board": board(
            section, main, best_first, title=section.title, caption=caption(section, section.headline), by=by
        ),
        "main": _table(section, section.headline, colors),
        "others": [_table(section, protocol, colors) for protocol in others],
        "by_attribute": _parts(section, [text_row(row) for row in section.by_attribute], colors),
        "pairs": pairs_json(section, best_first),
        "differences": difference_rows(section, section.headline),
        "published": published_texts(section, section.published),
        "published_note": section.published_note,
        "source": SOURCE,
        "aggregate": section.aggregate,
        "aggregate_source": f"{AGGREGATE_SOURCE}. {AGGREGATE_NOTE}",
        "confusions": _confusions(section, colors),
        **{name: _markup(figures.get(kind)) for kind, name in _FIGURES.items()},
        "selection": section.selection,
        "left_out": [],
        "pictures": None,
        "sheet": [],
        "samples": [],
        "more_samples": [],
        "no_samples": None,
        "progress": [
            (line, colors[line.column], links_of(line.trial, comparison.directory)) for line in section.progress
        ],
        "weights": weights_lines(section.progress),
    }


def _confusions(section: Section, colors: Mapping[str, int]) -> list[dict[str, Any]]:
    """The largest confusions of each objective, in words."""
    return [
        {
            "label": label,
            "color": colors[label],
            "level": tables[0].level,
            "wrong": [
                {"what": f"{one.attribute}: {one.asked} read as {one.read}", "share": number(one.share),
                 "real": "–" if one.real is None else number(one.real)}
                for one in most_wrong(tables)
            ],
        }
        for label, tables in by_column(section)
    ]  # fmt: skip


def _column(section: Section, index: int, colors: Mapping[str, int]) -> dict[str, Any]:
    column = section.columns[index]
    steps = f"{column.total_steps} steps" if columns_differ_in_steps(section) else ""
    extra = column.label.removeprefix(column.objective).strip()
    notes = [note for note in (extra, seeds_text(section, index), steps) if note]
    return {"name": column.objective, "label": column.label, "head": column_head(section, index), "notes": notes,
            "color": colors[column.label]}  # fmt: skip


def _table(section: Section, protocol: str | None, colors: Mapping[str, int]) -> dict[str, Any]:
    parts = _parts(section, text_rows(section, protocol), colors)
    return {"protocol": protocol, "caption": caption(section, protocol), "parts": parts}


def _parts(section: Section, rows: list[TextRow], colors: Mapping[str, int]) -> list[dict[str, Any]]:
    """A table of scores, or several next to each other, so that none is wider than a sheet of paper."""
    if not rows:
        return []
    total = len(section.columns)
    number = -(-total // WIDEST) if total > WIDEST + 1 else 1
    ends = [round(total * place / number) for place in range(number + 1)]
    return [
        {
            "start": start,
            "stop": stop,
            "which": f"; objectives {start + 1} to {stop} of {total}" if number > 1 else "",
            "columns": [_column(section, index, colors) for index in range(start, stop)],
            "groups": _grouped(rows),
        }
        for start, stop in pairwise(ends)
    ]


def _grouped(rows: list[TextRow]) -> list[list[TextRow]]:
    """Groups the rows by metric."""
    groups: dict[str, list[TextRow]] = {}
    for row in rows:
        groups.setdefault(row.label, []).append(row)
    return list(groups.values())


def pairs_json(section: Section, best_first: Sequence[int]) -> str:
    """Every two objectives as JSON, for the script; empty where nothing can be compared."""
    if not any(pair for row in section.pairs for pair in row.pairs):
        return ""
    names = [column.label for column in section.columns]
    rows = [{"label": row.label, "level": row.level, "values": row.values, "pairs": row.pairs} for row in section.pairs]
    return json.dumps({"names": names, "best": best_first[:2], "rows": rows}, separators=(",", ":"), ensure_ascii=False)


def links_of(trial: TrialRecord, directory: Path) -> dict[str, str | None]:
    """Relative addresses, from the report, of a trial's folder and of those of its files that may be opened."""
    folder = os.path.relpath(trial.directory.resolve(), (directory / REPORT_FOLDER).resolve())
    found: dict[str, str | None] = {"folder": quote(folder) + "/"}
    for name, file in (("log", LOG_FILE), ("samples", SAMPLES_FILE)):
        path = trial.directory / file
        found[name] = quote(f"{folder}/{file}") if path.is_file() and not path.is_symlink() else None
    return found


def _judge(judge: Judge) -> dict[str, Any]:
    rows = [(attribute, number(value)) for attribute, value in judge.accuracy]
    return {"name": judge.name, "fingerprint": judge.fingerprint, "rows": rows, "mean": number(judge.mean)}


def _unfinished(trial: TrialRecord, comparison: Comparison) -> dict[str, Any]:
    status = trial.status
    return {
        "links": links_of(trial, comparison.directory),
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
