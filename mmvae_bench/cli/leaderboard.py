"""``mmvae-bench leaderboard``: one page about several runs, with all worlds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..base.printable import counted
from .writing import writing_to


def leaderboard(
    run_dirs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders, or folders with the results.parquet of one.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where to write the page and its scores.")],
) -> None:
    """Write a page that ranks the objectives of several runs. World by world; it needs no server or network.

    Objectives are rows and scores are columns. The runs are only read. A trial with the same result in two runs counts
    once; if its results differ, the command fails and names both. Every score on the page is in leaderboard.csv,
    leaderboard.parquet and leaderboard.tex too.
    """
    from ..report.trials import open_run
    from ..runs.names import PAGE_FILE, RESULTS_FILE, TRIALS_FOLDER

    for folder in run_dirs:
        if (folder / TRIALS_FOLDER).exists() or not (folder / RESULTS_FILE).is_file():
            open_run(folder)  # A folder that is not a run is reported before pandas is imported.

    from ..report.leaderboard import write_leaderboard

    with writing_to(out, advice="Give another folder with --out FOLDER: the runs are only read."):
        comparison = write_leaderboard(run_dirs, out)
    typer.echo(f"{comparison.states}; {counted(len(comparison.sections), 'table')}", err=True)
    typer.echo(str(out / PAGE_FILE))
