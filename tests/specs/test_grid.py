"""The grid file: every bad input is reported with its location, value and choices; the JSON schema agrees."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.specs.components import backbones, classifiers, datasets, objectives
from mmvae_bench.specs.grid import GridSpec, grid_schema, load_grid
from mmvae_bench.specs.yaml_source import read_yaml

BACKBONES, DATASETS, OBJECTIVES = (", ".join(kind.names()) for kind in (backbones, datasets, objectives))

GOOD = """\
name: demo
datasets:
  - {name: mnist_a, canvas: 32}
backbones: [mnist_a_thin]
objectives:
  - telbo
  - name: jmvae
    alpha: 0.5
training:
  steps: 10
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "grid.yaml"


def errors(path: Path, text: str) -> list[str]:
    """The problems of a grid file, one text per problem, without the file's name."""
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_grid(path)
    prefix = f"{path}:"
    assert str(caught.value).startswith(prefix)
    return ("\n" + str(caught.value)).split("\n" + prefix)[1:]


def test_a_good_file_loads(path: Path) -> None:
    path.write_text(GOOD)
    grid = load_grid(path)
    assert grid.name == "demo"
    assert [trial.objective.name for trial in grid.trials] == ["telbo", "jmvae"]
    assert load_grid(str(path)) == grid


