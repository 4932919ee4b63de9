"""``--set`` and ``--set-json``: a spec that can be run, or a message."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from .conftest import Desk, inputs
from .strategies import TRIAL, likely, mutated, paths, scalars, values, words, yaml_texts

pytestmark = pytest.mark.not_in_check

Enough = Callable[[str, int], None]
keys = st.one_of(
    st.sampled_from([".".join(path) for path in paths(TRIAL)]),
    st.lists(words, min_size=1, max_size=3).map(".".join),
    st.text(max_size=10),
)
written = st.one_of(words, scalars.map(str), values.map(lambda value: json.dumps(value)[:3000]), yaml_texts)
likely_assignments = st.one_of(
    st.builds("{}={}".format, st.sampled_from([".".join(path) for path in paths(TRIAL)]), likely.map(json.dumps)),
    st.sampled_from(["objective=telbo", "objective.lambda=5", "training.steps=7", "seed=1", "evaluation.levels=[4]"]),
)
assignments = st.one_of(st.builds("{}={}".format, keys, written), likely_assignments, st.text(max_size=12))
several = st.one_of(st.lists(likely_assignments, min_size=1, max_size=2), st.lists(assignments, min_size=1, max_size=3))


@pytest.fixture(autouse=True, scope="module")
def trial_file(desk: Desk) -> None:
    """A good trial, which the settings change."""
    (desk.folder / "trial.json").write_text(json.dumps(TRIAL))


@given(texts=several, alone=st.booleans())
@inputs("--set")
@example(texts=["seed=0x" + "f" * 5000], alone=False)
@example(texts=["seed=" + "9" * 5000], alone=False)
@example(texts=["a" + ".a" * 5000 + "=1"], alone=False)
@example(texts=["seed=" + "[" * 2000], alone=False)
@example(texts=["seed=" + "[" * 331 + "]" * 331], alone=False)
@example(texts=["seed=" + "{a: " * 331 + "}" * 331], alone=True)
@example(texts=["evaluation.levels=" + "[" * 150 + "]" * 150], alone=False)
def test_assignments(desk: Desk, texts: list[str], alone: bool) -> None:
    file = [] if alone else ["--spec", "trial.json"]
    desk.ask("--set", ["train", *file, "--out", "out", *(word for text in texts for word in ("--set", text))])


# Objects of settings, good and bad, and text that is hardly JSON.
objects: st.SearchStrategy[object] = st.one_of(
    st.dictionaries(keys, values, max_size=4),
    mutated(TRIAL),
    mutated({".".join(path): None for path in paths(TRIAL)}),
)
json_texts = st.one_of(
    objects.map(json.dumps),
    st.tuples(objects.map(json.dumps), st.integers(0, 200)).map(lambda pair: pair[0][: pair[1]]),
    st.text(alphabet='{}[]":,.0123456789eE+-truefalsnN\\u ', max_size=30),
    yaml_texts,
)


@given(text=json_texts, alone=st.booleans())
@inputs("--set-json")
@example(text='{"seed": ' + "9" * 5000 + "}", alone=False)
@example(text="[" * 100_000, alone=False)
@example(text='{"a":' * 900 + "1" + "}" * 900, alone=False)
@example(text='{"seed": ' + "[" * 331 + "]" * 331 + "}", alone=False)
@example(text='{"seed": 1, "seed": 1}', alone=False)
@example(text='{"objective": "\\ud800"}', alone=False)
@example(text='{"seed": NaN}', alone=False)
@example(text='{"seed": 1e400}', alone=False)
def test_json(desk: Desk, text: str, alone: bool) -> None:
    file = [] if alone else ["--spec", "trial.json"]
    desk.ask("--set-json", ["train", *file, "--out", "out", "--set-json", text])


def test_enough_was_tried(enough: Enough) -> None:
    enough("--set", 10)
    enough("--set-json", 10)
