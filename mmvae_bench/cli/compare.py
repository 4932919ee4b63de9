"""``mmvae-bench compare``: which numbers of two runs differ, and whether by more than their intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def compare(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="A run folder.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="The run to compare it with.")],
    metric: Annotated[
        list[str] | None, typer.Option("--metric", metavar="NAME", help="Only this metric; repeatable.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="PATH=VALUE", help="Only these trials, such as objective=telbo; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Compare two runs of the same trials, number by number.

    Exit code 0: no number differs by more than its interval. 1: some number does, or differs and has no interval. 2: a
    folder is not a run, the runs have no trial in common, or a trial cannot be read; all others are still compared.
    """
    from ..report.trials import open_run

    for folder in (run_a, run_b):
        open_run(folder)  # A folder that is not a run is reported before pandas is imported.

    from ..compare.render import document, text
    from ..compare.runs import compare_runs

    comparison = compare_runs(run_a, run_b, metrics=metric or (), where=where or ())
    typer.echo(json.dumps(document(comparison)) if as_json else text(comparison))
    for trial in comparison.damaged:
        typer.echo(f"error: {trial.problem}", err=True)
    raise typer.Exit(comparison.exit_code)
