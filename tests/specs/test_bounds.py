"""What no network, dataset or file format could do is refused before anything starts, and quickly."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.specs.base import Spec, _leaves
from mmvae_bench.specs.components import backbones, classifiers, datasets, objectives
from mmvae_bench.specs.overrides import parse_assignment, parse_json
from mmvae_bench.specs.registry import Registry
from mmvae_bench.specs.sweeps import load_sweep
from mmvae_bench.specs.trial import EvaluationSpec, TrainingSpec, TrialSpec
from mmvae_bench.specs.yaml_source import MAX_BYTES, parse_yaml, read_yaml

REGISTRIES: tuple[Registry[Any], ...] = (datasets, backbones, objectives, classifiers)
SPECS: list[type[Spec]] = [TrainingSpec, EvaluationSpec, *(each.get(name) for each in REGISTRIES for name in each)]
WHOLE = [
    (spec, name)
    for spec in SPECS
    for name, field in spec.model_fields.items()
    if int in set(_leaves(field.annotation)) and float not in set(_leaves(field.annotation))
]
MNIST = {"name": "mnist_a", "canvas": 16, "num_sources": 100, "replicas": 2}
SCENES = {"name": "two_object_clevr", "canvas": 32, "num_images": 500}


def trial(**changes: Any) -> TrialSpec:
    parts: dict[str, Any] = {"dataset": MNIST, "backbone": "mnist_a_thin", "objective": "jmvae"}
    return TrialSpec.parse(parts | changes)


def test_there_are_whole_numbers_to_check() -> None:
    assert len(WHOLE) > 40


@pytest.mark.parametrize(("spec", "name"), WHOLE, ids=lambda part: part if isinstance(part, str) else part.__name__)
@pytest.mark.parametrize("number", [2**53 + 1, 10**400, 10**5000], ids=["2^53+1", "10^400", "10^5000"])
def test_no_whole_number_is_without_bounds(spec: type[Spec], name: str, number: int) -> None:
    """JSON and Parquet would change it or refuse it, some of them after training."""
    key = spec.model_fields[name].alias or name
    value = [number] if name == "levels" else number
    named = {"name": spec.model_fields["name"].default} if "name" in spec.model_fields else {}
    with pytest.raises(ConfigError) as caught:
        spec.parse({**named, key: value})
    assert key in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"dataset": SCENES, "backbone": "two_object_resnet", "training": {"batch_size": 1}},
            ["training.batch_size: backbone two_object_resnet", "at least 2 images per step", "given: 1", "nearest: 2"],
        ),
        (
            {
                "dataset": SCENES,
                "backbone": "two_object_resnet",
                "objective": {"name": "meme", "num_pseudo_inputs": 1},
            },
            ["objective.num_pseudo_inputs: backbone two_object_resnet", "at least 2", "given: 1", "nearest: 2"],
        ),
        (
            {"training": {"batch_size": 100_000}},
            ["training.batch_size: this mnist_a has only 200 images", "given: 100000"],
        ),
        (
            {"dataset": SCENES, "backbone": "rgb_thin", "training": {"batch_size": 501}},
            ["this two_object_clevr has only 500 images"],
        ),
        (
            {"dataset": "celeba18", "backbone": "rgb_thin", "training": {"batch_size": 200_001}},
            ["this celeba18 has only 200,000 images"],
        ),
        (
            {"evaluation": {"classifier": {"name": "conv_thin", "batch_size": 1}}},
            ["evaluation.classifier.batch_size", "greater than or equal to 2", "given: 1"],
        ),
        ({"training": {"num_threads": 2**40}}, ["training.num_threads", "less than or equal to 1024"]),
        ({"backbone": {"name": "mnist_a_thin", "latent_size": 10**9}}, ["backbone.latent_size"]),
        ({"evaluation": {"query_repeats": 2**50}}, ["evaluation.query_repeats"]),
    ],
)
def test_what_networks_and_data_cannot_do(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        trial(**changes)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {"batch_size": 1}},
        {"dataset": SCENES, "backbone": "two_object_resnet", "training": {"batch_size": 2}},
        {"training": {"batch_size": 200}},
        {"dataset": {"name": "celeba18", "source": "celeba"}, "backbone": "rgb_thin",
         "training": {"batch_size": 200_001}},
    ],
)  # fmt: skip
def test_what_they_can_do_is_accepted(changes: dict[str, Any]) -> None:
    trial(**changes)


def merges(levels: int) -> str:
    lines = ["a0: &a0 {x: 1}"]
    return "\n".join(lines + [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, levels)])


BOMBS = {
    "merges of merges": (merges(10), "more than 200,000 keys and values"),
    "aliases of aliases": (
        "\n".join(["a0: &a0 [1]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]),
        "more than 200,000 keys and values",
    ),
    "a chain of aliases": (
        "\n".join(["a0: &a0 [1]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 3000)]),
        "nested more than 100 deep",
    ),
    "a chain of merges": (
        "\n".join(["a0: &a0 {x: 1}"] + [f"a{i}: &a{i} {{<<: *a{i - 1}}}" for i in range(1, 3000)]),
        "nested more than 100 deep",
    ),
    "331 levels": ("seeds: " + "[" * 331 + "]" * 331, "nested more than 100 deep"),
    "a block of levels": ("- " * 100_000, "nested more than 100 deep"),
    "a list of 10 MB": ("seeds: [" + "1, " * 3_400_000 + "1]", "longer than 4 MiB"),
    "a list of 2 MB": ("seeds: [" + "1, " * 700_000 + "1]", "more than 200,000 keys and values"),
    "keys": ("{" + ", ".join(f"k{i}: 1" for i in range(150_000)) + "}", "more than 200,000 keys and values"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_texts_that_grow_are_refused_at_once(name: str) -> None:
    text, words = BOMBS[name]
    begin = time.process_time()
    with pytest.raises(ConfigError, match=words):
        parse_yaml(text, source="grid.yaml")
    assert time.process_time() - begin < 5.0  # Half a second on an idle machine.


def test_no_more_of_a_file_is_read_than_may_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="longer than 4 MiB"):
        read_yaml(Path("/dev/zero"))
    (tmp_path / "grid.yaml").write_text("#" * (MAX_BYTES - 8) + "\na: 1\n")
    assert read_yaml(tmp_path / "grid.yaml").value == {"a": 1}


@pytest.mark.parametrize("levels", [101, 331, 100_000])
def test_deep_values_on_the_command_line(levels: int) -> None:
    nested = "[" * levels + "]" * levels
    with pytest.raises(ConfigError, match="seed: nested more than 100 deep"):
        parse_assignment(f"seed={nested}")
    with pytest.raises(ConfigError, match=r"not valid JSON: nested (more than 100 deep|too deeply)"):
        parse_json(f'{{"seed": {nested}}}')


SWEEP = """\
method: {method}
run_cap: {cap}
parameters:
  dataset.name: {{value: mnist_a}}
  dataset.canvas: {{value: 16}}
  backbone.name: {{value: mnist_a_thin}}
  objective.name: {{value: jmvae}}
  {parameter}
