"""Labels: where trials are shown together each is told from the others, with no more words than that takes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mmvae_bench.base.canonical import canonical_json
from mmvae_bench.specs.grid import GridSpec
from mmvae_bench.specs.labels import trial_labels
from mmvae_bench.specs.trial import TrialSpec

GRID: dict[str, Any] = {
    "name": "labels",
    "datasets": [{"name": "mnist_a", "canvas": 16}],
    "backbones": ["mnist_a_thin"],
    "objectives": ["jmvae"],
}
FEW_LABELS: list[dict[str, Any]] = [{"labels_per_class": 10}, {"labels_per_class": 20}, {"fraction": 0.1}]


def labels(**lists: Any) -> list[str]:
    return trial_labels(GridSpec.parse(GRID | lists).trials)


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ({}, ["jmvae mnist_a/digits/iid seed 0"]),
        ({"seeds": [0, 1]}, ["jmvae mnist_a/digits/iid seed 0", "jmvae mnist_a/digits/iid seed 1"]),
        (
            {"objectives": [{"name": "jmvae", "alpha": 0.1}, {"name": "jmvae", "alpha": 1}, "telbo"]},
            ["jmvae mnist_a/digits/iid seed 0 alpha=0.1", "jmvae mnist_a/digits/iid seed 0 alpha=1",
             "telbo mnist_a/digits/iid seed 0"],
        ),
        (
            {"training": [{"steps": 10}, {"steps": 10, "learning_rate": 1e-3}]},
            ["jmvae mnist_a/digits/iid seed 0 learning_rate=0.0001",
             "jmvae mnist_a/digits/iid seed 0 learning_rate=0.001"],
        ),
        (  # Without the part, they would be taken for those of training, and for the objective.
            {"datasets": [{"name": "mnist_a", "canvas": 64, "seed": 1}, {"name": "mnist_a", "canvas": 64}],
             "backbones": ["mnist_a_paper", "mnist_a_released"]},
            [f"jmvae mnist_a/digits/iid seed 0 dataset.seed={seed} backbone={name} {own}=5e-06"
             for seed in (1, 0) for name, own in (("mnist_a_paper", "l2"), ("mnist_a_released", "l1"))],
        ),
        (  # Two numbers that a short form would not tell apart.
            {"objectives": [{"name": "jmvae", "alpha": alpha} for alpha in (0.12345678, 0.12345679)]},
            [f"jmvae mnist_a/digits/iid seed 0 alpha={alpha}" for alpha in (0.12345678, 0.12345679)],
        ),
        (  # A section that some trials lack: what they share in it, and what they leave open, says nothing.
            {"training": [{"steps": 10}, *({"steps": 10, "supervision": each} for each in FEW_LABELS)]},
            [f"jmvae mnist_a/digits/iid seed 0{told}"
             for told in ("", " labels_per_class=10", " labels_per_class=20", " fraction=0.1")],
        ),
        (
            {"training": [{"steps": 10, "supervision": each} for each in FEW_LABELS[1:]]},
            [f"jmvae mnist_a/digits/iid seed 0{told}" for told in (" labels_per_class=20", " fraction=0.1")],
        ),
        (
            {"training": [{"steps": 10, "supervision": FEW_LABELS[0] | {"rate": rate}} for rate in (0.1, 0.5)]},
            [f"jmvae mnist_a/digits/iid seed 0 rate={rate}" for rate in (0.1, 0.5)],
        ),
    ],
)  # fmt: skip
def test_what_differs_is_added_and_nothing_else(lists: dict[str, Any], expected: list[str]) -> None:
    assert labels(**lists) == expected


def test_recorded_trials_are_called_as_their_specs_are() -> None:
    trials = GridSpec.parse(GRID | {"objectives": [{"name": "jmvae", "alpha": 0}, {"name": "jmvae"}]}).trials
    assert trial_labels([trial.canonical() for trial in trials]) == trial_labels(trials)


def test_null_is_said_where_nothing_else_tells_two_trials_apart() -> None:
    """One may have been recorded without a setting that the other leaves open."""
    (good,) = (trial.canonical() for trial in GridSpec.parse(GRID).trials)
    other = good | {"backbone": good["backbone"] | {"open": None}}
    assert trial_labels([good, other])[1] == "jmvae mnist_a/digits/iid seed 0 open=null"


@pytest.mark.parametrize("part", [None, "x", [1], 3, {}])
@pytest.mark.parametrize("kind", ["dataset", "backbone", "objective", "training"])
def test_damaged_trials_have_labels_too(kind: str, part: object) -> None:
    good: dict[str, Any] = TrialSpec.parse(
        {"dataset": {"name": "mnist_a", "canvas": 16}, "backbone": "mnist_a_thin", "objective": "jmvae"}
    ).canonical()
    assert len(trial_labels([good, good | {kind: part}, {}])) == 3


def test_labels_are_those_of_what_is_stored_in_any_order() -> None:
    """A driver has specs, whose settings are in the order of their fields; ``status`` and reports read sorted JSON."""
    few = {"fraction": 0.1, "by_seed": True}
    lists: dict[str, Any] = {
        "objectives": [
            {"name": "telbo", "lambda": 1, "gamma": 1},
            {"name": "telbo", "lambda": 10, "gamma": 5},
            "telbo",
        ],
        "training": [{"steps": 10}, {"steps": 10, "supervision": few}],
    }
    trials = GridSpec.parse(GRID | lists).trials
    found = trial_labels(trials)
    assert found[1] == "telbo mnist_a/digits/iid seed 0 gamma=1 lambda=1 fraction=0.1"
    assert trial_labels([json.loads(canonical_json(trial.canonical())) for trial in trials]) == found
    assert trial_labels(trials[::-1]) == found[::-1]
