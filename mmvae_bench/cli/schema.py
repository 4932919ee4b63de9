"""``mmvae-bench schema``: the JSON schema of the grid file, for editors that complete and check as you type."""

from __future__ import annotations

import json

import typer


def schema() -> None:
    """Print the JSON schema of the grid file."""
    from ..specs.grid import grid_schema

    typer.echo(json.dumps(grid_schema(), indent=2))
