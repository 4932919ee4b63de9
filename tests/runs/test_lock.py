"""The lock is a process's, not a file's."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.base.files import DamagedFile
from mmvae_bench.runs import lock as locks
from mmvae_bench.runs.lock import LockHeld, ReportLock, TrialLock, check_held, is_locked
from mmvae_bench.runs.status import ATTEMPT_VARIABLE, Status, StatusWriter, begin, read_status, write_status

HOLDER = """
import sys, time
from pathlib import Path
from mmvae_bench.runs.lock import TrialLock
with TrialLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_held_for_the_block(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    with TrialLock(tmp_path):
        assert is_locked(tmp_path)
        with pytest.raises(LockHeld, match="another process"), TrialLock(tmp_path, wait=0.05):
            pass
    assert not is_locked(tmp_path)
    assert (tmp_path / "lock").exists(), "the file stays and means nothing"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named_as_the_reason(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TrialLock(tmp_path):
        pass

    def refuse(file: int, kind: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(BenchmarkError, match=r"cannot lock files \(flock\).*\n.*Choose a folder on another one"):
        is_locked(tmp_path)
    with pytest.raises(BenchmarkError, match="cannot lock files"), TrialLock(tmp_path):
        pass
    with ReportLock(tmp_path, wait=0.0):
        pass  # A report of a copy is written all the same.


def test_one_process_at_a_time_writes_a_report(tmp_path: Path) -> None:
    with ReportLock(tmp_path, wait=0.0):
        with pytest.raises(LockHeld, match="another process is writing its report"), ReportLock(tmp_path, wait=0.05):
            pass
        assert not is_locked(tmp_path), "no driver waits for a report"
    with ReportLock(tmp_path, wait=0.0):
        pass


def test_who_waits_for_a_report_says_so_once_and_for_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    with ReportLock(tmp_path, wait=0.0):
        with pytest.raises(LockHeld), ReportLock(tmp_path, wait=0.3, tell=told.append):
            pass
        assert told == [], "not at once"
        monkeypatch.setattr(locks, "_QUIET_SECONDS", 0.1)
        with pytest.raises(LockHeld), ReportLock(tmp_path, wait=0.5, tell=told.append):
            pass
        (line,) = told
        assert line.startswith(f"{tmp_path}: waiting for process {os.getpid()} on ")
        assert line.endswith(", which is writing its report")
        (tmp_path / "report.lock").write_text("\x1b[31m" + "x" * 10_000)
        with pytest.raises(LockHeld), ReportLock(tmp_path, wait=0.3, tell=told.append):
            pass
        assert "\\x1b" in told[1]
        assert len(told[1]) < len(str(tmp_path)) + 400
    assert (tmp_path / "report.lock").read_text() == "", "nobody's name is left"


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert is_locked(tmp_path)
    holder.kill()
    holder.communicate()
    assert not is_locked(tmp_path)
    with TrialLock(tmp_path, wait=0.0):
        pass


def test_those_who_look_do_not_see_each_other_and_need_no_right_to_write(tmp_path: Path) -> None:
    with TrialLock(tmp_path):
        pass
    (tmp_path / "lock").chmod(0o444)
    first = os.open(tmp_path / "lock", os.O_RDONLY)
    import fcntl

    fcntl.flock(first, fcntl.LOCK_SH)
    assert not is_locked(tmp_path)
    os.close(first)


def test_a_child_started_under_the_lock_does_not_keep_it(tmp_path: Path) -> None:
    with TrialLock(tmp_path):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        assert not is_locked(tmp_path)
    finally:
        child.kill()
        child.wait()


def test_waiting_sits_out_a_short_hold(tmp_path: Path) -> None:
    import threading

    def hold() -> None:
        with TrialLock(tmp_path):
            time.sleep(0.2)

    thread = threading.Thread(target=hold)
    thread.start()
    time.sleep(0.05)
    with TrialLock(tmp_path, wait=5.0):
        pass
    thread.join()


def test_a_process_that_is_late_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ATTEMPT_VARIABLE, "1")
    assert begin(tmp_path, steps=10).attempts == 1
    with pytest.raises(LockHeld, match="in the meantime"):
        begin(tmp_path, steps=10)
    assert read_status(tmp_path).attempts == 1
    monkeypatch.delenv(ATTEMPT_VARIABLE)
    assert begin(tmp_path, steps=10).attempts == 2


def test_a_lock_file_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    with TrialLock(tmp_path):
        assert not check_held(tmp_path)
        (tmp_path / "lock").unlink()
        assert check_held(tmp_path)
        with pytest.raises(LockHeld), TrialLock(tmp_path, wait=0.0):
            pass
    assert not is_locked(tmp_path)
    assert not check_held(tmp_path), "nothing is held any more"


def test_who_has_lost_the_lock_to_another_writes_nothing_more(tmp_path: Path) -> None:
    with TrialLock(tmp_path, wait=0.0):
        writer = StatusWriter(tmp_path, begin(tmp_path, steps=5))
        (tmp_path / "lock").unlink()
        holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        before = (tmp_path / "status.json").read_bytes()
        try:
            with pytest.raises(LockHeld, match=r"lock was deleted .*, and another process has taken the trial over"):
                writer.beat()
        finally:
            holder.kill()
            holder.communicate()
        assert (tmp_path / "status.json").read_bytes() == before


def test_who_comes_back_after_another_has_worked_writes_nothing_more(tmp_path: Path) -> None:
    with TrialLock(tmp_path):
        writer = StatusWriter(tmp_path, begin(tmp_path, steps=5))
        (tmp_path / "lock").unlink()
        write_status(tmp_path, Status(state="interrupted", pid=1))
        with pytest.raises(LockHeld, match="another process has worked on the trial since"):
            writer.beat()
        assert read_status(tmp_path).pid == 1


def test_a_lock_taken_on_a_file_that_is_deleted_meanwhile_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmvae_bench.runs import lock as module

    take, deleted = module._try_lock, []

    def late(file: int, kind: int) -> bool:
        if not deleted:
            (tmp_path / "lock").unlink()
            deleted.append(file)
        return take(file, kind)

    monkeypatch.setattr(module, "_try_lock", late)
    with TrialLock(tmp_path):
        assert is_locked(tmp_path)


def test_a_lock_that_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    assert not is_locked(tmp_path)
    with pytest.raises(DamagedFile, match="lock is damaged: not a regular file"), TrialLock(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()
