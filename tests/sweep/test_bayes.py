"""``sweep --local`` with method bayes: Optuna chooses, the run's folder remembers, and a kill changes nothing."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mmvae_bench.base.errors import BenchmarkError, ConfigError
from mmvae_bench.runs.lock import TrialLock
from mmvae_bench.specs.grid import load_grid
from mmvae_bench.specs.sweeps import load_sweep
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.sweep import bayes
from mmvae_bench.sweep.run import SweepRequest, run

from .support import StubRun, no_report

pytest.importorskip("optuna", reason="optuna is not installed (extra optuna)")
Captured = pytest.CaptureFixture[str]
GOOD = "validation/fit/elbo"
"""The number that is optimised."""
SWEEP = """\
method: bayes
metric: {name: validation/fit/elbo, goal: maximize}
run_cap: 14
parameters:
  training.learning_rate: {distribution: log_uniform_values, min: 1.0e-6, max: 1.0e-1}
  training.batch_size: {distribution: q_uniform, min: 16, max: 128, q: 16}
  objective.lambda: {values: [1, 10, 50]}
  seed: {value: 0}
  training.steps: {value: 10}
  objective.name: {value: jvae}
  dataset: {value: {name: mnist_a, canvas: 16}}
  backbone.name: {value: mnist_a_thin}
  evaluation.num_samples: {value: 10}
"""


@pytest.fixture
def file(stub: StubRun) -> Path:
    path = stub.root / "sweep.yaml"
    path.write_text(SWEEP)
    return path


def rate(directory: Path) -> float:
    return float(json.loads((directory / "spec.json").read_text())["training"]["learning_rate"])


def values(directory: Path) -> dict[str, float]:
    """Best at a learning rate of 1e-3."""
    return {GOOD: -abs(math.log10(rate(directory)) + 3)}


def go(file: Path, out: Path, command: tuple[str, ...], **options: object) -> int:
    """A sweep, one trial at a time."""
    given = {"workers": 1, "rehearsal": False} | options
    numbers = given.pop("values", values)
    return run(SweepRequest(grid=file, out=out, **given), command=command, report=no_report, values=numbers)  # type: ignore[arg-type]


def asked(out: Path) -> list[list[float]]:
    """What was chosen, in order."""
    found: list[list[float]] = json.loads((out / "sweep" / "asked.json").read_text())["asked"]
    return found


class Known(bayes.Proposals):
    """Every trial is done, with a number that its settings give."""

    goal = -3.0

    def _told(self, spec: TrialSpec | None) -> float:  # type: ignore[override]
        assert spec is not None
        return -abs(math.log10(spec.training.learning_rate) - self.goal)


def chosen(file: Path, folder: Path, *, goal: float, num: int) -> list[list[float]]:
    """The first choices, where scores are best at a learning rate of 10^goal."""
    search = load_sweep(file, count=num).search
    assert search is not None
    found = Known(search, folder, lambda specs, num_drawn: "")
    found.goal = goal
    while found.left:
        found._choose()
    return found.asked


def test_it_searches_where_scores_are_high(stub: StubRun, file: Path) -> None:
    one, other = (chosen(file, stub.out, goal=goal, num=40) for goal in (-3.0, -5.0))
    assert one[:10] == other[:10], "the first ten are random"
    assert one != other
    for found, goal in ((one, -3.0), (other, -5.0)):
        errors = [abs(math.log10(positions[0]) - goal) for positions in found]
        assert sum(errors[-10:]) < 0.6 * sum(errors[:10])
        assert {positions[1] for positions in found} <= set(range(8))
        assert {positions[3] for positions in found} == {0}, "a constant"


def test_none_is_chosen_for_data_that_cannot_be_used(stub: StubRun, file: Path, capsys: Captured) -> None:
    stub.behaviours = {"attempts": {"0": ["data"]}}
    file.write_text(SWEEP.replace("objective.lambda: {values: [1, 10, 50]}", "objective.lambda: {value: 1}"))
    assert go(file, stub.out, stub.command, count=4) == 1
    assert len(asked(stub.out)) == 1, "it would have the same error"


def test_it_is_a_run_like_any_other(stub: StubRun, file: Path) -> None:
    for count in (1, 3, 3):
        assert go(file, stub.out, stub.command, count=count, workers=count) == 0
    folders = list((stub.out / "trials").iterdir())
    assert {trial.key for trial in load_grid(stub.out / "grid.yaml").trials} == {path.name for path in folders}
    assert {rate(path) for path in folders} == {positions[0] for positions in asked(stub.out)}
    assert all([line["event"] for line in stub.journal(path)].count("finish") == 1 for path in folders)


KILLED = """
import os, signal, sys
from pathlib import Path
from mmvae_bench.sweep import bayes
from tests.sweep.test_bayes import go, values
bayes.NUM_RANDOM = 2
calls = 0
def numbers(directory):
    global calls
    calls += 1
    if calls == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return values(directory)