BAD_VALUES = [
    pytest.param(
        "sedes: [1]\n",
        "11: sedes: unknown key 'sedes' of grid\n  choices: name, summary, datasets, backbones, objectives, training, "
        "seeds, evaluation, include, exclude\n  nearest: seeds",
        id="unknown key",
    ),
    pytest.param(
        ("alpha: 0.5", "alhpa: 0.5"),
        "8: objectives[1].alhpa: unknown key 'alhpa' of jmvae\n  choices: name, image_weight, "
        "concept_fusion, universal_expert, lambda, alpha, joint_encoder\n  "
        "nearest: alpha",
        id="unknown key of an objective",
    ),
    pytest.param(
        ("steps: 10", "stpes: 10"),
        "10: training.stpes: unknown key 'stpes' of training\n  choices: steps, batch_size, learning_rate, precision, "
        "num_threads, validations, compile, budget, supervision, missing_images, augmentation\n  nearest: steps",
        id="unknown key of training",
    ),
    pytest.param(
        "include:\n  - seeds: [1]\n    datsets: [mnist_a]\n",
        "13: include[0].datsets: unknown key 'datsets' of include\n  choices: datasets, backbones, objectives, "
        "training, seeds, evaluation\n  nearest: datasets",
        id="unknown key of include",
    ),
    pytest.param(
        ("- telbo", "- teblo"),
        f"6: objectives[0]: unknown objective 'teblo'\n  choices: {OBJECTIVES}\n  nearest: telbo",
        id="unknown objective",
    ),
    pytest.param(
        ("name: jmvae", "name: jmvea"),
        f"7: objectives[1].name: unknown objective 'jmvea'\n  choices: {OBJECTIVES}\n  nearest: jmvae",
        id="unknown objective in a mapping",
    ),
    pytest.param(
        ("[mnist_a_thin]", "[mnist_a_thim]"),
        f"4: backbones[0]: unknown backbone 'mnist_a_thim'\n  choices: {BACKBONES}\n  nearest: mnist_a_thin",
        id="unknown backbone",
    ),
    pytest.param(
        ("name: mnist_a,", "name: mnista,"),
        f"3: datasets[0].name: unknown dataset 'mnista'\n  choices: {DATASETS}\n  nearest: mnist_a",
        id="unknown dataset",
    ),
    pytest.param(
        "evaluation: {levels: [4, 5]}\n",
        "11: evaluation.levels[1]: no level 5: mnist_a has concepts of 4 attributes\n  given: 5\n"
        "  choices: 1, 2, 3, 4\n  nearest: 4",
        id="unknown level",
    ),
    pytest.param(
        "evaluation: {levels: [0]}\n",
        "11: evaluation.levels[0]: input should be greater than 0\n  given: 0",
        id="level zero",
    ),
    pytest.param(
        "evaluation:\n  protocols:\n    - papre\n",
        "13: evaluation.protocols[0]: not one of the choices\n  given: 'papre'\n"
        "  choices: official, paper, corrected, cremer, multivae, mmvaeplus, mopoe, attribute2image\n"
        "  nearest: paper",
        id="unknown protocol",
    ),
    pytest.param(
        ("alpha: 0.5", "alpha: -0.5"),
        "8: objectives[1].alpha: input should be greater than or equal to 0\n  given: -0.5",
        id="value out of range",
    ),
    pytest.param(
        ("canvas: 32", "canvas: 512"),
        "3: datasets[0].canvas: input should be less than or equal to 256\n  given: 512",
        id="canvas out of range",
    ),
    pytest.param(
        ("steps: 10", "steps: many"),
        "10: training.steps: expected a whole number\n  given: 'many'",
        id="value of the wrong type",
    ),
    pytest.param(
        ("steps: 10", "steps: 10\n  precision: float23"),
        "11: training.precision: not one of the choices\n  given: 'float23'\n  choices: float32, tf32, bfloat16\n"
        "  nearest: float32",
        id="unknown choice",
    ),
    pytest.param(("name: demo", "name: ../demo"), "1: name: string should match pattern", id="a name that is a path"),
    pytest.param(("name: demo\n", ""), "1: name: required key 'name' is missing", id="no name"),
    pytest.param(
        ("backbones: [mnist_a_thin]\n", ""), "1: backbones: required key 'backbones' is missing", id="no backbones"
    ),
    pytest.param(
        ("[mnist_a_thin]", "mnist_a_thin"), "4: backbones: expected a list\n  given: 'mnist_a_thin'", id="no list"
    ),
    pytest.param(
        ("- telbo", "- 3"),
        "6: objectives[0]: expected the name of an objective or a mapping with a name\n  given: 3\n"
        f"  choices: {OBJECTIVES}",
        id="a number for a name",
    ),
    pytest.param("seeds: []\n", "11: seeds: needs at least one entry\n  given: []", id="no seeds"),
    pytest.param("seeds: [0, -1]\n", "11: seeds[1]: input should be greater than or equal to 0", id="negative seed"),
    pytest.param("seeds: [true]\n", "11: seeds[0]: expected a whole number\n  given: 'true'", id="a boolean seed"),
    pytest.param("seeds: [0]\nseeds: [1]\n", "12: seeds: duplicate key, first given on line 11", id="duplicate key"),
    pytest.param("seeds: !!set {0}\n", "11: seeds: YAML tags are not supported", id="a tag"),
    pytest.param(
        ("[mnist_a_thin]", "[mnist_a_paper]"),
        "4: backbones[0]: backbone mnist_a_paper takes 1x64x64 images, but the images of this mnist_a are 1x32x32",
        id="parts that do not go together",
    ),
    pytest.param(
        "include:\n  - backbones: [mnist_a_released]\n    seeds: [0]\n",
        "12: include[0].backbones[0]: backbone mnist_a_released takes 1x64x64 images",
        id="parts that do not go together in an include",
    ),
    pytest.param("exclude:\n  - {}\n", "12: exclude[0]: needs at least one entry", id="exclude without conditions"),
    pytest.param(
        "exclude:\n  - telbo\n",
        "12: exclude[0]: expected a mapping of keys to values\n  given: 'telbo'",
        id="exclude that is no mapping",
    ),
    pytest.param(
        "exclude:\n  - objective: jmvea\n",
        f"12: exclude[0].objective: unknown objective 'jmvea'\n  choices: {OBJECTIVES}\n  nearest: jmvae",
        id="exclude of an unknown objective",
    ),
    pytest.param(
        "exclude:\n  - objective: telbo\n    objective.gama: 1\n",
        "13: exclude[0].objective.gama: unknown path 'objective.gama'\n  choices: objective, objective.name, "
        "objective.image_weight, objective.concept_fusion, objective.universal_expert, objective.lambda, "
        "objective.gamma, objective.schedule, objective.unimodal_steps, objective.alpha, objective.joint_encoder\n"
        "  nearest: objective.gamma",
        id="exclude with an unknown path",
    ),
    pytest.param(
        "exclude:\n  - {evaluation.levels: 1}\n",
        "12: exclude[0].evaluation.levels: unknown path 'evaluation.levels'\n  choices: dataset, backbone, objective, "
        "training, seed",
        id="exclude by what is no part of a trial",
    ),
    pytest.param(
        "exclude:\n  - {dataset.split: compo}\n",
        "12: exclude[0].dataset.split: not one of the choices\n  given: 'compo'\n  choices: iid, iid_disjoint, comp\n"
        "  nearest: comp",
        id="exclude with an impossible value",
    ),
    pytest.param(
        "exclude:\n  - {seed: zero}\n",
        "12: exclude[0].seed: expected a whole number\n  given: 'zero'",
        id="exclude of a seed that is no number",
    ),
    pytest.param(
        "exclude:\n  - {dataset: mnist_a}\n",
        "11: exclude: the grid has no trials: exclude leaves out all 2 of them",
        id="a grid without trials",
    ),
]


