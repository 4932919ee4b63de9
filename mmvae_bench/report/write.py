"""Everything that a report consists of, written in one go."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from ..files import atomic_path, write_text
from .html import render_html, write_figures
from .latex import render_latex
from .markdown import render_markdown
from .results import results_frame
from .table import compare
from .terminal import render_terminal
from .trials import read_run

REPORT_FOLDER = "report"
PAGE = "index.html"


def write_report(run_dir: Path, *, width: int | None = None, color: bool | None = None) -> str:
    """Writes ``results.parquet`` and the folder ``report`` of a run: index.html, table.md|csv|tex, figures/*.svg.

    Args:
        run_dir: The run's folder; a part of its trials may be unfinished, failed or damaged.
        width: Columns of the returned text; None: the terminal's, and 80 where there is none.
        color: Whether the returned text holds escape codes; None: where stdout is a terminal.

    Returns:
        The short report, for the terminal.

    Raises:
        BenchmarkError: ``run_dir`` is no run folder or holds no trial.
    """
    run = read_run(run_dir)
    comparison = compare(run)
    frame = results_frame(run.trials)
    with atomic_path(run_dir / "results.parquet") as temporary:
        frame.to_parquet(temporary, index=False)
    folder = run_dir / REPORT_FOLDER
    table = io.StringIO()
    comparison.frame().to_csv(table, index=False)
    write_text(folder / "table.csv", table.getvalue())
    write_text(folder / "table.md", render_markdown(comparison))
    write_text(folder / "table.tex", render_latex(comparison))
    write_figures(comparison, folder / "figures")
    write_text(folder / PAGE, render_html(comparison))
    console = Console()
    colored = console.is_terminal and console.color_system is not None if color is None else color
    return render_terminal(comparison, width=width or (console.width if console.is_terminal else 80), color=colored)
