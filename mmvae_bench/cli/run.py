"""``mmvae-bench run``: every trial of a grid."""

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

if TYPE_CHECKING:
    from ..runs.store import RunStore
    from ..sweep.driver import Outcome


def run(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="The grid file, as with --grid.")] = None,
    grid: Annotated[
        Path | None,
        typer.Option(
            "--grid", metavar="FILE", help="The grid file (YAML), or the name of a shipped one (see configs)."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="The run folder; default: runs/NAME of the grid.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="PATH=VALUE", help="Only these trials, such as objective=telbo; repeatable."),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    executor: Annotated[
        str, typer.Option("--executor", metavar="NAME", help="Where trials run: local, ray or slurm.")
    ] = "local",
    workers: Workers = None,
    per_device: PerDevice = 1,
    together: Annotated[
        int,
        typer.Option(metavar="N", help="Train up to N seeds of a trial in one process, as one network; local only."),
    ] = 1,
    hang_seconds: HangSeconds = DEFAULT_SECONDS,
    grace: Grace = DEFAULT_GRACE,
    retry: Retry = None,
    retrain: Retrain = False,
    keep: Keep = False,
    force: Force = None,
    fail_fast: FailFast = False,
    no_rehearsal: NoRehearsal = False,
    ray_address: Annotated[
        str | None,
        typer.Option("--ray-address", metavar="HOST:PORT", help="The Ray cluster; default: RAY_ADDRESS."),
    ] = None,
    slurm: Annotated[
        list[str] | None,
        typer.Option("--slurm", metavar="NAME=VALUE", help="An option of sbatch, such as partition=gpu; repeatable."),
    ] = None,
) -> None:
    """Run the trials of a grid and print the table. Finished ones are skipped.

    The same command resumes a run that was stopped. A grid may grow: a run folder accepts any grid that contains all
    trials in the folder. Trials made by other code than is installed are named and left alone until --retrain or
    --keep says what to do with them.
    """
    from ..sweep.run import Request
    from ..sweep.run import run as run_grid

    chosen = grid or file
    if chosen is None:
        raise ConfigError("Missing option '--grid', or the grid file alone: mmvae-bench run configs/quick.yaml")
    if grid is not None and file is not None:
        raise ConfigError(f"two grid files, {file} and {grid}: give one")
    request = Request(
        grid=chosen,
        out=out,
        where=tuple(where or ()),
        dry_run=dry_run,
        as_json=as_json,
        executor=executor,
        workers=workers,
        per_device=per_device,
        together=together,
        hang_seconds=hang_seconds,
        grace=grace,
        retry=retry,
        stale=when_stale(retrain=retrain, keep=keep),
        force=tuple(force or ()),
        fail_fast=fail_fast,
        rehearsal=not no_rehearsal,
        ray_address=ray_address,
        slurm=tuple(slurm or ()),
    )
    raise typer.Exit(run_grid(request, report=write_reports))


def write_reports(store: RunStore, outcome: Outcome) -> tuple[str | None, str]:
    """Writes the results file, and also the report if the run was not stopped and any trial is done.

    Returns:
        The path of the page, if one was made, and the text to print.
    """
    # This imports pandas, at a time when no trial is running any more.
    if outcome.stopped or not outcome.done:
        from ..report import write_results

        write_results(store.root)
        return None, ""
    from ..report import write_report

    text = write_report(store.root)
    path = store.root / "report" / "index.html"
    return str(path), f"{text.rstrip()}\n{path}\n"
