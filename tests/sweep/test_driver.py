"""The driver on stub trials: what runs, in which order, and what becomes of those that fail."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mmvae_bench.runs.status import Status, read_status, write_status
from mmvae_bench.specs.grid import expand
from mmvae_bench.sweep.driver import Driver
from mmvae_bench.sweep.executor import ExecutorError, Job
from mmvae_bench.sweep.local import LocalExecutor, Slot
from mmvae_bench.sweep.schedule import trials_of

from .support import Recorder, StubRun


def test_every_trial_runs_once(stub: StubRun) -> None:
    outcome, recorder = stub.drive()
    assert (outcome.done, outcome.failed, outcome.total, outcome.exit_code) == (3, 0, 3, 0)
    assert stub.counts("finish") == stub.counts("start") == {0: 1, 1: 1, 2: 1}
    assert [event.finished for event in recorder.of("done")] == [1, 2, 3]
    assert stub.states() == {0: "done", 1: "done", 2: "done"}


def test_what_is_done_is_skipped(stub: StubRun) -> None:
    stub.drive()
    (stub.folders()[1] / "result.json").unlink()
    outcome, recorder = stub.drive()
    assert outcome.exit_code == 0
    assert stub.counts("start") == {0: 1, 1: 2, 2: 1}
    assert recorder.events[0].done == 2


def test_a_result_of_another_evaluation_is_not_done(stub: StubRun) -> None:
    stub.drive()
    stub.num_samples = 20
    outcome, _ = stub.drive()
    assert outcome.exit_code == 0
    assert stub.counts("finish") == {0: 2, 1: 2, 2: 2}
    last = stub.journal(stub.folders()[0])[-1]
    assert last["evaluation"]["num_samples"] == 20
    assert stub.drive()[1].events[0].done == 3


def test_a_failure_is_a_row_and_stays_one(stub: StubRun) -> None:
    stub.behaviours = {"attempts": {"1": ["raise", "raise"]}}
    outcome, recorder = stub.drive()
    assert (outcome.done, outcome.failed, outcome.exit_code) == (2, 1, 1)
    (failed,) = recorder.of("failed")
    assert failed.error == "loss is nan at step 3"
    assert failed.attempts == 1
    again, recorder = stub.drive()
    assert (again.failed, again.exit_code) == (1, 1)
    assert len(recorder.of("failed")) == 1
    assert stub.counts("start")[1] == 1
    retried, _ = stub.drive(retry_failed=True)
    assert retried.failed == 1
    assert stub.status(1)["attempts"] == 2
    assert stub.drive(retry_failed=True)[0].exit_code == 0
    assert stub.counts("start") == {0: 1, 1: 3, 2: 1}


def test_a_crash_is_recorded_with_its_signal_and_last_words(stub: StubRun) -> None:
    stub.behaviours = {"attempts": {"0": ["SIGSEGV"]}}
    outcome, recorder = stub.drive()
    assert outcome.failed == 1
    status = stub.status(0)
    assert status["state"] == "failed"
    assert status["error_type"] == "SIGSEGV"
    assert "SIGSEGV" in status["error"]
    assert "the last words" in status["error"]
    assert status["log"] == str(stub.folders()[0] / "output.log")
    assert stub.counts("start")[0] == 1
    assert recorder.of("failed")[0].log == status["log"]


@pytest.mark.parametrize(("behaviour", "kind"), [("3", "exit 3"), ("no result", "exit 0")])
def test_a_process_that_leaves_nothing_has_failed(stub: StubRun, behaviour: str, kind: str) -> None:
    stub.behaviours = {"attempts": {"0": [behaviour]}}
    outcome, _ = stub.drive()
    assert outcome.failed == 1
    assert stub.status(0)["error_type"] == kind


def test_a_process_that_dies_before_its_first_word_counts_as_an_attempt(stub: StubRun) -> None:
    stub.behaviours = {"unlocked": {"2": "die"}}
    outcome, _ = stub.drive()
    assert outcome.failed == 1
    assert stub.status(2)["attempts"] == 1
    assert stub.drive(retry_failed=True)[0].failed == 1
    assert stub.status(2)["attempts"] == 2


@pytest.mark.parametrize("behaviour", ["SIGKILL", "OutOfMemoryError", "SIGTERM"])
def test_out_of_memory_and_strangers_signals_are_tried_again_alone(stub: StubRun, behaviour: str) -> None:
    stub.seeds = (0, 1, 2, 3)
    stub.behaviours = {"attempts": {"1": [behaviour]}, "seconds": 0.2}
    outcome, recorder = stub.drive(workers=2)
    assert outcome.exit_code == 0
    assert stub.counts("start") == {0: 1, 1: 2, 2: 1, 3: 1}
    (retry,) = recorder.of("retry")
    assert retry.key == stub.folders()[1].name
    second = [line["time"] for line in stub.journal(stub.folders()[1]) if line["event"] == "start"][1]
    others = [stub.journal(folder)[-1]["time"] for seed, folder in stub.folders().items() if seed != 1]
    assert second > max(others)


def test_out_of_memory_twice_is_a_failure(stub: StubRun) -> None:
    stub.behaviours = {"attempts": {"1": ["OutOfMemoryError"] * 3}}
    outcome, _ = stub.drive()
    assert outcome.failed == 1
    assert stub.counts("start")[1] == 2


def test_a_second_try_that_was_never_made_is_left_to_the_next_driver(stub: StubRun) -> None:
    stub.drive()
    folder = stub.folders()[0]
    (folder / "result.json").unlink()
    write_status(folder, replace(read_status(folder), state="pending", error="out of memory"))
    assert stub.drive()[0].exit_code == 0
    assert stub.counts("start")[0] == 2


def test_longest_first(stub: StubRun) -> None:
    stub.seeds, stub.steps = (0,), (10, 40, 20, 30)
    _, recorder = stub.drive(workers=1)
    steps = {
        path.parent.name: json.loads(path.read_text())["training"]["steps"]
        for path in (stub.out / "trials").glob("*/spec.json")
    }
    assert [steps[str(event.key)] for event in recorder.of("running")] == [40, 30, 20, 10]


def test_what_earlier_runs_cost_decides_from_the_first_trial_on(stub: StubRun) -> None:
    """Few steps of what was expensive before many of what was cheap, by the results that lie in the folder."""
    stub.seeds, stub.objectives = (0,), ("jvae", "telbo")
    stub.drive()
    for folder in (stub.out / "trials").iterdir():
        result = json.loads((folder / "result.json").read_text())
        seconds = {"jvae": 1.0, "telbo": 1000.0}[result["spec"]["objective"]["name"]]
        result["training"]["wall_seconds"] = seconds
        (folder / "result.json").write_text(json.dumps(result))
    stub.steps = (10, 20, 100)
    _, recorder = stub.drive(workers=1)
    specs = {path.parent.name: json.loads(path.read_text()) for path in (stub.out / "trials").glob("*/spec.json")}
    order = [specs[str(event.key)] for event in recorder.of("running")]
    asked = [(spec["objective"]["name"], spec["training"]["steps"]) for spec in order]
    assert asked == [("telbo", 100), ("telbo", 20), ("jvae", 100), ("jvae", 20)]


def test_no_slot_is_free_while_a_trial_waits(stub: StubRun) -> None:
    stub.seeds = range(12)
    outcome, recorder = stub.drive(workers=3)
    assert outcome.exit_code == 0
    waiting = [progress for progress in recorder.progress if progress.waiting]
    assert len(waiting) >= 3
    assert {len(progress.running) for progress in waiting} == {3}


def test_shared_data_is_prepared_once_and_first(stub: StubRun) -> None:
    _, recorder = stub.drive(workers=2)
    assert [event.event for event in recorder.events[:3]] == ["run", "preparing", "running"]
    assert len(stub.journal(stub.out)) == 1
    stub.drive()
    assert len(stub.journal(stub.out)) == 1, "nothing waits, so nothing is prepared"


def test_a_preparation_that_fails_is_shown_and_the_trials_run_all_the_same(stub: StubRun) -> None:
    stub.behaviours = {"prepare": 4}
    outcome, recorder = stub.drive()
    assert outcome.exit_code == 0
    (failed,) = recorder.of("prepare_failed")
    assert "exit code 4" in str(failed.error)
    assert str(failed.log).startswith(str(stub.out / "prepare"))


def test_what_one_trial_needs_alone_it_prepares_itself(stub: StubRun) -> None:
    stub.seeds = (0,)
    assert stub.drive()[1].of("preparing") == []
    stub.seeds = (0, 1, 2)
    assert stub.drive(workers=1)[1].of("preparing") == []


def test_the_process_stays_light(stub: StubRun) -> None:
    import subprocess
    import sys

    stub.store()
    code = (
        "import sys\nfrom mmvae_bench.runs import store\nfrom mmvae_bench.sweep import run, driver, events\n"
        "import mmvae_bench.cli.run, mmvae_bench.cli.sweep, mmvae_bench.cli.status\n"
        "from mmvae_bench.specs.grid import load_grid\n"
        f"load_grid({str(stub.root / 'grid.yaml')!r}).trials\n"
        "print([name for name in ('torch', 'pytorch_lightning', 'pandas', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_stale_running_status_is_an_interruption(stub: StubRun) -> None:
    store = stub.store()
    folder = store.folder(stub.folders()[0].name)
    write_status(folder.directory, Status(state="running", attempts=1, step=3, steps=10))
    assert folder.status(folder.evaluation()).state == "interrupted"
    assert stub.drive()[0].exit_code == 0
    assert stub.status(0)["attempts"] == 2


class _Refusing(LocalExecutor):
    """Starts so many jobs, and no more."""

    num_left = 0

    def submit(self, job: Job) -> None:
        if not self.num_left:
            raise ExecutorError("cannot start a process: no more of them")
        self.num_left -= 1
        super().submit(job)


@pytest.mark.parametrize(("num_left", "exit_code"), [(0, 2), (1, 1), (2, 1), (3, 0)])
def test_where_nothing_can_be_started_the_exit_code_is_that_of_bad_input(
    stub: StubRun, num_left: int, exit_code: int
) -> None:
    store, executor = stub.store(), _Refusing([Slot("cpu 0")], command=stub.command)
    executor.num_left = num_left
    outcome = Driver(store, trials_of(expand(stub.grid()), store), executor, Recorder()).run()
    assert (outcome.exit_code, outcome.done, outcome.failed) == (exit_code, num_left, 0)
    assert (outcome.error is None) == (exit_code == 0)
