"""Settings from the command line, one by one or as JSON, and one trial from a file and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.specs.overrides import apply_assignments, apply_settings, load_trial, parse_assignment, parse_json
from mmvae_bench.specs.trial import TrialSpec


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("seed=3", ("seed",), 3),
        ("training.learning_rate=1e-4", ("training", "learning_rate"), 1e-4),
        ("objective.lambda = 50", ("objective", "lambda"), 50),
        ("evaluation.levels=[1, 2]", ("evaluation", "levels"), [1, 2]),
        ("evaluation.levels=null", ("evaluation", "levels"), None),
        ("training.compile=true", ("training", "compile"), True),
        ("objective={name: telbo, gamma: 50}", ("objective",), {"name": "telbo", "gamma": 50}),
        ("text=a=b", ("text",), "a=b"),
        ("text='5'", ("text",), "5"),
        ("text=''", ("text",), ""),
    ],
)
def test_assignments_are_yaml(text: str, path: tuple[str, ...], value: Any) -> None:
    assert parse_assignment(text) == (path, value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("objective", "expected key=value, such as"),
        ("=3", "expected dotted keys"),
        ("a..b=3", "expected dotted keys"),
        ("a= ", "no value after the equals sign"),
        ("a=[1", "not valid YAML"),
        ("a=!!python/name:os.system x", "YAML tags are not supported"),
        ("a={b: 1, b: 2}", "duplicate key"),
    ],
)
def test_what_is_no_assignment(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_assignment(text)


def test_settings_go_where_they_are_sent_and_nowhere_else() -> None:
    original = {"objective": {"name": "telbo", "gamma": 1}, "seed": 0}
    changed = apply_assignments(original, ["objective.gamma=50", "training.steps=10"])
    assert changed == {"objective": {"name": "telbo", "gamma": 50}, "seed": 0, "training": {"steps": 10}}
    assert original == {"objective": {"name": "telbo", "gamma": 1}, "seed": 0}


def test_a_bare_name_takes_keys() -> None:
    assert apply_assignments({"objective": "jmvae"}, ["objective.alpha=2"]) == {
        "objective": {"name": "jmvae", "alpha": 2}
    }


@pytest.mark.parametrize("order", [1, -1])
def test_a_part_is_put_in_before_its_keys(order: int) -> None:
    texts = ["objective=jmvae", "objective.alpha=2"][::order]
    assert apply_assignments({"objective": {"name": "telbo", "gamma": 50}}, texts) == {
        "objective": {"name": "jmvae", "alpha": 2}
    }


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        apply_assignments({"seed": 0}, ["nothing", "seed.x=1", "a=1", "a=2", "b" + ".b" * 5000 + "=1"])
    text = str(caught.value)
    assert "expected key=value" in text
    assert "seed.x: seed is a plain value and has no keys" in text
    assert "a: set twice" in text
    assert "b.b.b: no setting is more than 16 keys deep\n  given: 5001 keys" in text


@given(st.dictionaries(st.sampled_from(["a", "b", "c.d", "c.e", "f.g.h"]), st.integers()))
def test_settings_read_back(settings: dict[str, int]) -> None:
    result = apply_settings({"z": 1}, [(tuple(key.split(".")), value) for key, value in settings.items()])
    for key, value in {**settings, "z": 1}.items():
        found: Any = result
        for part in key.split("."):
            found = found[part]
        assert found == value


def test_json_settings_are_dotted_or_nested() -> None:
    assert parse_json('{"objective.lambda": 5, "training": {"steps": 2, "list": [{"a": null}]}}') == [
        (("objective", "lambda"), 5),
        (("training",), {"steps": 2, "list": [{"a": None}]}),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("[1]", "expected a JSON object of settings"),
        ("3", "expected a JSON object of settings"),
        ('{"a": 1, "a": 2}', "a: duplicate key"),
        ('{"a": {"b": 1, "b": 2}}', "b: duplicate key"),
        ('{"a.": 1}', "expected dotted keys"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_json_of_settings(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        parse_json(text)
    assert str(caught.value).startswith("--set-json")
    assert len(str(caught.value)) < 500


TEXT = """\
dataset: {name: mnist_a, canvas: 32}
backbone: mnist_a_thin
objective: telbo
training:
  steps: 10
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "trial.yaml"
    file.write_text(TEXT)
    return file


def test_a_file_alone(path: Path) -> None:
    assert load_trial(path) == TrialSpec.parse(
        {
            "dataset": {"name": "mnist_a", "canvas": 32},
            "backbone": "mnist_a_thin",
            "objective": "telbo",
            "training": {"steps": 10},
        }
    )


def test_settings_alone() -> None:
    json = '{"dataset": {"name": "mnist_a", "canvas": 16}, "backbone": "mnist_a_thin", "objective.lambda": 3}'
    spec = load_trial(json_settings=json, assignments=["objective=jmvae", "training.steps=7"])
    assert spec.objective.parameters() == {"lambda": 3.0, "alpha": 1.0}
    assert spec.training.steps == 7


def test_later_sources_win(path: Path) -> None:
    assert load_trial(path, json_settings='{"training.steps": 2}').training.steps == 2
    assert load_trial(path, json_settings='{"training.steps": 2}', assignments=["training.steps=3"]).training.steps == 3


def test_evaluation_is_a_default(path: Path) -> None:
    asked = {"num_samples": 50}
    assert load_trial(path, evaluation=asked).evaluation.num_samples == 50
    assert load_trial(path, evaluation=asked, assignments=["evaluation.num_samples=60"]).evaluation.num_samples == 60


def test_a_spec_written_by_a_run_reads_back(path: Path, tmp_path: Path) -> None:
    from mmvae_bench.base.canonical import canonical_json

    spec = load_trial(path)
    (tmp_path / "spec.json").write_text(canonical_json(spec.canonical()))
    assert load_trial(tmp_path / "spec.json").key == spec.key


def test_problems_of_the_file_have_their_line_and_those_of_the_command_line_say_so(path: Path) -> None:
    path.write_text(TEXT.replace("steps", "stesp"))
    with pytest.raises(ConfigError) as caught:
        load_trial(path, assignments=["objective.alpha=1"])
    text = str(caught.value)
    assert f"{path}:5: training.stesp: unknown key 'stesp' of training" in text
    assert f"{path}: objective.alpha: unknown key 'alpha' of telbo (set on the command line)" in text


def test_both_kinds_of_setting_can_be_wrong(path: Path) -> None:
    with pytest.raises(ConfigError, match="--set-json: not valid JSON"):
        load_trial(path, json_settings="{")
    with pytest.raises(ConfigError) as caught:
        load_trial(path, assignments=["seed=1", "seed=2", "what"])
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("text", ["- 1\n", "telbo\n"])
def test_a_file_of_something_else(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"{path}:1: expected a mapping"):
        load_trial(path)


def test_a_problem_of_the_yaml_itself(path: Path) -> None:
    path.write_text(TEXT + "seed: 1\nseed: 2\n")
    with pytest.raises(ConfigError, match=f"{path}:7: seed: duplicate key, first given on line 6"):
        load_trial(path)


def test_nothing_at_all() -> None:
    with pytest.raises(ConfigError) as caught:
        load_trial()
    assert {problem.location for problem in caught.value.problems} == {("dataset",), ("backbone",), ("objective",)}