@pytest.mark.parametrize(("change", "message"), BAD_VALUES)
def test_bad_input(path: Path, change: str | tuple[str, str], message: str) -> None:
    text = GOOD + change if isinstance(change, str) else GOOD.replace(*change)
    assert text != GOOD
    (found,) = errors(path, text)
    assert found.startswith(message)


def test_two_problems_are_both_named(path: Path) -> None:
    found = errors(path, GOOD.replace("- telbo", "- teblo").replace("steps: 10", "steps: 0"))
    assert [text.split(":")[0] for text in found] == ["6", "10"]


def test_problems_of_every_sort_are_named_at_once(path: Path) -> None:
    text = (
        GOOD.replace("name: demo\n", "").replace("- telbo", "- teblo").replace("canvas: 32", "canvas: x")
        + "seeds: [0]\nseeds: [1]\nevaluation: {num_samples: 0}\nexclude: [{}]\nkind: 3\n"
    )
    found = errors(path, text.replace("backbones: [mnist_a_thin]\n", ""))
    words = [
        "datasets[0].canvas",
        "teblo",
        "'name' is missing",
        "'backbones' is missing",
        "duplicate key",
        "num_samples",
    ]
    words += ["exclude[0]", "'kind'"]
    assert len(found) == len(words)
    assert all(any(word in text for text in found) for word in words)


def test_every_pair_that_does_not_go_together_is_named_once(path: Path) -> None:
    text = GOOD.replace("[mnist_a_thin]", "[mnist_a_thin, mnist_a_paper]")
    text = text.replace("canvas: 32}\n", "canvas: 32}\n  - {name: mnist_a, canvas: 30}\n")
    found = errors(path, text + "exclude:\n  - {objective: telbom}\n")
    assert len(found) == 4  # paper at 32, thin at 30, paper at 30, and the name; not once more for each objective


def test_a_pair_that_is_left_out_need_not_go_together(path: Path) -> None:
    text = GOOD.replace("[mnist_a_thin]", "[mnist_a_thin, mnist_a_paper]")
    path.write_text(text + "exclude:\n  - {backbone: mnist_a_paper, dataset.canvas: 32}\n")
    assert len(load_grid(path).trials) == 2


def test_yaml_that_does_not_parse(path: Path) -> None:
    (found,) = errors(path, GOOD + "seeds: [0, 1\n")
    assert found.startswith("12: not valid YAML: while parsing a flow sequence; expected ',' or ']'")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("# only a comment\n", "the file is empty"),
        ("- mnist_a\n", "expected a mapping of keys to values"),
        ("telbo\n", "expected a mapping of keys to values"),
    ],
)
def test_a_file_without_a_mapping(path: Path, text: str, message: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"{path}.*{message}"):
        load_grid(path)


