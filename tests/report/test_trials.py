"""Run folders in every state, and folders that are not runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.base.files import write_json
from mmvae_bench.report.gather import read_run
from mmvae_bench.report.trials import TrialRecord

from .synthetic_runs import spec_of, write_trial

GRID = """
name: demo
datasets:
  - {name: mnist_a, source: digits, canvas: 32, split: iid}
  - {name: mnist_a, source: digits, canvas: 32, split: comp}
backbones: [mnist_a_thin]
objectives: [telbo, jmvae, bivcca]
training: {steps: 6000, learning_rate: 0.001}
seeds: [0, 1]
"""


def only(run_dir: Path) -> TrialRecord:
    (record,) = read_run(run_dir).trials
    return record


def test_states(run_dir: Path) -> None:
    states = {(trial.objective, trial.spec["dataset"]["split"], trial.spec["seed"]): trial.state
              for trial in read_run(run_dir).trials}  # fmt: skip
    assert states.pop(("jmvae", "comp", 1)) == "failed"
    assert states.pop(("telbo", "comp", 1)) == "pending"
    assert set(states.values()) == {"done"}


def test_the_order_is_that_of_the_grid(run_dir: Path) -> None:
    (run_dir / "grid.yaml").write_text(GRID)
    run = read_run(run_dir)
    found = [(trial.spec["dataset"]["split"], trial.objective, trial.spec["seed"]) for trial in run.trials]
    assert found == [(split, name, seed) for split in ("iid", "comp") for name in ("telbo", "jmvae") for seed in (0, 1)]
    assert run.unstarted == 4


def test_a_grid_that_cannot_be_read_changes_only_the_order(run_dir: Path) -> None:
    (run_dir / "grid.yaml").write_text("name: [")
    assert len(read_run(run_dir).trials) == 8


def test_reason_of_a_failure(run_dir: Path) -> None:
    (failed,) = [trial for trial in read_run(run_dir).trials if trial.state == "failed"]
    assert failed.problem == "NonFiniteLoss: loss is not finite at step 17 (kl)"


def test_a_killed_process_is_called_interrupted(tmp_path: Path) -> None:
    write_trial(tmp_path, spec_of(), "running", step=100)
    assert only(tmp_path).state == "interrupted"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "cannot be read"),
        (lambda text: "[]", "expected a JSON object"),
        (lambda text: text.replace('"scores"', '"scrs"'), "has no scores"),
        (lambda text: text.replace('"version": 1', '"version": 7'), "made by version 7, this is 1"),
        (lambda text: text.replace('"metric"', '"metrik"'), "a score cannot be read"),
        (lambda text: text.replace('"key": "', '"key": "0'), "is the result of trial 0"),
    ],
)
def test_a_damaged_result_is_named_and_the_others_count(run_dir: Path, change: object, message: str) -> None:
    folder = run_dir / "trials" / spec_of("telbo", seed=1).key
    text = (folder / "result.json").read_text()
    (folder / "result.json").write_text(change(text))  # type: ignore[operator]
    run = read_run(run_dir)
    (damaged,) = [trial for trial in run.trials if trial.state == "damaged"]
    assert damaged.key == folder.name
    assert str(folder / "result.json") in str(damaged.problem)
    assert message in str(damaged.problem)
    assert damaged.objective == "telbo"
    assert sum(trial.state == "done" for trial in run.trials) == 5


def test_damaged_specs(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, spec_of())
    (folder / "spec.json").unlink()
    assert "spec.json: missing" in str(only(tmp_path).problem)
    write_json(folder / "spec.json", {"version": 99})
    assert "made by version 99, this is 1" in str(only(tmp_path).problem)


def test_a_damaged_status_counts_as_pending(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, spec_of(), "failed")
    (folder / "status.json").write_text("{")
    assert only(tmp_path).state == "pending"


def test_a_result_of_an_earlier_evaluation_is_noticed(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, spec_of())
    assert not only(tmp_path).outdated
    evaluation = json.loads((folder / "evaluation.json").read_text())
    write_json(folder / "evaluation.json", evaluation | {"num_samples": 7})
    assert only(tmp_path).outdated


def test_folders_that_are_not_runs(run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="no such folder"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(BenchmarkError, match=r"not a run folder.*\n.*demo"):
        read_run(tmp_path)
    for inside in (run_dir / "trials", next((run_dir / "trials").iterdir())):
        with pytest.raises(BenchmarkError, match=r"not a run folder.*\n.*Did you mean the run.*demo$"):
            read_run(inside)
    (tmp_path / "empty" / "trials").mkdir(parents=True)
    with pytest.raises(BenchmarkError, match=r"has no trials yet\n.*mmvae-bench run"):
        read_run(tmp_path / "empty")
