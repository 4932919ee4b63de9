"""Trials that no longer move: who is ended, what is written down, and that no clock can end anybody."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmvae_bench.runs.folder import TrialFolder
from mmvae_bench.runs.lock import is_locked
from mmvae_bench.runs.status import Status, read_status, write_status
from mmvae_bench.sweep import outcome as outcome_module
from mmvae_bench.sweep.hang import HangWatch, end_holder

from .support import StubRun, until

SECONDS = 4.0
"""Stillness that the stubs are allowed: more than a busy machine takes to start one."""


def looks(watch: HangWatch, path: Path, times: list[float]) -> list[bool]:
    """Whether the file was said to stand still, at each look."""
    return ["a" in watch.look(now, {"a": path}) for now in times]


def test_what_stands_still_is_named_and_what_changes_is_not(tmp_path: Path) -> None:
    file, watch = tmp_path / "status.json", HangWatch(5.0)
    file.write_text("1")
    assert looks(watch, file, [0.0, 2.0, 4.0]) == [False, False, False]
    os.utime(file, ns=(0, 0))
    assert looks(watch, file, [6.0, 8.0, 10.0, 12.0]) == [False, False, False, True]
    file.write_text("22")
    assert looks(watch, file, [14.0]) == [False]


def test_a_file_that_never_comes_stands_still_and_one_that_comes_moves(tmp_path: Path) -> None:
    watch = HangWatch(5.0)
    assert looks(watch, tmp_path / "none", [0.0, 4.0, 8.0]) == [False, False, True]
    (tmp_path / "none").touch()
    assert looks(watch, tmp_path / "none", [9.0]) == [False]


def test_time_in_which_nobody_looked_counts_for_little(tmp_path: Path) -> None:
    """The driver was stopped, or the machine slept, with everything on it."""
    file, watch = tmp_path / "status.json", HangWatch(60.0)
    file.touch()
    assert looks(watch, file, [0.0, 1.0, 1e6, 1e6 + 1.0]) == [False] * 4


@pytest.mark.parametrize("moment", [0, 2**33, -(2**31)])
def test_times_that_make_no_sense_are_changes_like_any_other(tmp_path: Path, moment: int) -> None:
    file, watch = tmp_path / "status.json", HangWatch(3.0)
    for turn in range(10):
        write_status(tmp_path, Status(state="running", step=turn))
        os.utime(file, (moment + turn % 2, moment + turn % 2))
        assert looks(watch, file, [2.0 * turn]) == [False]
    os.utime(file, (moment + 7, moment + 7))
    assert looks(watch, file, [20.0, 22.0, 24.0]) == [False, False, True], "a clock that stands still lets nobody hide"


def test_without_a_limit_nobody_is_named(tmp_path: Path) -> None:
    watch = HangWatch(None)
    assert looks(watch, tmp_path / "none", [0.0, 1e3, 1e6, 1e9]) == [False] * 4


def test_a_hung_trial_is_ended_and_recorded_while_slow_ones_go_on(stub: StubRun) -> None:
    stub.behaviours = {"attempts": {"0": ["hang"], "1": ["creep"]}}
    outcome, recorder = stub.drive(hang_seconds=SECONDS, grace=20.0)
    assert (outcome.done, outcome.failed, outcome.exit_code) == (2, 1, 1)
    status = stub.status(0)
    assert (status["state"], status["error_type"], status["attempts"]) == ("failed", "Hang", 1)
    assert f"no progress for {SECONDS:.0f} s in prepare, at step 0 of 10" in status["error"]
    assert status["log"] == str(stub.folders()[0] / "output.log")
    assert stub.counts("stopped")[0] == 1, "it was asked to save first"
    assert stub.counts("start") == {0: 1, 1: 1, 2: 1}, "no second try by itself"
    (hung,) = recorder.of("hung")
    assert hung.key == stub.folders()[0].name
    assert [event.key for event in recorder.of("failed")] == [hung.key]
    assert stub.drive(retry_failed=True)[0].exit_code == 0
    assert stub.counts("start")[0] == 2


def test_a_hung_trial_that_does_not_heed_is_killed(stub: StubRun) -> None:
    stub.seeds, stub.behaviours = (0,), {"attempts": {"0": ["stubborn"]}}
    outcome, _ = stub.drive(hang_seconds=SECONDS, grace=0.2)
    assert outcome.failed == 1
    assert stub.status(0)["error_type"] == "Hang", "not a crash, and not out of memory"
    assert stub.counts("start")[0] == 1
    assert not is_locked(stub.folders()[0])


def test_a_preparation_that_hangs_is_ended_and_the_trials_run(stub: StubRun) -> None:
    stub.behaviours = {"prepare": "hang"}
    outcome, recorder = stub.drive(hang_seconds=SECONDS)
    assert outcome.exit_code == 0
    assert len(recorder.of("hung")) == len(recorder.of("prepare_failed")) == 1


def test_a_hung_trial_of_a_killed_driver_is_ended_by_the_next(stub: StubRun) -> None:
    stub.behaviours = {"attempts": {"0": ["stubborn", "hang"]}}
    first = stub.start("--workers", "3")
    until(lambda: stub.counts("start").get(0) == 1)
    first.kill()
    first.communicate()
    assert is_locked(stub.folders()[0])
    outcome, recorder = stub.drive(hang_seconds=SECONDS, grace=0.2)
    assert (outcome.done, outcome.failed) == (2, 1)
    assert len(recorder.of("hung")) == 1
    assert (stub.status(0)["error_type"], stub.status(0)["attempts"]) == ("Hang", 1)
    assert stub.counts("start")[0] == 1


def test_a_disk_that_is_full_when_a_hang_is_written_down_stops_the_run_in_good_order(
    stub: StubRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(directory: Path, status: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory))

    stub.seeds, stub.behaviours = (0,), {"attempts": {"0": ["stubborn"]}}
    first = stub.start("--workers", "1")
    until(lambda: stub.counts("start").get(0) == 1)
    first.kill()
    first.communicate()
    monkeypatch.setattr(outcome_module, "record_failure", refuse)
    outcome, recorder = stub.drive(hang_seconds=1.0, grace=0.2)
    assert outcome.exit_code == 1
    assert "No space left on device" in str(outcome.error)
    assert len(recorder.of("stopping")) == 1


def test_a_trial_out_of_reach_that_makes_no_progress_is_named_once(stub: StubRun) -> None:
    """Its node is gone, or hangs: whoever waits is told for what, since nothing can be ended from here."""
    stub.seeds = (0,)
    stub.store()
    folder = stub.folders()[0]
    code = (
        "import sys, time; from pathlib import Path; from mmvae_bench.runs.lock import TrialLock\n"
        "with TrialLock(Path(sys.argv[1])): print('held', flush=True); time.sleep(4)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    write_status(folder, Status(state="running", pid=4711, host="node17", attempts=1))
    _, recorder = stub.drive(hang_seconds=1.0, grace=0.2)
    holder.wait()
    assert stub.counts("start") == {0: 1}, "once its lock is gone the trial goes on here"
    said = [event.message for event in recorder.of("elsewhere")]
    assert said == [None, "no progress for 1 s; by its status process 4711 on node17 works on it: end it there"]


def test_only_the_process_that_has_the_lock_is_ended(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    folder.lock_path.touch()
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        write_status(tmp_path, Status(state="running", pid=stranger.pid, host=socket.gethostname()))
        assert not end_holder(folder, force=True), "another process by now has the number"
        write_status(tmp_path, Status(state="running", pid=os.getpid(), host="elsewhere"))
        with folder.lock_path.open():
            assert not end_holder(folder, force=True), "a process of another machine"
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    code = f"import time; f = open({str(folder.lock_path)!r}); print('open', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    write_status(tmp_path, Status(state="running", pid=holder.pid, host=socket.gethostname()))
    assert end_holder(folder, force=False)
    assert holder.wait(timeout=120) == -signal.SIGTERM


@pytest.mark.parametrize("moment", [-1e12, 0.0, 1e12])
def test_a_clock_that_jumps_confuses_no_driver(stub: StubRun, monkeypatch: pytest.MonkeyPatch, moment: float) -> None:
    """Times of the far past and future in what is there, and a wall clock that stands there now."""
    store = stub.store()
    for key in sorted(store.keys()):
        stale = Status(state="running", attempts=1, step=3, steps=10, started=-moment, updated=-moment)
        write_status(store.folder(key).directory, stale)
        os.utime(store.folder(key).status_path, (2**33, 2**33))
    monkeypatch.setattr(time, "time", lambda: moment)
    outcome, recorder = stub.drive(hang_seconds=60.0)
    assert outcome.exit_code == 0
    assert stub.counts("finish") == {0: 1, 1: 1, 2: 1}
    assert recorder.of("hung") == []
    assert all(0 <= (event.seconds or 0.0) < 60 for event in recorder.events)
    assert all(read_status(folder).attempts == 2 for folder in stub.folders().values())
