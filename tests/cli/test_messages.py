"""What is said to those who gave the right thing in the wrong place, and how trials are called in every list."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmvae_bench import cli
from mmvae_bench.report.gather import load
from mmvae_bench.report.notes import explain_missing
from mmvae_bench.report.trials import find_trials
from mmvae_bench.runs.status import Status, write_status
from mmvae_bench.runs.store import RunStore
from mmvae_bench.specs.grid import GridSpec
from mmvae_bench.sweep.schedule import trials_of

CONFIGS = Path(__file__).parents[2] / "configs"
PARTS = ["--set", "dataset.name=mnist_a", "--set", "dataset.canvas=16", "--set", "backbone.name=mnist_a_thin"]
GRID = {
    "name": "two",
    "datasets": [{"name": "mnist_a", "canvas": 16}],
    "backbones": ["mnist_a_thin"],
    "objectives": [{"name": "jmvae", "alpha": 0.1}, {"name": "jmvae", "alpha": 1.0}],
    "training": {"steps": 10},
}
LABELS = ["jmvae mnist_a/digits/iid seed 0 alpha=0.1", "jmvae mnist_a/digits/iid seed 0 alpha=1"]


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    assert not printed.out
    return printed.err


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("lr=1e-3", ["lr: unknown key 'lr' of trial", "nearest: training.learning_rate"]),
        ("learning_rate=1e-3", ["nearest: training.learning_rate"]),
        ("objective.batch_size=3", ["unknown key 'batch_size' of jmvae", "nearest: training.batch_size"]),
        ("training.lambda=3", ["nearest: objective.lambda"]),
        ("latent_dim=3", ["nearest: backbone.latent_size"]),
        ("training.stpes=3", ["nearest: steps"]),
        ("training.device=cuda", ["unknown key 'device' of training", "CUDA_VISIBLE_DEVICES"]),
        ("objective.alpha=[0.1, 1]", ["did you mean a grid?", "[{name: jmvae, alpha: 0.1}, {name: jmvae, alpha: 1}]"]),
        ("seed=[0, 1]", ["did you mean a grid? There it is seeds: [0, 1]"]),
        ("training.precision=[float32, tf32]", ["not a list: did you mean a grid?", "{precision: float32}"]),
    ],
)
def test_a_setting_in_the_wrong_place(setting: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(["train", *PARTS, "--set", "objective.name=jmvae", "--set", setting, "--out", "x"], capsys)
    assert [word for word in words if word not in said] == []


def test_another_objectives_setting_is_not_called_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(
        ["train", *PARTS, "--set", "objective.name=jmvae", "--set", "objective.beta=1", "--out", "x"], capsys
    )
    assert "unknown key 'beta' of jmvae" in said
    assert "nearest" not in said


@pytest.mark.parametrize(
    ("arguments", "is_a", "command"),
    [
        (["run", "--grid", "sweep_wandb.yaml"], "a W&B sweep file", "mmvae-bench sweep --local"),
        (["sweep", "--local", "ci.yaml"], "a grid", "mmvae-bench run"),
        (["train", "--out", "x", "--spec", "ci.yaml"], "a grid", "mmvae-bench run"),
        (["train", "--out", "x", "--spec", "sweep_wandb.yaml"], "a W&B sweep file", "mmvae-bench sweep --local"),
        (["run", "trial.yaml"], "the spec of one trial", "mmvae-bench train --spec"),
        (["sweep", "--local", "trial.yaml"], "the spec of one trial", "mmvae-bench train --spec"),
    ],
)
def test_a_file_of_another_kind(
    arguments: list[str], is_a: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trial.yaml").write_text("dataset: mnist_a\nbackbone: mnist_a_thin\nobjective: telbo\n")
    *words, name = arguments
    path = next(path for path in (tmp_path / name, CONFIGS / name) if path.exists())
    assert f"{path}: this is {is_a}, which {command} takes, not " in refused([*words, str(path)], capsys)


def test_a_grid_is_taken_as_an_argument_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "grid.yaml").write_text(json.dumps(GRID))
    printed = []
    for words in (["run", str(tmp_path / "grid.yaml")], ["run", "--grid", str(tmp_path / "grid.yaml")]):
        assert cli.main([*words, "--dry-run"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert [line.partition("steps  ")[2] for line in printed[0].splitlines()] == LABELS
    assert "two grid files, a and b: give one" in refused(["run", "a", "--grid", "b"], capsys)


def test_every_list_of_trials_tells_them_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    specs = GridSpec.parse(GRID).trials
    store = RunStore(tmp_path / "run")
    store.create(
        ((spec.key, spec.canonical(), spec.evaluation.canonical()) for spec in specs),
        grid_text=json.dumps(GRID),
        grid_keys={spec.key for spec in specs},
    )
    for spec in specs:
        write_status(store.folder(spec.key).directory, Status(state="failed", error="it broke"))
    assert [trial.label for trial in trials_of(specs, store)] == LABELS
    assert cli.main(["status", str(store.root)]) == 0
    said = capsys.readouterr().out
    missing = "\n".join(explain_missing(load(find_trials(store.root)).trials, 0))
    for text in (said, missing):
        assert [label for label in LABELS if label not in text] == []
