"""A static site of several runs: one page with a table per setting of every world, and its scores as files.

The page needs nothing else, neither a network nor its script. Beyond ``MOST_BYTES`` samples are left out, then all but
the main scores of the tables that compare least.
"""

from __future__ import annotations

import json
import shlex
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from jinja2 import Template

from ..base.errors import BenchmarkError
from ..base.files import atomic_path, clear_leftovers, write_json, write_text
from ..base.printable import printable
from ..runs.names import MERGED_FILE, PAGE_FILE, REPORT_FOLDER
from .aggregate import NOTE as AGGREGATE_NOTE
from .aggregate import SOURCE as AGGREGATE_SOURCE
from .board import board, first_score, headline_rows, leading, order, share_text
from .comparison import Comparison, Section, compare
from .gather import load
from .grouping import Column
from .html import MOST_BYTES, pairs_json, template
from .latex import render_latex
from .merge import LEADERBOARD_FILE, merge_runs
from .published import SOURCE, published_texts
from .sheets import sheet_uri
from .tables import Row
from .text import (
    BOLD_NOTE,
    INTERVAL_NOTE,
    REFERENCE_NOTE,
    caption,
    difference_rows,
    level_text,
    row_label,
    setting_lines,
    text_row,
)

PARQUET_FILE = "leaderboard.parquet"
LATEX_FILE = "leaderboard.tex"
_NOTE_BYTES = 300
"""What it takes at most to say that there is no room for samples."""
_PARTS = ("dataset", "backbone", "objective", "training", "seed")


def write_leaderboard(run_dirs: Sequence[Path], out: Path) -> Comparison:
    """Writes ``index.html`` of all runs into ``out``, and its scores as CSV, Parquet and LaTeX; the runs are only read.

    A trial that is in two of the runs counts once. Trials that differ in images, networks or training are in tables of
    their own; ``merged.json`` says which run each trial is from.

    Args:
        run_dirs: Run folders, some of whose trials may be unfinished, failed or damaged; or folders that hold no more
            of a run than its ``results.parquet``.
        out: A folder that does not exist yet, is empty, or holds an earlier leaderboard.

    Returns:
        What the page shows.

    Raises:
        BenchmarkError: as :func:`mmvae_bench.report.merge.merge_runs`, or ``out`` holds a merged report; nothing was
            written.
    """
    run = merge_runs(run_dirs, out)
    if (out / REPORT_FOLDER).exists():
        advice = "Give a new or an empty folder with --out."
        raise BenchmarkError(f"{out}: holds a merged report, which a leaderboard does not replace\n  {advice}")
    clear_leftovers(out)
    comparison = compare(load(run))
    page = render_leaderboard(comparison)
    trials = {trial.key: str(trial.directory.resolve().parent.parent) for trial in run.trials}
    write_json(out / MERGED_FILE, {"runs": [str(path.resolve()) for path in run_dirs], "trials": trials}, indent=1)
    frame = comparison.frame()
    write_text(out / LEADERBOARD_FILE, frame.to_csv(index=False))
    with atomic_path(out / PARQUET_FILE) as path:
        frame.to_parquet(path, index=False)
    write_text(out / LATEX_FILE, render_latex(comparison))
    write_text(out / PAGE_FILE, page)
    return comparison


def render_leaderboard(comparison: Comparison) -> str:
    """The page, as text."""
    page = template("leaderboard.html")
    context = _context(comparison)
    first = [world["tables"][0] for world in context["worlds"]]
    size = _cut_to_fit(page, context, at_most=MOST_BYTES - _NOTE_BYTES * len(first))
    cut = any(table["cut"] for world in context["worlds"] for table in world["tables"])
    room = 0 if cut else MOST_BYTES - size
    for table in first:
        room -= _add_sample(table, room)
    return page.render(context)


