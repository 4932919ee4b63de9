"""The options shared by the commands that run trials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..base.errors import ConfigError, Problem

if TYPE_CHECKING:
    from ..runs.stale import WhenStale

DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be run; start and write nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON event per line; with --dry-run, the plan.")]
Workers = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", help="Parallel trials; default: one per GPU, or else per CPU core."),
]
PerDevice = Annotated[
    int, typer.Option(metavar="N", help="Trials that share a GPU, or else the CPU cores of one trial.")
]
HangSeconds = Annotated[
    float, typer.Option(metavar="S", help="Stop a trial that makes no progress for this long; 0: no limit.")
]
Grace = Annotated[
    float,
    typer.Option(metavar="S", help="Time that a trial has to save once it was asked to stop, before it is killed."),
]
Retrain = Annotated[
    bool,
    typer.Option("--retrain", help="Train again what other code has trained; evaluate again what it has evaluated."),
]
Keep = Annotated[
    bool, typer.Option("--keep", help="Take what other code has made as it is, and resume what it has begun.")
]
Force = Annotated[
    list[str] | None,
    typer.Option("--force", metavar="KEY", help="Train this trial again, from the start; repeatable."),
]
Retry = Annotated[str | None, typer.Option("--retry", metavar="failed", help="Run failed trials again.")]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop everything after the first trial that fails.")]
NoRehearsal = Annotated[
    bool,
    typer.Option(
        "--no-rehearsal", help="Do not first read the data and try a step of each objective on made-up images."
    ),
]


def when_stale(*, retrain: bool, keep: bool) -> WhenStale:
    """What to do with trials made by other code; raises ConfigError if both options are given."""
    if retrain and keep:
        raise ConfigError([Problem("cannot be used with --keep: choose one of them", ("--retrain",))])
    return "retrain" if retrain else "keep" if keep else "refuse"
