"""Settings of the command line, one by one or as JSON."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.specs.overrides import apply_assignments, apply_settings, parse_assignment, parse_json


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
