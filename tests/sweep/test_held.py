"""A bug in an objective ends two of its trials and not all of them; and the rehearsal, which finds it before that."""

from __future__ import annotations

import json
import time

import pytest

from mmvae_bench.runs.lock import is_locked
from mmvae_bench.sweep import rehearsal as rehearsal_module
from mmvae_bench.sweep.rehearsal import Rehearsal
from mmvae_bench.sweep.run import Request, run
from mmvae_bench.sweep.schedule import Schedule

from .support import StubRun, no_report


def bugs(stub: StubRun, *lines: int) -> None:
    """Trial by trial, an exception from that line of the objective."""
    stub.seeds = range(len(lines))
    stub.behaviours = {"attempts": {str(seed): [f"bug {line}"] for seed, line in enumerate(lines) if line}}


def test_the_same_exception_twice_holds_the_rest_back(stub: StubRun) -> None:
    bugs(stub, 7, 7, 7, 7, 7)
    outcome, recorder = stub.drive(workers=1)
    assert (outcome.failed, outcome.held, outcome.done, outcome.exit_code) == (2, 3, 0, 1)
    assert not outcome.stopped
    assert stub.counts("start") == {0: 1, 1: 1, 2: 0, 3: 0, 4: 0}
    (held,) = recorder.of("held")
    assert held.label == "3 trials of objective jvae"
    assert held.message == "two of its trials ended with the same error"
    assert held.error == "ZeroDivisionError: division by zero\nat objective.py:7 in terms"
    assert recorder.of("failed")[0].error == held.error


@pytest.mark.parametrize("lines", [(7, 8, 9, 10), (7, 0, 0, 0)], ids=["other lines", "one alone"])
def test_what_is_not_the_same_holds_nothing_back(lines: tuple[int, ...], stub: StubRun) -> None:
    bugs(stub, *lines)
    outcome, recorder = stub.drive(workers=1)
    assert outcome.held == 0
    assert sum(stub.counts("start").values()) == 4
    assert not recorder.of("held")


def test_an_error_that_is_not_in_the_objective_holds_nothing_back(stub: StubRun) -> None:
    stub.behaviours = {"attempts": {str(seed): ["raise"] for seed in range(3)}}
    outcome, _ = stub.drive(workers=1)
    assert (outcome.failed, outcome.held) == (3, 0)


def test_a_shortage_of_memory_is_no_bug(stub: StubRun) -> None:
    stub.behaviours = {"attempts": {str(seed): ["bug 7 MemoryError"] * 2 for seed in range(3)}}
    outcome, _ = stub.drive(workers=1)
    assert (outcome.failed, outcome.held) == (3, 0)


def test_each_objective_is_held_back_for_its_own_errors(stub: StubRun) -> None:
    bugs(stub, 7, 7, 7, 7)
    stub.objectives = ("jvae", "telbo")
    # Every trial fails, whatever its objective: the first of the two does not hold the other back.
    outcome, recorder = stub.drive(workers=1)
    assert (outcome.failed, outcome.held) == (4, 4)
    assert sorted(event.label or "" for event in recorder.of("held")) == [
        "2 trials of objective jvae",
        "2 trials of objective telbo",
    ]


def test_what_was_held_back_is_run_with_what_failed_once_the_bug_is_mended(
    stub: StubRun, capsys: pytest.CaptureFixture[str]
) -> None:
    bugs(stub, 7, 7, 7, 7)
    request = Request(grid=stub.write_grid(), out=stub.out, workers=1)
    assert run(request, command=stub.command, report=no_report) == 1
    *_, said, command = capsys.readouterr().err.splitlines()
    assert said == "0 of 4 trials done, 2 failed, 2 not finished, 2 of them held back; resume with:"
    assert command.endswith("--retry failed")
    # An earlier run's failures alone hold nothing back: the next run may be of other code.
    outcome, _ = stub.drive(workers=1, retry_failed=True)
    assert (outcome.failed, outcome.held, outcome.done) == (2, 0, 2), "the stub fails at the first attempt only"


def test_fail_fast_stops_everything_after_the_first_failure(stub: StubRun, capsys: pytest.CaptureFixture[str]) -> None:
    stub.seeds = range(6)
    stub.behaviours = {"attempts": {"0": ["raise second"]}, "seconds": 5.0}
    request = Request(grid=stub.write_grid(), out=stub.out, workers=2, fail_fast=True)
    assert run(request, command=stub.command, report=no_report) == 1
    said = capsys.readouterr().err
    assert "stopping after the first failure (--fail-fast)" in said
    assert said.splitlines()[-1].endswith("--fail-fast --retry failed")
    assert [stub.counts("start")[seed] for seed in range(2, 6)] == [0] * 4
    assert stub.states() == {0: "failed", 1: "interrupted"} | dict.fromkeys(range(2, 6), "none")
    assert not any(is_locked(folder) for folder in stub.folders().values())


