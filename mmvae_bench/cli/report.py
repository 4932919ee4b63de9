"""``mmvae-bench report``: writes the tables and the page of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run's folder, runs/NAME.")]) -> None:
    """Write results.parquet and the report of a run, and print its short table."""
    from ..report.write import PAGE, REPORT_FOLDER, write_report

    typer.echo(write_report(run_dir))
    typer.echo(str(run_dir / REPORT_FOLDER / PAGE))
