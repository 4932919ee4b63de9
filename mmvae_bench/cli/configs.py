"""``mmvae-bench configs``: the grids that come with the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..base.files import read_bytes
from ..specs.grid import read_grid
from ..specs.shipped import shipped, shipped_file
from ..specs.yaml_source import kinds_of, read_yaml


def configs(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Print this one, to the byte.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """List the shipped grids, or print one to start from.

    `mmvae-bench run --grid NAME` runs a shipped grid from any folder. `mmvae-bench configs NAME > mine.yaml` copies it.
    """
    if name is not None:
        path = shipped_file(name)
        content = read_bytes(path)
        typer.echo(json.dumps({**_described(path), "text": content.decode()}) if as_json else content, nl=as_json)
        return
    grids = [_described(path) for path in shipped("grid").values()]
    typer.echo(json.dumps(grids) if as_json else "\n\n".join(map(_text, grids)))
    if not as_json and (sweeps := shipped("sweep")):
        typer.echo(
            f"\nSweep files, for `mmvae-bench sweep --local NAME` or W&B's agents: {', '.join(sweeps)}", err=True
        )


def _described(path: Path) -> dict[str, Any]:
    """``name``, ``kind``, ``summary``, number of ``trials`` and ``file``; a sweep file has no summary or number."""
    (kind,) = kinds_of(read_yaml(path))
    entry: dict[str, Any] = {"name": path.stem, "kind": kind, "summary": None, "trials": None, "file": str(path)}
    if kind == "grid":
        grid, _ = read_grid(path)
        entry |= {"summary": grid.summary, "trials": len(grid.trials)}
    return entry


def _text(grid: dict[str, Any]) -> str:
    number = grid["trials"]
    return f"{grid['name']}\n    {grid['summary']}\n    {number} trial{'' if number == 1 else 's'}"