def _cut_to_fit(page: Template, context: Mapping[str, Any], *, at_most: int) -> int:
    """Leaves out the other scores of as many tables as it takes, of those that compare least first; returns the size of
    the page in bytes, which is larger than ``at_most`` only where nothing is left to cut."""
    tables = [table for world in context["worlds"] for table in world["tables"] if table["others"]]
    tables.sort(key=lambda table: table["compared"], reverse=True)

    def size(number: int) -> int:
        for place, table in enumerate(reversed(tables)):
            table["cut"] = place < number
        return len(page.render(context).encode(errors="backslashreplace"))

    if (whole := size(0)) <= at_most:
        return whole
    # The last number is not tried: where nothing is enough, all are left out.
    return size(bisect_left(range(len(tables)), x=True, key=lambda number: size(number) <= at_most))


def _context(comparison: Comparison) -> dict[str, Any]:
    worlds: dict[str, list[Section]] = {}
    for section in comparison.sections:
        worlds.setdefault(_world(section), []).append(section)
    for sections in worlds.values():
        sections.sort(key=_place)
    places = {id(section): place for place, section in enumerate(comparison.sections)}
    tested_trials = {
        trial.key
        for section in comparison.sections
        if section.setting.partition == "test"
        for column in section.columns
        for trial in column.trials
    }
    tables = {
        title: [
            _table(section, title, f"table-{places[id(section)]}", tested_trials=tested_trials) for section in sections
        ]
        for title, sections in worlds.items()
    }
    overview = [line for found in tables.values() for table in found for line in table["overview"]]
    # A table of the validation partition selects settings; it leads nowhere that has been tested.
    tested = {line["world"] for line in overview if line["partition"] == "test"}
    return {
        "lead": _lead(comparison, len(worlds)),
        "overview": [line for line in overview if line["partition"] == "test" or line["world"] not in tested],
        "worlds": [
            {"id": f"world-{place}", "title": title, "split": worlds[title][0].setting.split, "tables": found}
            for place, (title, found) in enumerate(tables.items())
        ],
        "source": SOURCE,
        "aggregate_source": f"{AGGREGATE_SOURCE}. {AGGREGATE_NOTE}",
        "interval_note": INTERVAL_NOTE,
        "bold_note": BOLD_NOTE.replace("of its row", "of its column"),
        "reference_note": f"{REFERENCE_NOTE[:1].upper()}{REFERENCE_NOTE[1:]}",
        "metrics": comparison.metrics,
        "protocols": comparison.protocols,
        "missing": comparison.missing,
        "sources": comparison.sources,
        "provenance": comparison.provenance,
    }


def _place(section: Section) -> tuple[bool, int, int]:
    """Where a table stands in its world: what was tested before what was selected on, and where most objectives are
    compared, with most seeds, first."""
    objectives, seeds = _compared(section)
    return section.setting.partition != "test", -objectives, -seeds


def _compared(section: Section) -> tuple[int, int]:
    """How many objectives a table compares, and the largest number of training seeds of any."""
    done = [column for column in section.columns if column.done]
    return len({column.objective for column in done}), max((len(column.done) for column in done), default=0)


def _world(section: Section) -> str:
    """Dataset, where its pixels come from, split, and what y is unless it is a concept."""
    setting = section.setting
    view = dict(setting.dataset_params).get("view", "attributes")
    return " · ".join([*setting.world, setting.split, *([view] if view != "attributes" else [])])


def _apart(section: Section) -> str:
    """What tells a table from others of its world: the title without what is common to them; may be empty."""
    common = len(section.setting.world) + 1
    return " · ".join(section.title.split(" · ")[common:])


def _lead(comparison: Comparison, num_worlds: int) -> str:
    names = {column.objective for section in comparison.sections for column in section.columns if column.done}
    counts = ((num_worlds, "world"), (len(names), "objective"), (len(comparison.sources), "run"))
    words = [f"{number} {what}{'' if number == 1 else 's'}" for number, what in counts]
    return f"{', '.join(words)}; {comparison.states}."