go(Path(sys.argv[1]), Path(sys.argv[2]), tuple(sys.argv[4:]), values=numbers)
"""


def test_a_sweep_that_is_killed_chooses_the_same_trials(
    stub: StubRun, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it asks for the fourth, and between a choice and its folder."""
    monkeypatch.setattr(bayes, "NUM_RANDOM", 2)
    file.write_text(SWEEP.replace("run_cap: 14", "run_cap: 5"))
    whole, killed = stub.root / "whole", stub.root / "killed"
    assert go(file, whole, stub.command) == 0
    words = [sys.executable, "-c", KILLED, str(file), str(killed), "5", *stub.command]
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(words, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert asked(killed) == asked(whole)[:3]
    plain = json.loads((whole / "sweep" / "asked.json").read_text())
    (killed / "sweep" / "asked.json").write_text(json.dumps(plain | {"asked": plain["asked"][:4]}))
    assert go(file, killed, stub.command) == 0
    assert asked(killed) == asked(whole)
    assert (killed / "grid.yaml").read_text() == (whole / "grid.yaml").read_text()


def test_a_failed_trial_is_told_and_the_sweep_goes_on(stub: StubRun, file: Path, capsys: Captured) -> None:
    stub.behaviours = {"attempts": {"0": ["raise"]}}
    assert go(file, stub.out, stub.command, count=2) == 1
    assert "0 of 2 trials done, 2 failed" in capsys.readouterr().err
    assert len(asked(stub.out)) == 2


def test_a_metric_that_no_trial_has_stops_it_at_the_first(stub: StubRun, file: Path, capsys: Captured) -> None:
    assert go(file, stub.out, stub.command, values=lambda directory: {"validation/fit/elbos": 1.0}) == 1
    said = capsys.readouterr().err
    assert "has no validation/fit/elbo, which this sweep optimises; nearest: validation/fit/elbos" in said
    assert "1 of 14 trials done" in said
    assert len(list((stub.out / "trials").iterdir())) == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (lambda plain: plain["asked"][0].__setitem__(0, 0.5), r"0\.5 is no number from 1e-06 to 0\.1"),
        (lambda plain: plain["asked"][0].__setitem__(1, 8), "8 is no whole number from 0 to 7"),
        (lambda plain: plain["asked"][0].__setitem__(2, "x"), "'x' is no whole number from 0 to 2"),
        (lambda plain: plain["asked"][0].pop(), "a choice has not one number for each parameter"),
        (lambda plain: plain["parameters"].pop(), "it has other parameters"),
        (lambda plain: plain.pop("asked"), "it has other parameters"),
    ],
)
def test_a_strangers_choices_are_only_data(
    changed: Callable[[dict[str, list[list[object]]]], object], said: str, stub: StubRun, file: Path
) -> None:
    names = list(yaml.safe_load(SWEEP)["parameters"])
    plain = {"parameters": names, "asked": [[1e-3, 0, 0, 0, 0, 0, 0, 0, 0]]}
    path = stub.out / "sweep" / "asked.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(plain))
    assert len(SweepRequest(grid=file, out=stub.out).plan().specs) == 1
    changed(plain)
    path.write_text(json.dumps(plain))
    with pytest.raises(ConfigError, match=rf"asked.json: is not of this sweep: {said}\n  A changed sweep"):
        go(file, stub.out, stub.command)


def test_nothing_is_written_through_a_link(stub: StubRun, file: Path) -> None:
    (stub.out / "trials").mkdir(parents=True)
    elsewhere = stub.root / "elsewhere"
    elsewhere.mkdir()
    (stub.out / "sweep").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="a link; the folder of a run holds no links to others"):
        go(file, stub.out, stub.command, count=1)
    assert list(elsewhere.iterdir()) == []


def test_two_at_once_are_refused(stub: StubRun, file: Path) -> None:
    (stub.out / "trials").mkdir(parents=True)
    (stub.out / "sweep").mkdir()
    with TrialLock(stub.out / "sweep"), pytest.raises(ConfigError, match="another process runs this sweep here"):
        go(file, stub.out, stub.command)
    assert list((stub.out / "trials").iterdir()) == []


def test_without_optuna_it_says_what_to_do(stub: StubRun, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bayes, "find_spec", lambda name: None)
    with pytest.raises(BenchmarkError, match="needs the package optuna without W&B's server: run `pip install optuna`"):
        go(file, stub.out, stub.command)
    assert not stub.out.exists()
