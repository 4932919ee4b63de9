"""Writes all the files of a report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from ..base.files import DamagedFile, clear_leftovers, write_json, write_text
from ..runs.checksums import digest_of
from ..runs.folder import TrialFolder
from ..runs.lock import ReportLock
from ..runs.names import (
    FIGURES_FOLDER,
    MERGED_FILE,
    PAGE_FILE,
    QUERIES_FILE,
    REPORT_CHECKSUMS_FILE,
    REPORT_FOLDER,
    RESULTS_FILE,
)
from .comparison import compare
from .gather import gather
from .html import render_html, write_figures
from .latex import render_latex
from .markdown import render_markdown
from .merge import keep_leaderboard, merge_runs
from .terminal import render_terminal
from .trials import RunFolders, find_trials, open_run

_WAIT_SECONDS = 600.0
"""How long to wait for another process that writes the same report."""


def write_report(run_dir: Path, *, width: int | None = None, color: bool | None = None) -> str:
    """Writes ``results.parquet``, ``queries.parquet`` and the folder ``report`` of a run.

    In the folder: index.html, table.md, table.csv, table.tex, figures/*.svg. Beside it ``report_checksums.json`` has
    the sha256 of all these files, for ``mmvae-bench verify``.

    Args:
        run_dir: The run's folder; some of its trials may be unfinished, failed or damaged.
        width: Columns of the returned text; None: as wide as the terminal, or 80 if there is none.
        color: Whether the returned text contains escape codes; None: if stdout is a terminal.

    Returns:
        The short report for the terminal.

    Raises:
        BenchmarkError: ``run_dir`` is not a run folder or holds no trial.
    """
    open_run(run_dir)  # Nothing is made in a folder that is no run.
    # Two at once would leave a mixture, each file of the one or the other. Of two drivers that end together the later
    # one waits, and finds the trials of both.
    with ReportLock(run_dir, wait=_WAIT_SECONDS, tell=_say):
        return _write(find_trials(run_dir), width, color, sealed=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def write_trial_report(trial_dir: Path, out: Path, *, width: int | None = None, color: bool | None = None) -> str:
    """Writes the report of a single trial, which need not be part of a run, into ``out``; see :func:`write_report`."""
    run = RunFolders(out, (TrialFolder.alone(trial_dir),))
    return _write(run, width, color, own=out.resolve() == trial_dir.resolve())


def write_merged_report(
    run_dirs: Sequence[Path], out: Path, *, width: int | None = None, color: bool | None = None
) -> str:
    """Writes the report of several run folders, whose trials are merged, into ``out``; see :func:`write_report`.

    ``merged.json`` in the same folder lists the run folders, and where the numbers of each trial come from.

    Raises:
        BenchmarkError: see :func:`mmvae_bench.report.merge.merge_runs`, or ``out`` holds a leaderboard; nothing was
            written.
    """
    run = merge_runs(run_dirs, out)
    keep_leaderboard(out)
    trials = {trial.key: str(trial.directory.resolve()) for trial in run.trials}
    write_json(out / MERGED_FILE, {"runs": [str(path.resolve()) for path in run_dirs], "trials": trials}, indent=1)
    return _write(run, width, color)


def _write(run: RunFolders, width: int | None, color: bool | None, *, own: bool = True, sealed: bool = False) -> str:
    """Writes a report.

    Args:
        run: What it is about.
        width: See :func:`write_report`.
        color: See :func:`write_report`.
        own: Whether the folder around ``report`` is this package's too, and not one with a user's files.
        sealed: Whether to write the checksums of its files.
    """
    folder = run.directory / REPORT_FOLDER
    for place in (folder, folder / FIGURES_FOLDER):
        if place.is_symlink():
            raise DamagedFile(place, "a link; a report is not written through it\n  Give another folder with --out.")
    for place in (folder, folder / FIGURES_FOLDER, *([run.directory.resolve()] if own else [])):
        clear_leftovers(place)
    if sealed:
        # Until the new ones are there: a report that is cut short is not called changed.
        with suppress(FileNotFoundError):
            (run.directory / REPORT_CHECKSUMS_FILE).unlink()
    comparison = compare(gather(run))
    write_text(folder / "table.csv", comparison.frame().to_csv(index=False))
    write_text(folder / "table.md", render_markdown(comparison))
    write_text(folder / "table.tex", render_latex(comparison))
    figures = write_figures(comparison, folder / FIGURES_FOLDER)
    write_text(folder / PAGE_FILE, render_html(comparison))
    if sealed:
        tables = [folder / f"table.{kind}" for kind in ("csv", "md", "tex")]
        written = [run.directory / RESULTS_FILE, run.directory / QUERIES_FILE, *tables, *figures, folder / PAGE_FILE]
        checksums = {path.relative_to(run.directory).as_posix(): digest_of(path) for path in written}
        write_json(run.directory / REPORT_CHECKSUMS_FILE, checksums, indent=1)
    console = Console()
    colored = console.is_terminal and console.color_system is not None if color is None else color
    return render_terminal(comparison, width=width or (console.width if console.is_terminal else 80), color=colored)