def _table(section: Section, world: str, name: str, *, tested_trials: Set[str]) -> dict[str, Any]:
    """What the page says of one setting. Where trials have a table of their test scores too, that of their validation
    scores is there to show what was selected: it has the main scores alone, and no commands."""
    brief = section.setting.partition != "test" and all(
        trial.key in tested_trials for column in section.columns for trial in column.trials
    )
    main = headline_rows(section)
    by = first_score(main)
    columns = order(section, by)
    title = _apart(section)
    return {
        "id": name,
        "title": title,
        "overview": [] if by is None else [_overview(section, by, name) | {"world": world, "title": title}],
        "warnings": section.warnings,
        "board": board(
            section, main, columns, title=f"{world}, {title}".rstrip(", "), caption=_caption(section), by=by
        ),
        "protocol": section.headline,
        "pairs": pairs_json(section, columns),
        "brief": brief,
        "compared": _compared(section),
        "cut": False,
        "others": [] if brief else list(_others(section, main, columns, f"{world}, {title}".rstrip(", "))),
        "columns": [section.columns[index] for index in columns],
        "sample": None,
        "no_sample": None,
        "published": published_texts(section, section.published),
        "published_note": section.published_note,
        "aggregate": section.aggregate,
        "differences": difference_rows(section, section.headline),
        "settings": setting_lines(section),
        "judges": [judge.text for judge in section.judges],
        "commands": [] if brief else [_command(section.columns[index]) for index in columns],
    }


def _caption(section: Section) -> str:
    steps = ", ".join(dict.fromkeys(column.total_steps for column in section.columns))
    return f"{caption(section, section.headline)}; networks {section.setting.backbone}, {steps} steps"


def _overview(section: Section, by: Row, name: str) -> dict[str, Any]:
    best = by.best if by.best is not None else next(place for place, cell in enumerate(by.cells) if cell is not None)
    seeds = {len(column.done) for column in section.columns if column.done}
    return {
        "id": name,
        "partition": section.setting.partition,
        "score": f"{row_label(by)}{f', level {level_text(by.level)}' if by.level is not None else ''}",
        "best": leading(section, by),
        "value": text_row(by).cells[best].text,
        "share": share_text(by.cells[best], by.metric),
        "objectives": len({column.objective for column in section.columns if column.done}),
        "seeds": "–".join(map(str, sorted({min(seeds), max(seeds)}))),
    }


def _others(section: Section, main: Sequence[Row], columns: Sequence[int], where: str) -> Iterator[dict[str, Any]]:
    """The scores that are not in the main table, with the objectives in the same order; ``where``: the table's name."""
    shown = {id(row) for row in main}
    rest: Sequence[Row] = [row for row in section.of(section.headline) if id(row) not in shown]
    asked = [("Other scores", section.headline, rest)] if rest else []
    asked += [(f"Protocol {name}", name, section.of(name)) for name in section.protocols[1:]]
    for words, protocol, rows in asked:
        found = board(section, rows, columns, title=f"{words}: {where}", caption=caption(section, protocol))
        yield found | {"summary": words, "protocol": protocol}


def _command(column: Column) -> dict[str, str]:
    """What trains and evaluates one of the trials of a row, and which trials those are."""
    trials = column.done or column.trials
    spec = {part: trials[0].spec[part] for part in _PARTS if part in trials[0].spec}
    settings = spec | {"evaluation": trials[0].section("evaluation")} if column.done else spec
    # Hundreds of these are on a page.
    text = json.dumps(settings, separators=(",", ":"))
    words = ["mmvae-bench", "train", "--set-json", text, "--out", f"runs/{trials[0].key}"]
    seeds = [str(trial.spec.get("seed")) for trial in trials]
    return {
        "label": column.label,
        "seeds": f"seed{'' if len(seeds) == 1 else 's'} {', '.join(seeds)}",
        "trials": ", ".join(f"{printable(trial.directory.parent.parent.name)}/{trial.key}" for trial in trials),
        "text": shlex.join(words),
    }


def _add_sample(table: dict[str, Any], room: int) -> int:
    """Gives a table the sheet of its best objective that has one; returns how many bytes it takes."""
    for column in table["columns"]:
        for trial in column.done[:1]:
            if (uri := sheet_uri(trial, at_most=MOST_BYTES)) is None:
                continue
            if len(uri) + 1000 > room:
                table["no_sample"] = (
                    f"The page has no room for samples; those of {column.label} are in trial {trial.key}."
                )
                return _NOTE_BYTES
            table["sample"] = {"label": column.label, "seed": trial.spec.get("seed"), "uri": uri}
            return len(uri) + 1000
    return 0
