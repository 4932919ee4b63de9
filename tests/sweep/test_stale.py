"""Trials that were made by other code than is installed: named, left alone, and made again only on request."""

from __future__ import annotations

import copy
import json
import shlex
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmvae_bench.base.files import write_json
from mmvae_bench.base.processes import STALE
from mmvae_bench.cli import main
from mmvae_bench.runs.folder import TrialFolder
from mmvae_bench.runs.lock import TrialLock
from mmvae_bench.runs.stale import staleness
from mmvae_bench.runs.status import ATTEMPT_VARIABLE
from mmvae_bench.specs.code import evaluation_code, training_code
from mmvae_bench.specs.grid import expand
from mmvae_bench.sweep.run import Request
from mmvae_bench.sweep.run import run as run_grid
from mmvae_bench.sweep.schedule import trials_of
from mmvae_bench.training.checkpoint import Checkpoint

from .support import StubRun, no_report

JVAE = "mmvae_bench/objectives/jvae.py"
THREE_CS = "mmvae_bench/evaluation/questions/three_cs.py"
CHANGED = f"objective 'jvae': {JVAE} has changed"


def record(directory: Path, *, training: bool = False, evaluation: bool = False) -> None:
    """Writes into a result which code has made it: other code for the training or the evaluation."""
    path = directory / "result.json"
    result = json.loads(path.read_text())
    trained, asked = training_code(result["spec"]), evaluation_code(result["evaluation"], "conv_thin")
    code = json.loads(json.dumps([trained, asked]))
    if training:
        code[0]["objective"]["files"][JVAE] = "00000000"
    if evaluation:
        code[1]["questions"]["files"][THREE_CS] = "00000000"
    head = {name: value for name, value in result.items() if name != "scores"}
    head["provenance"] = {"segments": [{"from": 0, "to": 10, "code": code[0]}]}
    head["evaluated_on"] = {"code": code[1]}
    head["classifier"] = {"name": "conv_thin"}
    write_json(path, head | {"scores": result["scores"]})


def half_trained(directory: Path, segments: Sequence[dict[str, Any]]) -> None:
    """Leaves the checkpoint of a trial that was stopped, and the status."""
    Checkpoint(directory.name, 0, 4, {}, origin={"segments": list(segments)}).save(directory / "last.ckpt")
    write_json(directory / "status.json", {"state": "interrupted", "step": 4, "steps": 10, "attempts": 1})


@pytest.fixture
def run(stub: StubRun) -> StubRun:
    """Three finished trials; the one of seed 1 was trained, and that of seed 2 evaluated, by other code."""
    stub.drive()
    for seed, folder in stub.folders().items():
        record(folder, training=seed == 1, evaluation=seed == 2)
    return stub


def test_they_are_named_and_left_alone_and_the_others_go_on(run: StubRun) -> None:
    run.seeds = (0, 1, 2, 3)
    before = {seed: (run.folders()[seed] / "result.json").read_bytes() for seed in (0, 1, 2)}
    done = run.run()
    assert done.returncode == 1
    assert "4 trials, 1 done before, 2 made by other code\n" in done.stderr
    assert f"made by other code, left alone: jvae mnist_a/digits/iid seed 1 ({CHANGED})" in done.stderr
    assert f"left alone: jvae mnist_a/digits/iid seed 2 (questions: {THREE_CS} has changed)" in done.stderr
    assert "2 of 4 trials done, 0 failed, 0 not finished, 2 made by other code and left alone" in done.stderr
    assert run.counts("finish") == {0: 1, 1: 1, 2: 1, 3: 1}
    assert {seed: (run.folders()[seed] / "result.json").read_bytes() for seed in before} == before
    keep, _, retrain = done.stderr.splitlines()[-3:]
    assert shlex.split(keep)[-1] == "--keep"
    assert shlex.split(retrain)[-1] == "--retrain"


