"""``mmvae-bench list``: everything that the registries know, with its parameters and what they mean."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from ..base.errors import ConfigError, unknown
from ..metrics.protocols import PROTOCOL_RULES, ProtocolRule
from ..specs.base import ComponentSpec
from ..specs.components import (
    BackboneSpec,
    DatasetSpec,
    ObjectiveSpec,
    backbones,
    classifiers,
    datasets,
    objectives,
)
from ..specs.registry import Registry

REGISTRIES: Mapping[str, Registry[Any]] = {
    "objectives": objectives,
    "datasets": datasets,
    "backbones": backbones,
    "classifiers": classifiers,
}
KINDS = (*REGISTRIES, "protocols")


def list_parts(
    kind: Annotated[str, typer.Argument(metavar="|".join(KINDS), help="What to list.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """List what a grid file can name, with defaults."""
    entries = describe_kind(kind)
    for error in unusable(kind):
        typer.echo(f"warning: {error}", err=True)
    typer.echo(json.dumps(entries) if as_json else "\n\n".join("\n".join(_lines(entry)) for entry in entries))


def describe_kind(kind: str) -> list[dict[str, Any]]:
    """Plain JSON about every part of a kind, sorted by name; protocols in the order of the table they make.

    Raises:
        ConfigError: for a kind that there is not.
    """
    if kind == "protocols":
        return [_protocol(rule) for rule in PROTOCOL_RULES.values()]
    if kind not in REGISTRIES:
        raise ConfigError([unknown("kind of part", kind, KINDS)])
    return [_component(REGISTRIES[kind].get(name)) for name in REGISTRIES[kind].usable()[0]]


def unusable(kind: str) -> list[ConfigError]:
    """Why parts that other packages register cannot be listed."""
    return REGISTRIES[kind].usable()[1] if kind in REGISTRIES else []


def _component(spec: type[ComponentSpec]) -> dict[str, Any]:
    fields = spec.model_fields
    entry: dict[str, Any] = {"name": fields["name"].default, "summary": spec.summary, "reference": spec.reference}
    if issubclass(spec, ObjectiveSpec):
        entry["posteriors"] = sorted(spec.posteriors)
        entry["stages"] = list(spec.stage_names)
        entry["partial_concepts"] = spec.partial_concepts
        entry["likelihoods"] = sorted(spec.likelihoods)
        entry["can"] = list(_answers(spec))
        entry["views"] = list(spec.views())
    if issubclass(spec, BackboneSpec):
        entry["views"] = list(spec.views)
    if issubclass(spec, DatasetSpec) and not any(field.is_required() for field in fields.values()):
        entry["attributes"] = spec.parse({}).concept_schema().to_dict()
    entry["parameters"] = [_parameter(key, field) for key, field in fields.items() if key != "name"]
    return entry


def _answers(spec: type[ObjectiveSpec]) -> Iterator[str]:
    """What a model can be asked, in the words of ``Objective``."""
    if "concept" in spec.posteriors:
        yield "imagine concepts" if spec.partial_concepts else "imagine fully specified concepts"
    if "image" in spec.posteriors and "concept" in spec.likelihoods:
        yield "describe images"
    if "image" in spec.likelihoods and spec.posteriors & {"image", "joint"}:
        yield "reconstruct images" if "image" in spec.posteriors else "reconstruct images with their concepts"


def _parameter(key: str, field: FieldInfo) -> dict[str, Any]:
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    entry = {"name": field.alias or key, "default": default, "meaning": " ".join((field.description or "").split())}
    if field.is_required():
        entry["required"] = True
    if get_origin(field.annotation) is Literal:
        entry["choices"] = list(get_args(field.annotation))
    return entry


def _protocol(rule: ProtocolRule) -> dict[str, Any]:
    meanings = {
        "num_samples": "Samples of a query that are scored, the first ones; null: all that were drawn.",
        "target": "The distribution that the values of an unspecified attribute are held against.",
        "base": "Base of the logarithm of the divergences.",
    }
    parameters = [{"name": key, "default": getattr(rule, key), "meaning": text} for key, text in meanings.items()]
    return {"name": rule.name, "summary": rule.summary, "reference": rule.reference, "parameters": parameters}


def _lines(entry: Mapping[str, Any]) -> Iterator[str]:
    """Plain text for people: the name, what it is, then a line a parameter."""
    yield entry["name"]
    yield f"    {entry['summary']}"
    yield f"    {entry['reference']}"
    for key in ("posteriors", "likelihoods", "stages", "can", "views"):
        if key in entry:
            yield f"    {key}: {', '.join(entry[key])}"
    for name, values in entry.get("attributes", {}).items():
        yield f"    attribute {name}: {', '.join(values)}"
    for parameter in entry["parameters"]:
        default = "required" if parameter.get("required") else json.dumps(parameter["default"])
        yield f"    {parameter['name']} = {default}: {parameter['meaning']}"
