"""The options that every command has which runs trials."""

from __future__ import annotations

from typing import Annotated

import typer

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be run; start and write nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON event a line; with --dry-run, the plan.")]
Workers = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", help="Trials at a time; by default one a GPU, else one a CPU core."),
]
PerDevice = Annotated[int, typer.Option(metavar="N", help="Trials that share a GPU, or the CPU cores of one trial.")]
HangSeconds = Annotated[
    float, typer.Option(metavar="S", help="End a trial that makes no progress for so long; 0: never.")
]
Retry = Annotated[str | None, typer.Option("--retry", metavar="failed", help="Run failed trials again.")]