def test_in_the_events_of_a_program(run: StubRun) -> None:
    done = run.run("--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["run", "stale", "stale", "end"]
    assert (events[0]["done"], events[0]["stale"]) == (1, 2)
    assert [event["label"][-1] for event in events[1:3]] == ["1", "2"]
    assert CHANGED in events[1]["message"]
    assert (events[-1]["done"], events[-1]["failed"], events[-1]["stale"]) == (1, 0, 2)
    assert "--retrain" in shlex.split(events[-1]["resume"])


def test_retrain_makes_them_again_and_no_others(run: StubRun) -> None:
    for seed, folder in run.folders().items():
        (folder / "last.ckpt").write_text(f"weights of {seed}")
    assert run.run("--retrain").returncode == 0
    assert run.counts("finish") == {0: 1, 1: 2, 2: 2}
    # New weights where the training's code has changed; those of the other stay.
    assert {seed: (folder / "last.ckpt").exists() for seed, folder in run.folders().items()} == {
        0: True, 1: False, 2: True,
    }  # fmt: skip


def test_what_a_retraining_does_not_reach_is_still_there(run: StubRun) -> None:
    """A trial is cleared when it is started, not before; one that dies then is not taken for done."""
    run.behaviours = {"attempts": {"1": ["ok", "SIGKILL", "SIGKILL"]}}
    record(run.folders()[2], training=True)
    done = run.run("--retrain", "--workers", "1")
    assert done.returncode == 1
    assert run.counts("finish") == {0: 1, 1: 1, 2: 2}
    assert run.states()[1] == "failed"
    assert not (run.folders()[1] / "result.json").exists()


def test_keep_takes_them_as_they_are(run: StubRun) -> None:
    before = {seed: (folder / "result.json").read_bytes() for seed, folder in run.folders().items()}
    assert run.run("--keep").returncode == 0
    assert run.counts("finish") == {0: 1, 1: 1, 2: 1}
    assert {seed: (folder / "result.json").read_bytes() for seed, folder in run.folders().items()} == before


def test_half_trained_ones_too(stub: StubRun) -> None:
    """The code of a checkpoint counts; what it was before the last segment has been decided already."""
    stub.store()
    folders = stub.folders()
    now = training_code(json.loads((folders[0] / "spec.json").read_text()))
    old = json.loads(json.dumps(now))
    old["objective"]["files"][JVAE] = "00000000"
    new_part, old_part = ({"from": 0, "to": 4, "code": code} for code in (now, old))
    for seed, segments in enumerate(([new_part], [new_part, old_part], [old_part, new_part])):
        half_trained(folders[seed], segments)
    done = stub.run()
    assert done.returncode == 1
    assert f"seed 1 ({CHANGED})" in done.stderr
    assert stub.counts("finish") == {0: 1, 1: 0, 2: 1}
    assert json.loads((folders[1] / "status.json").read_text())["state"] == "interrupted"
    assert stub.run("--keep").returncode == 0
    assert stub.counts("finish") == {0: 1, 1: 1, 2: 1}
    assert (folders[1] / "last.ckpt").exists()
    (folders[1] / "result.json").unlink()
    half_trained(folders[1], [old_part])
    assert stub.run("--retrain").returncode == 0
    assert not (folders[1] / "last.ckpt").exists()


def test_a_trial_kept_goes_on_with_the_option_that_its_process_needs(stub: StubRun) -> None:
    trial = trials_of(expand(stub.grid()), stub.store())[0]
    assert "--keep" not in trial.train_job().arguments
    trial.keep = True
    assert trial.train_job().arguments[-1] == "--keep"


def test_those_of_earlier_versions_are_taken_and_counted_in_one_line(stub: StubRun) -> None:
    stub.drive()
    record(stub.folders()[0])
    again = stub.run()
    assert again.returncode == 0
    assert again.stderr.count("made before code was recorded") == 1
    assert "2 of them made before code was recorded: taken as they are" in again.stderr


def test_status_and_dry_run_show_them(run: StubRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(run.out)]) == 0
    text = capsys.readouterr().out
    assert f"    made by other code: {CHANGED}\n" in text
    assert text.splitlines()[-1] == "3 done, 2 made by other code"
    assert main(["status", str(run.out), "--json"]) == 0
    shown = [trial.get("stale") for trial in json.loads(capsys.readouterr().out)["trials"]]
    assert shown == [None, CHANGED, f"questions: {THREE_CS} has changed"]
    dry = ["run", "--grid", str(run.write_grid()), "--out", str(run.out), "--dry-run"]
    assert main(dry) == 0
    assert f"    made by other code: {CHANGED}\n" in capsys.readouterr().out
    assert main([*dry, "--json"]) == 0
    assert [trial.get("stale") for trial in json.loads(capsys.readouterr().out)["trials"]] == shown


def test_verify_says_that_a_run_leaves_them_alone(run: StubRun, capsys: pytest.CaptureFixture[str]) -> None:
    main(["verify", str(run.out), "--json"])
    said = {trial["key"]: trial["run"] for trial in json.loads(capsys.readouterr().out)["trials"]}
    folders = run.folders()
    assert said[folders[0].name] == "nothing: it is done"
    assert said[folders[1].name] == f"nothing, unless with --retrain or --keep: made by other code ({CHANGED})"


