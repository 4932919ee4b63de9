"""Wrong data: said once, before anything is written or started, with its line; or else by one trial of many."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.base.processes import INTERRUPTED
from mmvae_bench.cli import main
from mmvae_bench.sweep import rehearsal as rehearsal_module
from mmvae_bench.sweep.local import COMMAND
from mmvae_bench.sweep.run import Request, SweepRequest, run

from ..data.sources.planetoid_copy import write
from .support import StubRun, no_report, until
from .test_forks import gone
from .test_stale import record

WRONG = """\
name: wrong
backbones: [mlp]
objectives: [jvae, mmvae]
seeds: [0, 1, 2]
training: {steps: 2, batch_size: 16}
include:
  - datasets: [{name: mnist, source: mnist}]
  - datasets:
      - name: sprites
        num_images: 200
        texture: empty/
    backbones: [rgb_thin]
  - datasets:
      - {name: mnist, source: digits, canvas: 16}
    training:
      - {steps: 2, batch_size: 16}
      - steps: 2
        batch_size: 16
        supervision:
          labels_per_class: 170
          rate: 0.5
  - datasets: [{name: cora, source: planetoid}]
    backbones: [gcn]
    objectives: [gae, vgae]
    training: {steps: 2, batch_size: 2708}
"""


def test_every_problem_of_every_dataset_at_once_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four datasets, 24 trials with data that are wrong and six that would do, and not one is started."""
    monkeypatch.setenv("MMVAE_BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # MNIST is not fetched either.
    write(tmp_path / "data")
    cut = tmp_path / "data" / "ind.cora.allx"
    cut.write_bytes(cut.read_bytes()[:-20])
    (tmp_path / "data" / "empty").mkdir()
    (tmp_path / "grid.yaml").write_text(WRONG)
    assert main(["run", "--grid", str(tmp_path / "grid.yaml"), "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    where = re.escape(str(tmp_path / "grid.yaml"))
    places = re.findall(rf"^(?:error: )?{where}:(\d+): (\S+): ", said, re.MULTILINE)
    assert places == [
        ("7", "include[0].datasets[0]"),
        ("11", "include[1].datasets[0].texture"),
        ("20", "include[2].training[1].supervision.labels_per_class"),
        ("22", "include[3].datasets[0]"),
    ]
    assert f"{cut}: it is damaged or cut short" in said
    assert "no picture (.jpg, .jpeg, .png, .webp) is in" in said
    assert "  given: 170\n" in said
    assert "  given: mnist (source mnist)\n" in said
    assert not (tmp_path / "run").exists()
    # A single trial ends with 2 as well.
    settings = ["dataset.name=cora", "dataset.source=planetoid", "backbone=gcn", "objective=gae"]
    words = [word for setting in [*settings, "training.batch_size=2708"] for word in ("--set", setting)]
    assert main(["train", *words, "--out", str(tmp_path / "trial")]) == 2
    assert f"error: {cut}: it is damaged or cut short" in capsys.readouterr().err


def ask(stub: StubRun, **options: Any) -> int:
    return run(Request(grid=stub.write_grid(), out=stub.out, **options), command=stub.command, report=no_report)


def read(stub: StubRun) -> list[list[int]]:
    """The seeds of the trials whose data were read, each time."""
    return [line["seeds"] for line in stub.journal(stub.root) if line["event"] == "data"]


def test_data_are_read_once_where_anything_is_left_to_do(stub: StubRun) -> None:
    """A trial stands for those that ask the same of the same data."""
    assert ask(stub) == 0
    assert read(stub) == [[0]]
    assert ask(stub) == 0
    assert len(read(stub)) == 1
    stub.seeds = range(4)
    assert ask(stub, rehearsal=False) == 0
    assert len(read(stub)) == 1, "--no-rehearsal leaves it out"


def test_a_problem_ends_with_2_and_leaves_no_folder(stub: StubRun) -> None:
    problem = {"message": "it is cut short", "location": ["dataset", "canvas"], "value": "16"}
    stub.behaviours = {"problems": [problem, problem]}
    with pytest.raises(ConfigError) as caught:
        ask(stub)
    grid = stub.root / "grid.yaml"
    assert str(caught.value) == f"{grid}:2: datasets[0].canvas: it is cut short\n  given: 16"
    assert not stub.out.exists()
    assert ask(stub, dry_run=True) == 0, "a plan reads no data"


CUT_SHORT = {"message": "it is cut short", "location": ["dataset"], "value": "mnist_a"}


def test_a_result_is_not_removed_for_data_that_cannot_be_used(stub: StubRun) -> None:
    assert ask(stub) == 0
    result = stub.folders()[1] / "result.json"
    before = result.read_bytes()
    (result.parent / "last.ckpt").write_text("weights")
    stub.behaviours = {"problems": [CUT_SHORT]}
    with pytest.raises(ConfigError, match="it is cut short"):
        ask(stub, force=(result.parent.name,))
    assert result.read_bytes() == before
    assert (result.parent / "last.ckpt").exists()
    assert read(stub)[1:] == [[1]]


def test_the_data_of_what_is_trained_again_are_read_too(stub: StubRun) -> None:
    assert ask(stub) == 0
    record(stub.folders()[1], training=True)
    assert ask(stub, stale="keep") == 0
    assert len(read(stub)) == 1
    stub.behaviours = {"problems": [CUT_SHORT]}
    with pytest.raises(ConfigError, match="it is cut short"):
        ask(stub, stale="retrain")
    assert read(stub)[1:] == [[1]]


def test_what_a_library_prints_is_no_answer(stub: StubRun) -> None:
    told = {"message": "none", "location": ["dataset"], "value": None, "choices": [], "near": None, "line": None}
    lines = [
        {"problem": {"a": 1}}, {"problem": told}, {"trial": 99, "problem": told}, {"trial": -1, "problem": told},
        {"trial": 0, "problem": 3}, {"trial": True, "problem": told}, {"trial": 0, "problem": {**told, "location": 1}},
        {"trial": 0, "problem": {**told, "value": ["a"]}}, {"trial": [], "problem": told}, ["problem"], 5,
    ]  # fmt: skip
    stub.behaviours = {"says": [*map(json.dumps, lines), "{", "problem"]}
    assert ask(stub) == 0
    stub.behaviours["problems"] = [CUT_SHORT]
    with pytest.raises(ConfigError, match=r"^\S+: datasets\[0\]: it is cut short\n  given: mnist_a$"):
        ask(stub, force=(stub.folders()[0].name,))


def test_a_sweep_says_it_too(stub: StubRun) -> None:
    stub.behaviours = {"problems": [CUT_SHORT]}
    file = stub.root / "sweep.yaml"
    file.write_text(
        "method: grid\nparameters: {seed: {values: [0, 1]}}\ncommand: ['${env}', mmvae-bench, train, --wandb, "
        "--set, dataset=mnist_a, --set, backbone=mnist_a_thin, --set, objective=jvae, '--set-json', '${args_json}']\n"
    )
    request = SweepRequest(grid=file, out=stub.out)
    with pytest.raises(ConfigError, match=r"^dataset: it is cut short\n  given: mnist_a$"):
        run(request, command=stub.command, report=no_report)
    assert not stub.out.exists()


@pytest.mark.parametrize("accident", ["crash", "hang"])
def test_a_process_that_cannot_read_holds_nothing_up(
    accident: str, stub: StubRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.behaviours = {"data": accident}
    monkeypatch.setattr(rehearsal_module, "SECONDS", 3.0)
    began = time.monotonic()
    assert ask(stub) == 0
    assert time.monotonic() - began < 40
    events = [line["event"] for line in stub.journal(stub.out)]
    assert events.count("rehearse") == 1


def test_a_child_of_the_process_that_reads_neither_holds_the_run_up_nor_stays(stub: StubRun) -> None:
    """It has the output open when its parent has ended."""
    stub.behaviours = {"data": "orphan", "problems": [CUT_SHORT]}
    began = time.monotonic()
    with pytest.raises(ConfigError, match="it is cut short"):
        ask(stub)
    assert time.monotonic() - began < 20
    (child,) = (line["child"] for line in stub.journal(stub.root) if line["event"] == "child")
    assert gone(child)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_stopped_while_it_reads_leaves_nothing_behind(
    number: signal.Signals, stub: StubRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.behaviours = {"data": "hang"}
    temporary = stub.root / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    # Under nohup, say, SIGHUP is ignored, and a run that inherits that has not been asked to stop.
    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        process = stub.start()
    finally:
        signal.signal(signal.SIGHUP, inherited)
    until(lambda: bool(read(stub)))
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == INTERRUPTED
    assert said.startswith("interrupted; resume with:\n")
    assert not stub.out.exists()
    assert not list(temporary.iterdir())
    (line,) = stub.journal(stub.root)
    assert gone(line["pid"])


def test_the_process_that_reads_ends_with_a_run_that_is_killed(tmp_path: Path) -> None:
    """It is no job that others could go on with, and nobody would wait for its end."""
    os.mkfifo(tmp_path / "specs")  # Nobody writes into it: to read it takes for ever.
    words = [*COMMAND, "rehearse", "--data", str(tmp_path / "specs"), "--silent"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.close()
            assert process.wait(60) == -signal.SIGKILL
        finally:
            process.kill()


def test_without_it_one_trial_finds_out_and_the_others_are_held_back(
    stub: StubRun, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.seeds = range(6)
    stub.behaviours = {"attempts": {str(seed): ["data"] for seed in stub.seeds}}
    assert ask(stub, rehearsal=False, workers=1) == 1
    said = capsys.readouterr().err
    assert sum(stub.counts("start").values()) == 1
    assert "held back 5 trials of dataset mnist_a/digits (a trial on them failed: the data cannot be used)\n" in said
    assert "0 of 6 trials done, 1 failed, 5 not finished, 5 of them held back; resume with:" in said
    # The file is mended: what failed and what was held back are run.
    stub.behaviours = {}
    assert ask(stub, rehearsal=False, workers=1, retry="failed") == 0
    assert sum(stub.counts("finish").values()) == 6


def test_other_data_and_other_errors_hold_nothing_back(stub: StubRun) -> None:
    stub.steps = (10, 20)
    stub.behaviours = {"attempts": {str(seed): ["raise"] for seed in range(3)}}
    outcome, _ = stub.drive(workers=1)
    assert (outcome.failed, outcome.held) == (6, 0)


def test_a_setting_that_one_objective_refuses_is_no_fault_of_the_data(stub: StubRun) -> None:
    """The same exit code, and the same class of error: only the trial knows where it came from."""
    stub.objectives = ("jvae", "telbo")
    stub.behaviours = {"attempts": {"0": ["setting"]}}
    outcome, recorder = stub.drive(workers=1)
    assert (outcome.failed, outcome.held, outcome.done) == (2, 0, 4)
    assert not recorder.of("held")


def test_a_preparation_that_cannot_use_the_data_holds_their_trials_back(stub: StubRun) -> None:
    stub.behaviours = {"prepare": 2, "seconds": 1.0}
    stub.seeds = range(6)
    outcome, recorder = stub.drive(workers=2)
    (held,) = recorder.of("held")
    assert held.label == f"{outcome.held} trials of dataset mnist_a/digits"
    assert outcome.held >= 5, "at most one was started beside the preparation"
    assert outcome.held + outcome.done == 6
    assert json.dumps(held.message) == '"their preparation failed: the data cannot be used"'