"""


@pytest.mark.parametrize(
    ("method", "cap", "parameter", "words"),
    [
        ("random", "2", f"training.steps: {{distribution: q_uniform, min: 1, max: {10**400}}}",
         "8: parameters.training.steps.max: not between -2^53 and 2^53"),
        ("random", "2", f"training.steps: {{min: -{10**400}, max: 3}}", "training.steps.min: not between"),
        ("random", "2", "objective.alpha: {min: 0.0, max: 1e400}", "objective.alpha.max: expected a number"),
        ("random", "2", "seed: {values: [1, .nan]}", "8: parameters.seed.values[1]"),
        ("random", "2", f"seed: {{value: {2**53 + 1}}}", "8: parameters.seed.value"),
        ("random", str(10**30), "seed: {min: 0, max: 9}", "2: run_cap: at most 100,000 trials are possible"),
        ("grid", str(10**30), "seed: {min: 0, max: 9}", "2: run_cap: at most 100,000 trials are possible"),
        ("grid", "null", "training.steps: {min: 1, max: 9007199254740992}", "9,007,199,254,740,992 combinations"),
        ("grid", "1", "seed: " + "[" * 331 + "]" * 331, "8: nested more than 100 deep"),
    ],
)  # fmt: skip
def test_numbers_of_a_sweep(method: str, cap: str, parameter: str, words: str, tmp_path: Path) -> None:
    text = SWEEP.format(method=method, cap=cap, parameter=parameter).replace("run_cap: null\n", "project: x\n")
    (tmp_path / "sweep.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_sweep(tmp_path / "sweep.yaml")
    assert words in str(caught.value)


def test_the_first_of_more_values_than_python_can_count(tmp_path: Path) -> None:
    parameter = "training.steps: {min: 1, max: 9007199254740992}\n  seed: {min: 0, max: 9007199254740992}"
    (tmp_path / "sweep.yaml").write_text(SWEEP.format(method="grid", cap=3, parameter=parameter))
    assert [each.seed for each in load_sweep(tmp_path / "sweep.yaml").trials] == [0, 1, 2]
    with pytest.raises(ConfigError, match="--count: at most 100,000 trials are possible"):
        load_sweep(tmp_path / "sweep.yaml", count=10**30)
