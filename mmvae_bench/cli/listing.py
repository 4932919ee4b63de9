"""``mmvae-bench list``: everything that the registries and catalogues know, with its settings and what they mean."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Annotated, Any

import typer

from ..specs.listing import KINDS, describe_kind, unusable

SHOWN = 24
"""Of more attributes than these with the same values, text names the first and the last; ``--json`` has all."""


def list_parts(
    kind: Annotated[str, typer.Argument(metavar="|".join(KINDS), help="What to list.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """List what a grid can name, its defaults, and the metrics."""
    entries = describe_kind(kind)
    for error in unusable(kind):
        typer.echo(f"warning: {error}", err=True)
    typer.echo(json.dumps(entries) if as_json else "\n\n".join("\n".join(_lines(entry)) for entry in entries))


def _lines(entry: Mapping[str, Any]) -> Iterator[str]:
    """Plain text: the name, what it is, then one line per setting."""
    yield entry["name"]
    yield f"    {entry['summary']}"
    yield f"    {entry['reference']}"
    for key in ("posteriors", "likelihoods", "stages", "can", "views", "metrics", "needs"):
        if entry.get(key):
            yield f"    {key}: {', '.join(entry[key])}"
    for key in ("unit", "better"):
        if key in entry:
            yield f"    {key}: {entry[key]}"
    yield from _attribute_lines(entry.get("attributes", {}))
    for parameter in entry["parameters"]:
        default = "required" if parameter.get("required") else json.dumps(parameter["default"])
        yield f"    {parameter['name']} = {default}: {parameter['meaning']}"


def _attribute_lines(attributes: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for values, group in groupby(attributes, key=lambda name: attributes[name]):
        names, of = list(group), ", ".join(values)
        if len(names) > SHOWN:
            yield f"    {len(names)} attributes, {names[0]} to {names[-1]}: {of}"
        else:
            yield from (f"    attribute {name}: {of}" for name in names)