def test_fail_fast_does_not_mind_what_failed_before(stub: StubRun) -> None:
    stub.behaviours = {"attempts": {"0": ["raise"]}}
    stub.drive(workers=1)
    stub.seeds = range(5)
    outcome, _ = stub.drive(workers=1, fail_fast=True)
    assert (outcome.done, outcome.failed) == (4, 1)


def rehearsed(stub: StubRun) -> list[list[str]]:
    """The objectives of each rehearsal."""
    return [line["specs"] for line in stub.journal(stub.out) if line["event"] == "rehearse"]


def test_an_objective_whose_first_step_fails_is_not_started(stub: StubRun, capsys: pytest.CaptureFixture[str]) -> None:
    stub.objectives = ("jvae", "telbo")
    stub.behaviours = {"rehearse": {"jvae": 'File "jvae.py", line 3, in terms\nZeroDivisionError: division by zero'}}
    request = Request(grid=stub.write_grid(), out=stub.out, workers=1)
    assert run(request, command=stub.command, report=no_report) == 1
    said = capsys.readouterr().err
    assert rehearsed(stub) == [["jvae", "telbo"]]
    assert "held back 3 trials of objective jvae (the first step of training fails)\n" in said
    assert '    File "jvae.py", line 3, in terms\n    ZeroDivisionError: division by zero\n' in said
    assert "3 of 6 trials done, 0 failed, 3 not finished, 3 of them held back; resume with:" in said
    # The same once more, and then without it: what is held back was never touched.
    assert run(request, command=stub.command, report=no_report) == 1
    assert rehearsed(stub) == [["jvae", "telbo"], ["jvae"]]
    without = Request(grid=stub.write_grid(), out=stub.out, workers=1, rehearsal=False)
    assert "--no-rehearsal" in without.command()
    assert run(without, command=stub.command, report=no_report) == 0
    assert len(rehearsed(stub)) == 2
    # Nothing is left to train: nothing is tried.
    assert run(request, command=stub.command, report=no_report) == 0
    assert len(rehearsed(stub)) == 2


@pytest.mark.parametrize("accident", ["crash", "hang", "no program"])
def test_a_rehearsal_that_cannot_be_held_holds_nothing_up(
    accident: str, stub: StubRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.behaviours = {"rehearsal": accident}
    monkeypatch.setattr(rehearsal_module, "SECONDS", 1.0)
    command = stub.command if accident != "no program" else ("/no/such/program",)
    began = time.monotonic()
    said: list[str] = []
    outcome, _ = stub.drive(rehearse=Rehearsal(command, say=said.append))
    assert outcome.exit_code == 0
    given_up = ["the trial of first steps was given up: nothing was heard of it for 1 s (a busy machine?)"]
    assert said == (given_up if accident == "hang" else [])
    assert time.monotonic() - began < 20


def test_objectives_that_were_not_tried_are_named(stub: StubRun) -> None:
    stub.behaviours = {"untried": ["scan", "telbo"]}
    said: list[str] = []
    outcome, _ = stub.drive(rehearse=Rehearsal(stub.command, say=said.append))
    assert outcome.exit_code == 0
    assert said == ["first steps took long enough: those of scan, telbo were not tried before training"]


def test_a_rehearsal_ends_when_the_run_is_asked_to_stop(stub: StubRun) -> None:
    stub.behaviours = {"rehearsal": "hang"}
    store = stub.store()
    from mmvae_bench.specs.grid import expand
    from mmvae_bench.sweep.schedule import trials_of

    began = time.monotonic()
    assert Rehearsal(stub.command)(trials_of(expand(stub.grid()), store), lambda: True) == {}
    assert time.monotonic() - began < 20


def test_withdrawn_trials_are_in_no_queue(stub: StubRun) -> None:
    from mmvae_bench.specs.grid import expand
    from mmvae_bench.sweep.schedule import CostModel, trials_of

    stub.objectives = ("jvae", "telbo")
    trials = trials_of(expand(stub.grid()), stub.store())
    schedule = Schedule(CostModel())
    for trial in trials[:5]:
        schedule.add(trial)
    schedule.add_alone(trials[5])
    own = {trial.group for trial in trials if trial.group[0] == "telbo"}
    taken = schedule.withdraw(lambda trial: trial.group in own)
    assert {trial.key for trial in taken} == {trial.key for trial in trials if trial.group in own}
    assert len(schedule) == 3
    left = [schedule.pop() for _ in range(3)]
    assert {trial.group[0] for trial in left if trial is not None} == {"jvae"}
    assert schedule.pop() is None
    assert schedule.pop_alone() is None
    assert json.dumps(sorted(schedule.recipes())) == "[]"
