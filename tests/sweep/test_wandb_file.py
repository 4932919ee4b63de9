"""``mmvae-bench sweep --local``: a sweep file as a run like any other."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.cli import main
from mmvae_bench.specs import yaml_source
from mmvae_bench.specs.grid import GridSpec, load_grid
from mmvae_bench.specs.sweeps import load_sweep
from mmvae_bench.specs.yaml_source import parse_yaml
from mmvae_bench.sweep.run import SweepRequest, run
from mmvae_bench.sweep.sweep_grid import sweep_grid

from .support import StubRun, no_report

Captured = pytest.CaptureFixture[str]
SWEEP = """\
# a sweep: with a colon
method: random
run_cap: 3
parameters:
  seed: {values: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}
  training.learning_rate: {distribution: log_uniform_values, min: 1.0e-5, max: 1.0e-2}
  training.steps: {value: 10}
  objective.name: {value: jvae}
  dataset: {value: {name: mnist_a, canvas: 16}}
  backbone.name: {value: mnist_a_thin}
  evaluation.num_samples: {value: 10}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my sweep.yaml"
    path.write_text(SWEEP)
    return path


def test_it_runs_once_resumes_and_grows(stub: StubRun, file: Path, capsys: Captured) -> None:
    request = SweepRequest(grid=file, out=stub.out, workers=2)
    assert run(request, command=stub.command, report=no_report) == 0
    assert capsys.readouterr().out == "a table\n"
    keys = {spec.key for spec in load_sweep(file).trials}
    assert {path.name for path in (stub.out / "trials").iterdir()} == keys
    assert run(request, command=stub.command, report=no_report) == 0
    assert run(SweepRequest(grid=file, out=stub.out, count=5), command=stub.command, report=no_report) == 0
    folders = list((stub.out / "trials").iterdir())
    assert len(folders) == 5
    assert all([line["event"] for line in stub.journal(folder)].count("finish") == 1 for folder in folders)


def test_the_folder_is_described_by_a_grid_with_the_same_trials(stub: StubRun, file: Path) -> None:
    """To the bit, also where a number was drawn; so `run --grid` and the report read the folder."""
    assert run(SweepRequest(grid=file, out=stub.out), command=stub.command, report=no_report) == 0
    grid = load_grid(stub.out / "grid.yaml")
    drawn = load_sweep(file).trials
    assert [trial.key for trial in grid.trials] == [trial.key for trial in drawn]
    assert [trial.evaluation for trial in grid.trials] == [trial.evaluation for trial in drawn]
    text = (stub.out / "grid.yaml").read_text()
    assert "".join(f"# {line}\n" for line in SWEEP.splitlines()) in text
    assert main(["run", "--grid", str(stub.out / "grid.yaml"), "--out", str(stub.out), "--dry-run"]) == 0


def test_a_failed_trial_gives_the_command_that_tries_again(stub: StubRun, file: Path, capsys: Captured) -> None:
    seed = load_sweep(file).trials[0].seed
    stub.behaviours = {"attempts": {str(seed): ["raise"]}}
    request = SweepRequest(grid=file, out=stub.out, count=1)
    assert run(request, command=stub.command, report=no_report) == 1
    words = shlex.split(capsys.readouterr().err.splitlines()[-1])
    assert words[3:] == ["sweep", "--local", str(file), "--count", "1", "--out", str(stub.out), "--retry", "failed"]
    again = SweepRequest(grid=file, out=stub.out, count=1, retry="failed")
    assert run(again, command=stub.command, report=no_report) == 0


def test_dry_run_and_bad_input(file: Path, capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", "--local", str(file), "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["trials"]
    assert [trial["key"] for trial in plan] == [spec.key for spec in load_sweep(file).trials]
    assert main(["sweep", "--local", str(file), "--dry-run"]) == 0
    assert "3 trials for runs/my-sweep; nothing was started" in capsys.readouterr().err
    for words, said in (
        (["sweep", str(file)], "wandb agent SWEEP"),
        (["sweep", "--local", str(file), "--count", "0"], "--count: must be at least 1"),
        (["sweep", "--local", str(file), "--workers", "0"], "--workers"),
        (["sweep", "--local", "missing.yaml"], "no such file"),
    ):
        assert main(words) == 2
        assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


MANY = """\
method: grid
parameters:
  seed: {distribution: int_uniform, min: 0, max: %d}
  training.learning_rate: {values: [1.0e-3, 2.0e-3]}
  training.steps: {value: 10}
  objective.name: {values: [jvae, telbo]}
  dataset: {value: {name: mnist_a, canvas: 16}}
  backbone.name: {value: mnist_a_thin}
"""


def test_the_grid_of_3_000_trials_can_be_read(tmp_path: Path, capsys: Captured) -> None:
    """One per line, they would be more values than are read of one file."""
    path = tmp_path / "many.yaml"
    path.write_text(MANY % 749)
    sweep = load_sweep(path)
    text = sweep_grid(sweep, name="many")
    (tmp_path / "grid.yaml").write_text(text)
    trials = load_grid(tmp_path / "grid.yaml").trials
    assert {trial.key for trial in trials} == {trial.key for trial in sweep.trials}
    assert len(trials) == 3_000
    assert {trial.evaluation for trial in trials} == {sweep.trials[0].evaluation}


def test_drawn_trials_share_what_they_have_in_common(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """And where that does not do, the sweep is refused before it begins."""
    drawn = load_sweep(file, count=40)
    plain = sweep_grid(drawn, name="drawn")
    monkeypatch.setattr(yaml_source, "MAX_VALUES", 3000)
    with pytest.raises(ConfigError, match="more than 3,000 keys and values"):
        parse_yaml(plain, source="grid.yaml")
    shared = parse_yaml(sweep_grid(drawn, name="drawn"), source="grid.yaml").value
    assert {trial.key for trial in GridSpec.parse(shared).trials} == {trial.key for trial in drawn.trials}
    assert len(shared["include"]) == len({trial.seed for trial in drawn.trials})
    assert shared["evaluation"]["num_samples"] == 10
    monkeypatch.setattr(yaml_source, "MAX_VALUES", 500)
    assert main(["sweep", "--local", str(file), "--count", "40", "--dry-run"]) == 2
    assert "set a smaller run_cap or --count" in capsys.readouterr().err
    monkeypatch.undo()
    assert main(["sweep", "--local", str(file), "--count", "40", "--dry-run"]) == 0
