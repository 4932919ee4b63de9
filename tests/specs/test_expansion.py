"""Expansion against nested loops over plain values, its speed, and which trials ``--where`` keeps."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.specs.components import objectives
from mmvae_bench.specs.grid import GridSpec, expand
from mmvae_bench.specs.trial import TrialSpec

DATASETS: list[Any] = [{"name": "mnist_a", "canvas": 32, "split": split} for split in ("iid", "comp")]
BACKBONES: list[Any] = ["mnist_a_thin", {"name": "mnist_a_thin", "width": 8}]
OBJECTIVES: list[Any] = ["telbo", {"name": "telbo", "gamma": 50}, "jmvae", {"name": "jmvae", "alpha": 1}, "bivcca"]
TRAINING: list[Any] = [{"steps": 10}, {"steps": 20, "learning_rate": 1e-3}]
CONDITIONS: dict[str, list[Any]] = {
    "objective": ["telbo", "jmvae", "jvae"],
    "objective.lambda": [50],
    "dataset.split": ["comp"],
    "backbone.width": [8],
    "training.steps": [10, 30],
    "seed": [0, 3],
}


def some(values: list[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=3)


BLOCK = {
    "datasets": some(DATASETS),
    "backbones": some(BACKBONES),
    "objectives": some(OBJECTIVES),
    "training": some(TRAINING),
    "seeds": some([0, 1, 2]),
}
RULE = st.sampled_from(sorted(CONDITIONS)).flatmap(
    lambda path: st.tuples(st.just(path), st.sampled_from(CONDITIONS[path]))
)
GRIDS = st.fixed_dictionaries(
    {"name": st.just("x"), **BLOCK},
    optional={
        "include": st.lists(st.fixed_dictionaries({}, optional=dict(BLOCK)), max_size=2),
        "exclude": st.lists(st.lists(RULE, min_size=1, max_size=2).map(dict), max_size=2),
    },
)


def by_loops(grid: dict[str, Any]) -> list[str]:
    """The keys of the trials of a plain grid: products in a row, conditions on the canonical JSON."""
    keys: list[str] = []
    for block in [{}, *grid.get("include", [])]:
        lists = [block.get(key, grid[key]) for key in BLOCK]
        for dataset, backbone, objective, training, seed in itertools.product(*lists):
            spec = TrialSpec.parse(
                {"dataset": dataset, "backbone": backbone, "objective": objective, "training": training, "seed": seed}
            )
            plain = spec.canonical()
            if any(all(holds(plain, *item) for item in rule.items()) for rule in grid.get("exclude", [])):
                continue
            if spec.key not in keys:
                keys.append(spec.key)
    return keys


def holds(plain: dict[str, Any], path: str, value: Any) -> bool:
    part, _, key = path.partition(".")
    found = plain[part]
    if isinstance(found, dict):
        found = found.get(key or "name", "nothing of this name")
    return bool(found == value)


@settings(max_examples=60, deadline=None)
@given(GRIDS)
def test_expansion_is_nested_loops(grid: dict[str, Any]) -> None:
    wanted = by_loops(grid)
    if not wanted:
        with pytest.raises(ConfigError, match="the grid has no trials: exclude leaves out all"):
            GridSpec.parse(grid).trials  # noqa: B018
    else:
        assert [trial.key for trial in GridSpec.parse(grid).trials] == wanted


def plain_grid(**changes: Any) -> dict[str, Any]:
    return {
        "name": "x",
        "datasets": DATASETS,
        "backbones": BACKBONES[:1],
        "objectives": ["telbo", "jmvae"],
        "training": {"steps": 5},
        **changes,
    }


def test_order_is_dataset_backbone_objective_training_seed() -> None:
    grid = GridSpec.parse(plain_grid(seeds=[3, 1], training=[{"steps": 7}, {"steps": 5}]))
    assert [
        (trial.dataset.split, trial.objective.name, trial.training.steps, trial.seed) for trial in grid.trials
    ] == list(itertools.product(["iid", "comp"], ["telbo", "jmvae"], [7, 5], [3, 1]))


def test_identical_trials_are_one_however_they_are_written() -> None:
    written = ["telbo", {"name": "telbo"}, {"name": "telbo", "lambda": 50, "gamma": 1.0}]
    grid = GridSpec.parse(plain_grid(objectives=written, seeds=[0, 0], include=[{"seeds": [0]}]))
    assert len(grid.trials) == 2


def test_an_include_replaces_the_lists_it_gives() -> None:
    grid = GridSpec.parse(plain_grid(include=[{"objectives": ["bivcca"], "training": {"batch_size": 8}}]))
    *_, last = grid.trials
    assert len(grid.trials) == 6
    assert (last.objective.name, last.training.batch_size) == ("bivcca", 8)
    assert last.training.steps == 250_000  # the default: training is replaced whole, not merged


def test_a_grid_can_be_includes_alone() -> None:
    grid = GridSpec.parse(
        {
            "name": "x",
            "backbones": ["mnist_a_thin"],
            "seeds": [4],
            "include": [
                {"datasets": [DATASETS[0]], "objectives": ["telbo"], "training": {"steps": 1}},
                {"datasets": [DATASETS[1]], "objectives": ["jmvae"], "training": [{"steps": 2}]},
            ],
        }
    )
    assert [(trial.dataset.split, trial.objective.name, trial.training.steps, trial.seed) for trial in grid.trials] == [
        ("iid", "telbo", 1, 4),
        ("comp", "jmvae", 2, 4),
    ]


def test_exclude_needs_all_of_its_conditions() -> None:
    grid = GridSpec.parse(plain_grid(exclude=[{"objective": "telbo", "dataset.split": "comp"}]))
    assert [(trial.dataset.split, trial.objective.name) for trial in grid.trials] == [
        ("iid", "telbo"),
        ("iid", "jmvae"),
        ("comp", "jmvae"),
    ]


def test_exclude_compares_values_not_spellings() -> None:
    objectives = [{"name": "telbo", "lambda": 10}, "jmvae"]
    grid = GridSpec.parse(plain_grid(objectives=objectives, exclude=[{"objective.lambda": "1e1"}]))
    assert {trial.objective.name for trial in grid.trials} == {"jmvae"}


def test_an_exclude_that_removes_nothing_is_no_error() -> None:
    assert len(GridSpec.parse(plain_grid(exclude=[{"objective": "jvae"}, {"seed": 9}])).trials) == 4


def test_every_trial_is_asked_what_the_grid_asks() -> None:
    grid = GridSpec.parse(plain_grid(evaluation={"num_samples": 33}))
    assert {trial.evaluation.num_samples for trial in grid.trials} == {33}


def test_an_include_can_ask_otherwise() -> None:
    """Its trials alone; and a level that its dataset has not is located there."""
    own = {"seeds": [7], "evaluation": {"num_samples": 12}}
    grid = GridSpec.parse(plain_grid(evaluation={"num_samples": 33}, include=[own]))
    assert {(trial.seed, trial.evaluation.num_samples) for trial in grid.trials} == {(0, 33), (7, 12)}
    with pytest.raises(ConfigError) as caught:
        GridSpec.parse(plain_grid(include=[{"seeds": [7], "evaluation": {"levels": [9]}}])).trials  # noqa: B018
    # The level that is too high, and on split comp the missing level of full concepts.
    levels = ("include", 0, "evaluation", "levels")
    assert {problem.location for problem in caught.value.problems} == {levels, (*levels, 0)}


def test_a_hundred_thousand_trials_take_seconds() -> None:
    objectives = [{"name": "telbo", "lambda": 1 + number} for number in range(500)]
    grid = GridSpec.parse(plain_grid(objectives=objectives, seeds=list(range(100)), exclude=[{"seed": 5}]))
    start = time.process_time()
    assert len(grid.trials) == 2 * 500 * 99
    assert time.process_time() - start < 10  # 1.1 s where it was written; machines are noisy


@pytest.fixture(scope="module")
def grid() -> GridSpec:
    return GridSpec.parse(
        {
            "name": "x",
            "datasets": [{"name": "mnist_a", "canvas": 32, "split": split} for split in ("iid", "comp")],
            "backbones": ["mnist_a_thin"],
            "objectives": ["telbo", {"name": "jmvae", "lambda": 10}, "bivcca"],
            "training": {"steps": 5},
            "seeds": [0, 1],
        }
    )


def test_without_conditions_every_trial(grid: GridSpec) -> None:
    assert expand(grid) == list(grid.trials)
    assert expand(grid, where=[]) == list(grid.trials)


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        (["objective=telbo"], {"telbo": 4}),
        (["objective=telbo", "objective=bivcca"], {"telbo": 4, "bivcca": 4}),
        (["objective=telbo", "objective=bivcca", "seed=1"], {"telbo": 2, "bivcca": 2}),
        (["dataset.split=comp", "seed=0"], {"telbo": 1, "jmvae": 1, "bivcca": 1}),
        (["objective.lambda=10"], {"jmvae": 4}),
        (["objective.lambda=1e1"], {"jmvae": 4}),
        (["objective.gamma=1"], {"telbo": 4}),
        (["objective.name=jmvae"], {"jmvae": 4}),
        (["dataset.num_sources=null", "training.steps=5"], {"telbo": 4, "jmvae": 4, "bivcca": 4}),
        (["backbone=mnist_a_thin", "seed=0"], {"telbo": 2, "jmvae": 2, "bivcca": 2}),
    ],
)
def test_conditions(grid: GridSpec, where: list[str], kept: dict[str, int]) -> None:
    found = expand(grid, where=where)
    assert {name: sum(trial.objective.name == name for trial in found) for name in kept} == kept
    assert len(found) == sum(kept.values())
    assert found == [trial for trial in grid.trials if trial in found]  # in the grid's order


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (
            ["objective=teblo"],
            "--where: objective=teblo: unknown objective 'teblo'\n"
            f"  choices: {', '.join(sorted(objectives.names()))}\n  nearest: telbo",
        ),
        (
            ["objective=jvae"],
            "--where: objective=jvae: no trial of the grid has this objective\n  choices: telbo, jmvae, bivcca\n"
            "  nearest: jmvae",
        ),
        (["seed=7"], "--where: seed=7: no trial of the grid has this seed\n  choices: 0, 1"),
        (
            ["dataset.slpit=comp"],
            "--where: dataset.slpit=comp: unknown path 'dataset.slpit'\n  choices: dataset, dataset.name, "
            "dataset.source, dataset.split, dataset.split_seed, dataset.canvas, dataset.replicas, dataset.num_sources, "
            "dataset.seed\n"
            "  nearest: dataset.split",
        ),
        (
            ["dataset.split=compo"],
            "--where: dataset.split=compo: not one of the choices\n  given: 'compo'\n"
            "  choices: iid, iid_disjoint, comp\n  nearest: comp",
        ),
        (["objective"], "--where: objective: expected key=value"),
        (["objective="], "--where: objective=: no value after the equals sign"),
        (
            ["objective=telbo", "objective.lambda=10"],
            "--where: none of the 12 trials of the grid has objective=telbo and objective.lambda=10 "
            "(existing values: objective: telbo, jmvae, bivcca; objective.lambda: 50.0, 10.0)",
        ),
    ],
)
def test_conditions_that_leave_nothing_say_what_there_was(grid: GridSpec, where: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        expand(grid, where=where)
    assert str(caught.value).startswith(message)


def test_every_bad_condition_is_named(grid: GridSpec) -> None:
    with pytest.raises(ConfigError) as caught:
        expand(grid, where=["objective=teblo", "seed=9", "seed=0"])
    assert len(caught.value.problems) == 2
