"""Grid files that are wrong in ways nobody thought of: refused with a message, and nothing started or written."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from .conftest import Desk, inputs
from .strategies import GRID, SWEEP, grid_texts, paths, texts_of, values, words, yaml_texts

pytestmark = pytest.mark.not_in_check

Enough = Callable[[str, int], None]


@given(text=yaml_texts)
@inputs("grid text")
@example(text="name: x\n" + "a: [" * 3000)
@example(text="a: &a [*a]")
@example(text="a: &a {<<: *a}")
@example(text="[" * 500 + "]" * 500)
@example(text="{" * 200 + "}" * 200)
@example(text="x: " + "- " * 900)
@example(text="name: 0x" + "f" * 5000)
@example(text='name: "\\ud800"')
@example(text="a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a]\nc: [*b,*b,*b]\n")
def test_any_text(desk: Desk, text: str) -> None:
    (desk.folder / "grid.yaml").write_bytes(text.encode(errors="surrogatepass"))
    desk.plan("grid text")


@given(text=grid_texts())
@inputs("grid files")
def test_grids_with_something_wrong(desk: Desk, text: str) -> None:
    (desk.folder / "grid.yaml").write_bytes(text.encode(errors="surrogatepass"))
    desk.plan("grid files")


places = sorted({".".join(str(key) for key in path if not isinstance(key, int)) for path in paths(GRID)})
trial_paths = ["dataset", "backbone", "objective", "seed", "dataset.split", "objective.lambda", "training.steps"]
conditions = st.one_of(
    st.builds(
        "{}={}".format, st.one_of(st.sampled_from([*trial_paths, *places]), words), st.one_of(words, values.map(repr))
    ),
    st.text(max_size=12),
)
likely_conditions = st.sampled_from(
    ["objective=telbo", "seed=0", "dataset.split=iid", "objective.lambda=10", "backbone.width=4", "dataset=mnist_a",
     "training.learning_rate=1e-3", "objective.schedule=joint", "seed=7", "training.steps=11"]
)  # fmt: skip
several = st.one_of(st.lists(likely_conditions, min_size=1, max_size=3), st.lists(conditions, min_size=1, max_size=3))


@given(wanted=several)
@inputs("--where")
def test_conditions(desk: Desk, wanted: list[str]) -> None:
    (desk.folder / "grid.yaml").write_text(json.dumps(GRID))
    desk.plan("--where", *(word for text in wanted for word in ("--where", text)))


@pytest.mark.parametrize("setting", ["seeds: [{}]", "training: {{steps: {}}}", "evaluation: {{seed: {}}}"])
@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64, 10**30], ids=hex)
def test_numbers_that_no_table_takes(setting: str, number: int, desk: Desk) -> None:
    """JSON readers and Parquet would change them or refuse them, after training."""
    grid = "name: x\ndatasets: [{name: mnist_a, canvas: 32}]\nbackbones: [mnist_a_thin]\nobjectives: [telbo]\n"
    (desk.folder / "grid.yaml").write_text(grid + setting.format(2**53) + "\n")
    assert desk.plan("large numbers") is not None
    (desk.folder / "grid.yaml").write_text(grid + setting.format(number) + "\n")
    assert desk.plan("large numbers") is None
    assert "given: " in desk.said


@given(text=texts_of(SWEEP))
@inputs("sweep files")
@example(text="method: random\nrun_cap: 1" + "0" * 400 + "\nparameters: {seed: {min: 0, max: 1" + "0" * 400 + "}}")
def test_sweeps_with_something_wrong(desk: Desk, text: str) -> None:
    (desk.folder / "sweep.yaml").write_bytes(text.encode(errors="surrogatepass"))
    plan = desk.ask("sweep files", ["sweep", "--local", "sweep.yaml", "--dry-run", "--json"])
    assert plan is None or json.loads(plan)["trials"]


def test_enough_was_tried(enough: Enough) -> None:
    enough("grid files", 60)
    enough("grid text", 0)
    enough("sweep files", 30)
    enough("--where", 20)
