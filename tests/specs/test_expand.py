"""``expand`` with ``--where``: which trials are kept, and what is said where there are none."""

from __future__ import annotations

import pytest

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.specs.components import objectives
from mmvae_bench.specs.grid import GridSpec, expand


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
