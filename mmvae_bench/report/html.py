"""The report as one HTML file that needs nothing else: styles, figures and pictures are inside it."""

from __future__ import annotations

import base64
import re
from collections import Counter
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..base.files import tail, write_text
from .aggregate import NOTE as AGGREGATE_NOTE
from .aggregate import SOURCE as AGGREGATE_SOURCE
from .aggregate import aggregate_tables
from .explanations import explain_metrics, explain_protocols
from .facts import PROVENANCE
from .figures import NUM_COLORS, curves_figure, latent_plane_figure, score_curves_figure, scores_figure, standalone
from .grouping import Column
from .layout import (
    TextRow,
    caption,
    columns_differ_in_steps,
    count_states,
    difference_rows,
    published_texts,
    seeds_text,
    setting_lines,
    text_row,
    text_rows,
)
from .notes import judges, progress, warnings
from .published import SOURCE
from .selection import RULE, candidates
from .style import DASH, number
from .table import Comparison, Section
from .trials import TrialRecord


def render_html(comparison: Comparison) -> str:
    """The page, as text."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["minus"] = lambda text: text.replace("-", "\N{MINUS SIGN}")
    labels = dict.fromkeys(column.label for section in comparison.sections for column in section.columns)
    colors = {label: index % NUM_COLORS for index, label in enumerate(labels)}
    done = [trial for trial in comparison.trials if trial.state == "done"]
    metrics = {row.metric for section in comparison.sections for row in section.rows}
    protocols = {protocol for section in comparison.sections for protocol in section.protocols}
    context = {
        "name": comparison.name,
        "states": count_states(comparison),
        "sources": comparison.sources,
        "sections": [
            _section(section, colors, place) | {"selection": candidates(section, comparison.sections)}
            for place, section in enumerate(comparison.sections)
        ],
        "selection_rule": RULE,
        "metrics": explain_metrics(metrics),
        "protocols": explain_protocols(protocols),
        "judges": [_judge(judge.name, judge.fingerprint, judge.accuracy, judge.mean) for judge in judges(done)],
        "unfinished": [_unfinished(trial) for trial in comparison.unfinished],
        "unstarted": comparison.unstarted,
        "provenance": _provenance(done),
    }
    return templates.get_template("page.html").render(context)


def write_figures(comparison: Comparison, folder: Path) -> list[Path]:
    """Writes the page's figures as files too, light, to be shown elsewhere: ``<table>-<figure>.svg``."""
    labels = dict.fromkeys(column.label for section in comparison.sections for column in section.columns)
    colors = {label: index % NUM_COLORS for index, label in enumerate(labels)}
    style = (Path(__file__).parent / "style.html").read_text()
    kinds = {
        "scores": scores_figure,
        "elbo-curves": curves_figure,
        "score-curves": score_curves_figure,
        "latent-plane": latent_plane_figure,
    }
    paths = []
    for section in comparison.sections:
        for kind, draw in kinds.items():
            svg = draw(section, colors)
            if svg is not None:
                name = re.sub(r"[^\w.-]+", "-", section.title).strip("-")
                paths.append(folder / f"{name}-{kind}.svg")
                write_text(paths[-1], standalone(svg, style))
    return paths


def _section(section: Section, colors: dict[str, int], place: int) -> dict[str, Any]:
    others = section.protocols[1:]
    return {
        "id": f"table-{place}",
        "title": section.title,
        "settings": setting_lines(section),
        "warnings": warnings(section),
        "columns": [_column(section, index, colors) for index in range(len(section.columns))],
        "main": _table(section, section.headline),
        "others": [_table(section, protocol) for protocol in others],
        "by_attribute": _grouped([text_row(row) for row in section.by_attribute]),
        "differences": difference_rows(section, section.headline),
        "published": published_texts(section),
        "published_note": section.published_note,
        "source": SOURCE,
        "aggregate": aggregate_tables(section),
        "aggregate_source": f"{AGGREGATE_SOURCE}. {AGGREGATE_NOTE}",
        "plane_figure": _markup(latent_plane_figure(section, colors)),
        "scores_figure": _markup(scores_figure(section, colors)),
        "curves_figure": _markup(curves_figure(section, colors)),
        "score_curves_figure": _markup(score_curves_figure(section, colors)),
        "samples": _samples(section.columns, colors, first=True),
        "more_samples": _samples(section.columns, colors, first=False),
        "progress": [(line, colors[line.column], duration(line.wall_seconds)) for line in progress(section)],
    }


