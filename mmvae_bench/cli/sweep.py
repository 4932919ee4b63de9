"""``mmvae-bench sweep``: the trials of a W&B sweep file, without its server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..base.errors import ConfigError
from ..sweep.executor import DEFAULT_GRACE
from ..sweep.hang import DEFAULT_SECONDS
from .options import (
    AsJson,
    DryRun,
    FailFast,
    Force,
    Grace,
    HangSeconds,
    Keep,
    NoRehearsal,
    PerDevice,
    Retrain,
    Retry,
    Workers,
    when_stale,
)
from .run import write_reports

if TYPE_CHECKING:
    from ..runs.store import RunStore
    from ..sweep.driver import Outcome


def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The W&B sweep file (YAML): grid, random or bayes.")],
    local: Annotated[bool, typer.Option("--local", help="Run on this machine, without W&B's server.")] = False,
    count: Annotated[
        int | None,
        typer.Option("--count", metavar="N", help="Maximum number of trials; default: run_cap of the file."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="The run folder; default: runs/NAME of the file.")
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    workers: Workers = None,
    per_device: PerDevice = 1,
    hang_seconds: HangSeconds = DEFAULT_SECONDS,
    grace: Grace = DEFAULT_GRACE,
    retry: Retry = None,
    retrain: Retrain = False,
    keep: Keep = False,
    force: Force = None,
    fail_fast: FailFast = False,
    no_rehearsal: NoRehearsal = False,
) -> None:
    """Run the trials of a W&B sweep file on this machine.

    Finished trials are skipped, and the table is printed at the end. The same command resumes a run that was stopped.
    With a larger --count, the same trials come first. Method bayes chooses each trial by the scores of those before,
    with Optuna (extra optuna).
    """
    if not local:
        raise ConfigError(
            "this command runs a sweep on this machine, and needs --local; with W&B's server, use W&B's own commands:\n"
            f"  mmvae-bench sweep --local {file}\n"
            f"  wandb sweep {file}        (prints the SWEEP for the agents)\n"
            "  wandb agent SWEEP"
        )
    from ..sweep.run import SweepRequest
    from ..sweep.run import run as run_grid

    request = SweepRequest(
        grid=file,
        out=out,
        dry_run=dry_run,
        as_json=as_json,
        workers=workers,
        per_device=per_device,
        hang_seconds=hang_seconds,
        grace=grace,
        retry=retry,
        stale=when_stale(retrain=retrain, keep=keep),
        force=tuple(force or ()),
        fail_fast=fail_fast,
        rehearsal=not no_rehearsal,
        count=count,
    )
    raise typer.Exit(run_grid(request, report=lambda store, outcome: _reports(file, store, outcome), values=_values))


def _values(directory: Path) -> dict[str, float]:
    """The numbers of a finished trial, by the names that trackers give them."""
    from ..tracking.best import logged_values

    return logged_values(directory)


def _reports(file: Path, store: RunStore, outcome: Outcome) -> tuple[str | None, str]:
    """What a run writes; and which trial is the best by the sweep's own metric."""
    from ..specs.sweeps import sweep_metric
    from ..tracking.best import best_text

    page, text = write_reports(store, outcome)
    metric = sweep_metric(file) if outcome.done and not outcome.stopped else None
    if metric is None:
        return page, text
    return page, f"{text}{best_text((store.folder(key) for key in sorted(store.keys())), metric)}\n"