def test_what_is_damaged_and_left_alone_is_not_announced_as_made_again(run: StubRun) -> None:
    folder = run.folders()[1]
    code = json.loads((folder / "result.json").read_text())["provenance"]["segments"]
    half_trained(folder, code)
    (folder / "result.json").write_text("{")
    done = run.run()
    assert f"left alone: jvae mnist_a/digits/iid seed 1 ({CHANGED})" in done.stderr
    (line,) = (line for line in done.stderr.splitlines() if " is damaged: " in line)
    assert line.endswith(": it is left alone")
    assert (folder / "result.json").read_text() == "{"


def test_force_trains_one_trial_again(run: StubRun, capsys: pytest.CaptureFixture[str]) -> None:
    key = run.folders()[0].name
    done = run.run("--keep", "--force", key)
    assert done.returncode == 0
    assert run.counts("finish") == {0: 2, 1: 1, 2: 1}
    command = ["run", "--grid", str(run.write_grid()), "--out", str(run.out)]
    assert main([*command, "--force", key[:-1] + "x"]) == 2
    error = capsys.readouterr().err
    assert "--force" in error
    assert f"nearest: {key}" in error
    with TrialLock(run.folders()[0]):
        assert main([*command, "--force", key]) == 2
    assert "another process is working on it" in capsys.readouterr().err
    assert (run.folders()[0] / "result.json").exists()
    assert main([*command, "--keep", "--retrain"]) == 2
    assert "--keep" in capsys.readouterr().err


def test_a_thousand_trials_are_checked_in_less_than_a_second(run: StubRun) -> None:
    """The code of a part is read once; what is left is a look into each result."""
    folders = [TrialFolder(run.folders()[seed]) for seed in range(3)]
    heads = [folder.result_head() for folder in folders]
    started = time.process_time()
    found = [staleness(folders[index % 3], heads[index % 3]) for index in range(1000)]
    assert time.process_time() - started < 1
    assert sum(map(bool, found)) == 666


def test_code_that_changes_in_mid_run_fails_no_trial_and_the_end_says_what_helps(
    stub: StubRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """The driver has compared the code before; the trial's process finds it changed."""
    stub.behaviours = {"stale": [1]}
    stub.store()
    half_trained(stub.folders()[1], [])
    request = Request(grid=stub.write_grid(), out=stub.out, workers=1)
    assert run_grid(request, command=stub.command, report=no_report) == 1
    said = capsys.readouterr().err
    assert "made by other code, left alone: jvae mnist_a/digits/iid seed 1 (the code has changed since this run" in said
    assert "was trained by other code than is installed: jvae.py has changed\n" in said
    assert "the code has changed since this run began, and 1 trial that" in said
    assert "2 of 3 trials done, 0 failed, 0 not finished, 1 made by other code and left alone" in said
    assert [shlex.split(line)[-1] for line in (said.splitlines()[-3], said.splitlines()[-1])] == ["--keep", "--retrain"]
    assert (stub.states()[1], stub.status(1)["attempts"]) == ("interrupted", 1)
    assert "error_type" not in stub.status(1)
    # So whatever is said to do next reaches the trial, without --retry failed.
    stub.behaviours = {}
    assert run_grid(replace(request, stale="keep"), command=stub.command, report=no_report) == 0
    assert stub.counts("finish") == dict.fromkeys(range(3), 1)


def test_the_process_of_a_driver_tells_it_apart_from_bad_input(
    stub: StubRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.store()
    folders = stub.folders()
    old = copy.deepcopy(training_code(json.loads((folders[0] / "spec.json").read_text())))
    old["objective"]["files"][JVAE] = "00000000"
    for folder in folders.values():
        half_trained(folder, [{"from": 0, "to": 4, "code": old}])
    words = ["train", "--out", str(folders[0])]
    assert main(words) == 2
    together = [word for folder in folders.values() for word in ("--out", f"2:{folder}")]
    assert main(["train-together", *together]) == STALE
    for attempt in ("2", ""):  # Empty: a turn of SLURM's, of which nobody knows the number.
        monkeypatch.setenv(ATTEMPT_VARIABLE, attempt)
        assert main(words) == STALE
    assert CHANGED in capsys.readouterr().err
    assert stub.states() == dict.fromkeys(range(3), "interrupted")
