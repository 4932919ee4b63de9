"""``mmvae-bench sweep``: the trials of a W&B sweep file, without its server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..base.errors import ConfigError
from ..sweep.hang import DEFAULT_SECONDS
from .options import AsJson, DryRun, HangSeconds, PerDevice, Retry, Workers


def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The W&B sweep file (YAML); method grid or random.")],
    local: Annotated[bool, typer.Option("--local", help="On this machine, without W&B's server.")] = False,
    count: Annotated[
        int | None,
        typer.Option("--count", metavar="N", help="At most so many trials; by default run_cap of the file."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="The run's folder; by default runs/NAME of the file.")
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    workers: Workers = None,
    per_device: PerDevice = 1,
    hang_seconds: HangSeconds = DEFAULT_SECONDS,
    retry: Retry = None,
) -> None:
    """Run the trials of a W&B sweep file on this machine, skip what is done, and print the table.

    The same command goes on where a run was stopped, and a larger --count begins with the same trials.
    """
    if not local:
        raise ConfigError(
            "a sweep is run here with --local; with W&B's server, its own commands do it:\n"
            f"  mmvae-bench sweep --local {file}\n"
            f"  wandb sweep {file}        (prints the SWEEP that agents then take)\n"
            "  wandb agent SWEEP"
        )
    from ..sweep.run import run as run_grid
    from ..sweep.wandb_file import SweepRequest

    request = SweepRequest(
        grid=file,
        out=out,
        dry_run=dry_run,
        as_json=as_json,
        workers=workers,
        per_device=per_device,
        hang_seconds=hang_seconds,
        retry=retry,
        count=count,
    )
    raise typer.Exit(run_grid(request))
