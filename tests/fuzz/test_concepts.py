"""Concept strings: value indices, or a message that names what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mmvae_bench.base.canonical import canonical_json
from mmvae_bench.base.errors import ConfigError
from mmvae_bench.specs.built_in.datasets import MNIST_A_SCHEMA
from mmvae_bench.specs.trial import TrialSpec

from .conftest import Desk, accepted, inputs
from .strategies import TRIAL, words

pytestmark = pytest.mark.not_in_check

Enough = Callable[[str, int], None]
names = st.sampled_from([*MNIST_A_SCHEMA.names, "digits", "scal", "Digit"])
marks = st.sampled_from(
    [value for attribute in MNIST_A_SCHEMA.attributes for value in attribute.values] + ["*", "10", "Big"]
)
pairs = st.one_of(
    st.builds("{}={}".format, names, marks),
    st.sampled_from(["digit=6", "scale=small", "orientation=upright", "location=top-left", " digit = 6 ", "digit=*"]),
    st.builds("{}={}".format, st.one_of(names, words), st.one_of(marks, words, st.text(max_size=4))),
    st.text(max_size=10),
)
likely = st.builds("{}={}".format, st.sampled_from(MNIST_A_SCHEMA.names), marks)
texts = st.one_of(
    st.lists(likely, max_size=2).map(", ".join), st.lists(pairs, max_size=4).map(",".join), st.text(max_size=30)
)


@pytest.fixture(scope="module")
def trial(desk: Desk) -> Path:
    """A trial's folder, without a trained model."""
    folder = desk.folder / "trial"
    folder.mkdir()
    (folder / "spec.json").write_text(canonical_json(TrialSpec.parse(TRIAL).canonical()))
    return folder


@given(text=texts)
@inputs("concepts")
@example(text="=" * 1000)
@example(text="," * 1000)
@example(text="digit=6,digit=6")
@example(text="--help")
@example(text="digit=\u0666")
def test_concepts(desk: Desk, trial: Path, text: str) -> None:
    try:
        indices = MNIST_A_SCHEMA.indices(text)
    except ConfigError:
        assert not _imagined(desk, trial, text)
        return
    assert len(indices) == len(MNIST_A_SCHEMA)
    assert all(-1 <= index < size for index, size in zip(indices, MNIST_A_SCHEMA.sizes, strict=True))
    assert MNIST_A_SCHEMA.indices(MNIST_A_SCHEMA.format(indices)) == indices
    assert _imagined(desk, trial, text)


def _imagined(desk: Desk, trial: Path, text: str) -> bool:
    """Whether ``imagine`` takes a concept: it then misses the model."""
    # Behind "--", a concept may begin with a dash.
    answer = desk.ask("concepts", ["imagine", "--out", "x.png", "--", str(trial), text])
    assert answer is None
    taken = "has not been trained yet" in desk.said
    accepted["concepts"] += taken
    return taken


def test_enough_was_tried(enough: Enough) -> None:
    enough("concepts", 10)
