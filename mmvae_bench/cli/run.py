"""``mmvae-bench run``: every trial of a grid."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..sweep.hang import DEFAULT_SECONDS
from .options import AsJson, DryRun, HangSeconds, PerDevice, Retry, Workers


def run(
    grid: Annotated[Path, typer.Option("--grid", metavar="FILE", help="The grid file (YAML).")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="The run's folder; by default runs/NAME of the grid.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="PATH=VALUE", help="Only these, such as objective=telbo; may be repeated."),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    executor: Annotated[
        str, typer.Option("--executor", metavar="NAME", help="Where trials run: local, ray or slurm.")
    ] = "local",
    workers: Workers = None,
    per_device: PerDevice = 1,
    hang_seconds: HangSeconds = DEFAULT_SECONDS,
    retry: Retry = None,
    ray_address: Annotated[
        str | None,
        typer.Option("--ray-address", metavar="HOST:PORT", help="The Ray cluster; by default RAY_ADDRESS."),
    ] = None,
    slurm: Annotated[
        list[str] | None,
        typer.Option("--slurm", metavar="NAME=VALUE", help="Such as partition=gpu, as sbatch; may be repeated."),
    ] = None,
) -> None:
    """Run every trial of a grid, skip what is done, and print the table.

    The same command goes on where a run was stopped. A grid may grow: a folder takes any grid that has all its trials.
    """
    from ..sweep.run import Request
    from ..sweep.run import run as run_grid

    request = Request(
        grid=grid,
        out=out,
        where=tuple(where or ()),
        dry_run=dry_run,
        as_json=as_json,
        executor=executor,
        workers=workers,
        per_device=per_device,
        hang_seconds=hang_seconds,
        retry=retry,
        ray_address=ray_address,
        slurm=tuple(slurm or ()),
    )
    raise typer.Exit(run_grid(request))
