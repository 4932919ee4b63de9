"""``mmvae-bench status``: how far the trials of a run are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def status(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The run's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Show every trial of a run: its state, its steps, and why it failed."""
    from ..runs.overview import lines, overview

    trials = overview(run_dir)
    if as_json:
        typer.echo(json.dumps({"trials": [trial.to_json() for trial in trials]}))
    else:
        typer.echo("\n".join(lines(trials)))