def test_a_file_that_is_not_there(path: Path) -> None:
    with pytest.raises(ConfigError, match=f"no such file: {path}"):
        load_grid(path)


def test_an_include_without_a_list_that_nobody_gives(path: Path) -> None:
    text = GOOD.replace("backbones: [mnist_a_thin]\n", "") + "include:\n  - seeds: [1]\n"
    (found,) = errors(path, text)
    assert found == "11: include[0].backbones: required key 'backbones' is missing, here and at the top level"


def test_an_anchor_can_be_written_once_and_changed(path: Path) -> None:
    path.write_text(
        GOOD + "include:\n  - datasets: [&a {name: mnist_a, canvas: 16}]\n  - datasets: [{<<: *a, split: comp}]\n"
    )
    grid = load_grid(path)
    assert [(trial.dataset.canvas, trial.dataset.split) for trial in grid.trials[2::2]] == [(16, "iid"), (16, "comp")]


def test_grids_are_equal_by_what_they_say() -> None:
    plain = {"name": "x", "datasets": [{"name": "mnist_a", "canvas": 32}], "backbones": ["mnist_a_thin"]}
    one = GridSpec.parse({**plain, "objectives": ["telbo"], "training": {"steps": 3}})
    two = GridSpec.parse({**plain, "objectives": [{"name": "telbo", "gamma": 1}], "training": [{"steps": 3}]})
    assert one == two
    assert one.canonical() == two.canonical()
    assert GridSpec.parse(one.canonical()) == one


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
SIZES: dict[str, type] = {
    "minItems": list, "maxItems": list, "minProperties": dict, "minLength": str, "maxLength": str,
}  # fmt: skip
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
            kinds = wanted if isinstance(wanted, list) else [wanted]
            if not any(
                isinstance(value, TYPES[kind]) and not (isinstance(value, bool) and kind != "boolean") for kind in kinds
            ):
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
        elif keyword == "multipleOf":
            if isinstance(value, int | float) and not isinstance(value, bool) and value % wanted:
                yield f"{value!r} is no multiple of {wanted}"
        elif keyword in SIZES:
            longest = keyword.startswith("max")
            if isinstance(value, SIZES[keyword]) and (len(value) > wanted if longest else len(value) < wanted):
                yield f"{value!r} has the wrong length"
        elif keyword == "prefixItems":
            for item, each in zip(value, wanted, strict=False) if isinstance(value, list) else []:
                yield from wrong(item, each, root)
        elif keyword == "items":
            for item in value[len(schema.get("prefixItems", ())) :] if isinstance(value, list) else []:
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


@pytest.mark.parametrize("value", ["x", 1, True, None, [], {}], ids=repr)
def test_every_keyword_of_the_schema_is_one_that_these_tests_know(value: Any) -> None:
    """Whatever a grid names first."""
    schemas = [SCHEMA]
    while schemas:
        schema = schemas.pop()
        list(wrong(value, schema, SCHEMA))
        for keyword, each in schema.items():
            inside = each.values() if keyword in ("properties", "$defs") else each if isinstance(each, list) else [each]
            if keyword not in ("enum", "default", "const"):
                schemas += [one for one in inside if isinstance(one, dict)]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_fit(path: Path) -> None:
    assert problems(read_yaml(path).value) == []


@pytest.mark.parametrize(
    "given",
    [
        grid(),
        grid(objectives=[{"name": "telbo", "lambda": 3, "schedule": "two_stage", "unimodal_steps": 5}]),
        grid(training={"steps": 3}),
        grid(
            datasets=[{"name": "house_numbers", "canvas": 24}, {"name": "multi_mnist", "canvas": 44}],
            backbones=["patches"],
        ),
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
        grid(datasets=[{"name": "house_numbers", "canvas": 33}]),
        grid(datasets=[{"name": "multi_mnist", "canvas": 46}]),
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
