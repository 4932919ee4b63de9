"""The JSON schema of the grid file accepts what the loader accepts, and refuses what an editor should underline."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.specs.components import backbones, classifiers, datasets, objectives
from mmvae_bench.specs.grid import GridSpec, grid_schema
from mmvae_bench.specs.yaml_source import read_yaml

FOLDER = Path(__file__).parents[2] / "configs"
CONFIGS = sorted(set(FOLDER.glob("*.yaml")) - set(FOLDER.glob("sweep_*.yaml")))
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
NOTES = {"title", "description", "default", "$schema", "$defs"}


def wrong(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> Iterator[str]:
    """What a validator would say: the keywords of JSON Schema that these schemas use, and no others."""
    for keyword, wanted in schema.items():
        if keyword == "$ref":
            yield from wrong(value, root["$defs"][wanted.removeprefix("#/$defs/")], root)
        elif keyword == "anyOf":
            if all(any(True for _ in wrong(value, option, root)) for option in wanted):
                yield f"{value!r} fits none"
        elif keyword == "type":
            fits = isinstance(value, TYPES[wanted]) and not (isinstance(value, bool) and wanted != "boolean")
            if not fits:
                yield f"{value!r} is no {wanted}"
        elif keyword == "enum":
            if value not in wanted:
                yield f"{value!r} not in {wanted}"
        elif keyword == "const":
            if value != wanted:
                yield f"{value!r} is not {wanted!r}"
        elif keyword == "pattern":
            if isinstance(value, str) and not re.search(wanted, value):
                yield f"{value!r} does not match"
        elif keyword in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
            if (
                isinstance(value, int | float)
                and not isinstance(value, bool)
                and not {
                    "minimum": value >= wanted,
                    "exclusiveMinimum": value > wanted,
                    "maximum": value <= wanted,
                    "exclusiveMaximum": value < wanted,
                }[keyword]
            ):
                yield f"{value!r} is out of range"
        elif keyword in ("minItems", "minProperties", "maxLength"):
            kind = {"minItems": list, "minProperties": dict, "maxLength": str}[keyword]
            if isinstance(value, kind) and (len(value) > wanted if keyword == "maxLength" else len(value) < wanted):
                yield f"{value!r} has the wrong length"
        elif keyword == "items":
            for item in value if isinstance(value, list) else []:
                yield from wrong(item, wanted, root)
        elif keyword == "properties":
            for key, item in value.items() if isinstance(value, dict) else []:
                if key in wanted:
                    yield from wrong(item, wanted[key], root)
        elif keyword == "required":
            yield from (f"{key} is missing" for key in wanted if isinstance(value, dict) and key not in value)
        elif keyword == "additionalProperties":
            if wanted is False and isinstance(value, dict):
                yield from (f"{key} is unknown" for key in value if key not in schema["properties"])
        else:
            assert keyword in NOTES, f"the schema uses {keyword}, which this test does not know"


SCHEMA = json.loads(json.dumps(grid_schema()))


def problems(grid: Any) -> list[str]:
    return list(wrong(grid, SCHEMA, SCHEMA))


def grid(**changes: Any) -> dict[str, Any]:
    return {"name": "x", "datasets": ["mnist_a"], "backbones": ["mnist_a_released"], "objectives": ["telbo"], **changes}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_fit(path: Path) -> None:
    assert problems(read_yaml(path).value) == []


@pytest.mark.parametrize(
    "given",
    [
        grid(),
        grid(objectives=[{"name": "telbo", "lambda": 3, "schedule": "two_stage", "unimodal_steps": 5}]),
        grid(training={"steps": 3}),
        grid(training=[{"steps": 3}, {"learning_rate": 0.1}]),
        grid(include=[{"training": {"steps": 3}}, {"seeds": [1], "datasets": ["mnist_a"]}]),
        grid(exclude=[{"objective": "telbo"}]),
        grid(evaluation={"classifier": "conv_published", "levels": [1]}),
        grid(evaluation={"classifier": {"name": "conv_thin", "steps": 5}, "levels": None}),
    ],
)
def test_what_the_loader_takes_fits(given: dict[str, Any]) -> None:
    GridSpec.parse(given)
    assert problems(given) == []


@pytest.mark.parametrize(
    "given",
    [
        grid(objectives=["teblo"]),
        grid(objectives=[{"name": "teblo"}]),
        grid(objectives=[{"lambda": 3}]),
        grid(objectives=[{"name": "telbo", "alpha": 3}]),
        grid(objectives=[{"name": "telbo", "lambda": 0}]),
        grid(objectives=[]),
        grid(objectives="telbo"),
        grid(datasets=[{"name": "mnist_a", "canvas": 1000}]),
        grid(datasets=[{"name": "mnist_a", "split": "compo"}]),
        grid(training={"stpes": 3}),
        grid(training=[{"steps": "many"}]),
        grid(training={"steps": 0}),
        grid(seeds=[-1]),
        grid(seeds=[True]),
        grid(evaluation={"classifier": "conv_thick"}),
        grid(evaluation={"protocols": ["papre"]}),
        grid(include=[{"seds": [1]}]),
        grid(exclude=[{}]),
        grid(name="../x"),
        grid(kind=3),
        {key: value for key, value in grid().items() if key != "name"},
    ],
)
def test_what_the_loader_refuses_is_underlined(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        GridSpec.parse(given)
    assert problems(given)


@pytest.mark.parametrize("registry", [objectives, datasets, backbones, classifiers], ids=lambda registry: registry.kind)
def test_everything_registered_is_in_the_schema_with_its_meaning(registry: Any) -> None:
    for name in registry.names():
        definition = SCHEMA["$defs"][f"{registry.kind}.{name}"]
        assert all(item.get("description") for item in definition["properties"].values())
        assert {"name": name} in [
            {"name": option} for option in SCHEMA["$defs"][registry.base.__name__]["anyOf"][0]["enum"]
        ]
