"""``mmvae-bench leaderboard``: one page about several runs, with all worlds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .writing import writing_to


def leaderboard(
    run_dirs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where to write the page and its scores.")],
) -> None:
    """Write a static page that ranks the objectives of several runs, world by world; it needs no server or network.

    Objectives are rows and scores are columns. The runs are only read. A trial with the same result in two runs counts
    once; if its results differ, the command fails and names both. Every score on the page is in leaderboard.csv too.
    """
    from ..report.trials import open_run

    for folder in run_dirs:
        open_run(folder)  # A folder that is not a run is reported before pandas is imported.

    from ..report.leaderboard import write_leaderboard
    from ..runs.names import PAGE_FILE

    with writing_to(out, advice="Give another folder with --out FOLDER: the runs are only read."):
        comparison = write_leaderboard(run_dirs, out)
    typer.echo(f"{comparison.states}; {len(comparison.sections)} tables", err=True)
    typer.echo(str(out / PAGE_FILE))
