"""Jobs whose machine is lost before they begin, and locks held by processes that only check them."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Sequence

import pytest

from mmvae_bench.runs import lock
from mmvae_bench.runs.status import Status, write_status
from mmvae_bench.specs.grid import expand
from mmvae_bench.sweep.driver import MAX_LOSSES
from mmvae_bench.sweep.executor import Ended, Job
from mmvae_bench.sweep.local import LocalExecutor, Slot
from mmvae_bench.sweep.outcome import settle
from mmvae_bench.sweep.schedule import trials_of

from .cluster import drive_with
from .support import StubRun


class Losing(LocalExecutor):
    """Loses the first jobs that it is given before they begin."""

    def __init__(self, command: Sequence[str], *, num_lost: int) -> None:
        super().__init__([Slot("cpu")], command=command)
        self.num_lost = num_lost
        self._gone: list[Ended] = []

    def submit(self, job: Job) -> None:
        """Starts a job, or loses it."""
        if self.num_lost:
            self.num_lost -= 1
            self._gone.append(Ended(job, -signal.SIGTERM, lost=True, began=False))
        else:
            super().submit(job)

    def wait(self, timeout: float) -> list[Ended]:
        """What is over, by its end or by its loss."""
        gone, self._gone = self._gone, []
        return gone or super().wait(timeout)


@pytest.mark.parametrize("earlier", ["none", "interrupted", "failed"])
def test_a_job_that_is_lost_before_it_begins_is_given_to_another_machine(stub: StubRun, earlier: str) -> None:
    stub.seeds = (0,)
    if earlier != "none":
        stub.store()
        write_status(stub.folders()[0], Status(state=earlier, attempts=1))  # type: ignore[arg-type]
    outcome, recorder = drive_with(stub, Losing(stub.command, num_lost=2), retry_failed=earlier == "failed")
    assert outcome.exit_code == 0
    assert stub.counts("finish") == stub.counts("start") == {0: 1}
    assert stub.status(0)["attempts"] == (1 if earlier == "none" else 2), "what never began is no attempt"
    assert len(recorder.of("retry")) == 2


def test_a_job_that_is_lost_again_and_again_is_left_to_the_next_run(stub: StubRun) -> None:
    stub.seeds = (0,)
    outcome, recorder = drive_with(stub, Losing(stub.command, num_lost=99))
    assert (outcome.done, outcome.failed, outcome.exit_code) == (0, 0, 1)
    assert len(recorder.of("retry")) == MAX_LOSSES
    assert stub.states() == {0: "none"}
    assert stub.drive()[0].exit_code == 0


def test_who_only_looks_whether_a_trial_is_taken_does_not_take_it(
    stub: StubRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another driver looks just when this one writes down how a process has ended."""
    store = stub.store()
    trial = trials_of(expand(stub.grid()), store)[0]
    write_status(trial.folder.directory, Status(state="running", attempts=1))
    looker = os.open(trial.folder.directory / lock.LOCK_FILE, os.O_RDWR | os.O_CREAT)
    fcntl.flock(looker, fcntl.LOCK_SH)
    sleep = time.sleep

    def release(seconds: float) -> None:
        fcntl.flock(looker, fcntl.LOCK_UN)
        sleep(seconds)

    monkeypatch.setattr(lock.time, "sleep", release)
    try:
        status = settle(trial, Ended(trial.train_job(), -signal.SIGSEGV), asked=False, log_start=0)
    finally:
        os.close(looker)
    assert status is not None
    assert (status.state, status.error_type) == ("failed", "SIGSEGV")