def _column(section: Section, index: int, colors: dict[str, int]) -> dict[str, Any]:
    column = section.columns[index]
    steps = f"{column.steps} steps" if columns_differ_in_steps(section) else ""
    extra = column.label.removeprefix(column.objective).strip()
    notes = [note for note in (extra, seeds_text(section, index), steps) if note]
    return {"name": column.objective, "label": column.label, "notes": notes, "color": colors[column.label]}


def _table(section: Section, protocol: str | None) -> dict[str, Any]:
    groups = _grouped(text_rows(section, protocol))
    return {"protocol": protocol, "caption": caption(section, protocol), "groups": groups}


def _grouped(rows: list[TextRow]) -> list[list[TextRow]]:
    """Rows of one metric together."""
    groups: dict[str, list[TextRow]] = {}
    for row in rows:
        groups.setdefault(row.label, []).append(row)
    return list(groups.values())


def _samples(columns: tuple[Column, ...], colors: dict[str, int], *, first: bool) -> list[dict[str, Any]]:
    """The sample grids of the first finished seed of each column, or of the others."""
    found = []
    for column in columns:
        for trial in column.done[:1] if first else column.done[1:]:
            try:
                data = (trial.directory / "samples.png").read_bytes()
            except OSError:
                continue
            uri = "data:image/png;base64," + base64.b64encode(data).decode()
            found.append({"label": column.label, "seed": trial.spec.get("seed"), "uri": uri,
                          "color": colors[column.label]})  # fmt: skip
    return found


def _judge(name: str, fingerprint: str, accuracy: tuple[tuple[str, float], ...], mean: float) -> dict[str, Any]:
    rows = [(attribute, number(value)) for attribute, value in accuracy]
    return {"name": name, "fingerprint": fingerprint, "rows": rows, "mean": number(mean)}


def _unfinished(trial: TrialRecord) -> dict[str, Any]:
    status = trial.status
    return {
        "key": trial.key,
        "label": trial.label,
        "state": trial.state,
        "at": f"step {status.step:,} of {status.steps:,}" if status.steps else "",
        "problem": trial.problem,
        "log": str(trial.log) if trial.log.exists() else None,
        "tail": "\n".join(tail(trial.log, num_lines=15)) if trial.state in ("failed", "damaged") else "",
    }


def _provenance(done: list[TrialRecord]) -> list[tuple[str, str]]:
    """What the numbers were made with; where trials differ, each value and how often."""
    made = (*PROVENANCE, ("created", "made"))
    facts = [(label, [trial.section("provenance").get(key) for trial in done]) for key, label in made]
    # Where the weights were asked counts where it is another machine, or other code.
    facts += [
        (f"evaluated: {label}", [trial.section("evaluated_on").get(key) for trial in done])
        for key, label in PROVENANCE
        if key != "precision"
        and any(trial.section("evaluated_on").get(key) != trial.section("provenance").get(key) for trial in done)
        and any("evaluated_on" in trial.result for trial in done)
    ]
    facts.append(("dataset", [trial.section("dataset").get("fingerprint") for trial in done]))
    facts.append(("pixels", [trial.section("dataset").get("pixel_hash") for trial in done]))
    facts.append(("classifier", [trial.section("classifier").get("fingerprint") for trial in done]))
    facts.append(("classifier weights", [trial.section("classifier").get("weights") for trial in done]))
    facts += [
        (f"seed of the {name}", [trial.section("seeds").get(name) for trial in done])
        for name in ("training", "split", "evaluation")
    ]
    lines = []
    for label, values in facts:
        known = [_plain(value) for value in values if value is not None]
        counts = Counter(known)
        if label == "made" and len(counts) > 1:
            lines.append((label, f"{min(known)} to {max(known)}"))
        elif len(counts) > 1:
            lines.append((label, ", ".join(f"{value} ({count})" for value, count in counts.most_common())))
        elif known:
            lines.append((label, known[0]))
    for what in ("training", "evaluation"):
        section = {"training": "training", "evaluation": "evaluated_on"}[what]
        times = [seconds for trial in done if (seconds := trial.section(section).get("wall_seconds")) is not None]
        lines += [(f"{what} time, all trials", duration(sum(times)))] if times else []
    return lines


def _plain(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def duration(seconds: float) -> str:
    """Seconds in words.

    >>> duration(42), duration(125), duration(7260)
    ('42 s', '2 min 5 s', '2 h 1 min')
    """
    if seconds != seconds:
        return DASH
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _markup(svg: str | None) -> Markup | None:
    return None if svg is None else Markup(svg)
