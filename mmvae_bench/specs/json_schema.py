"""The JSON schema of the grid file. Only here are the open registries written out as a closed union."""

from __future__ import annotations

from typing import Any

from .base import ComponentSpec
from .components import backbones, classifiers, datasets, objectives
from .grid import GridSpec
from .registry import Registry

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def grid_schema() -> dict[str, Any]:
    """What a grid file can say, with everything that is registered now; without parts of a package that is broken."""
    schema = GridSpec.model_json_schema(by_alias=True)
    definitions: dict[str, Any] = schema["$defs"]
    registries: tuple[Registry[Any], ...] = (datasets, backbones, objectives, classifiers)
    for registry in registries:
        names, _ = registry.usable()
        for name in names:
            definitions |= _component(f"{registry.kind}.{name}", registry.get(name))
        # A part is written as its bare name, or as a mapping with the name.
        definitions[registry.base.__name__] = {
            "anyOf": [{"enum": names}, *({"$ref": f"#/$defs/{registry.kind}.{name}"} for name in names)]
        }
    for owner in (schema, definitions["IncludeSpec"]):
        owner["properties"]["training"] = _one_or_more(owner["properties"]["training"])
    return {"$schema": DIALECT, **schema}


def _component(key: str, spec: type[ComponentSpec]) -> dict[str, Any]:
    """The definition, under ``key``, of a part's mapping, which must say its name; and those that it refers to."""
    own = spec.model_json_schema(by_alias=True)
    definitions: dict[str, Any] = own.pop("$defs", {})
    own["required"] = sorted({"name", *own.get("required", ())})
    return {**definitions, key: own}


def _one_or_more(training: dict[str, Any]) -> dict[str, Any]:
    keys = ("default", "description")
    described: dict[str, Any] = {key: training.pop(key) for key in keys if key in training}
    return {**described, "anyOf": [{"$ref": "#/$defs/TrainingSpec"}, training]}
