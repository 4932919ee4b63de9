"""What became of a trial whose process has ended: what it reported, or else what its exit code suggests."""

from __future__ import annotations

import os
import socket
from dataclasses import replace

from ..base.errors import DISK_FULL
from ..base.files import tail
from ..base.processes import LOCK_HELD, STALE
from ..runs.lock import LockHeld, TrialLock
from ..runs.previous import has_survived, record_failure
from ..runs.status import State, Status, read_status, write_status
from .executor import INTERRUPTED, Ended
from .schedule import Trial

OUT_OF_MEMORY = frozenset({"OutOfMemoryError", "MemoryError", "SIGKILL"})
"""Error types that are retried once, with the machine to itself. The kernel's out-of-memory killer sends SIGKILL."""
HANG = "Hang"
"""Error type of a trial that was stopped because it made no progress."""
_CHECK_SECONDS = 0.1
"""How long another driver may hold a lock that it only checks: that does not mean that it works on the trial."""


def disk_is_full(status: Status) -> bool:
    """Whether a trial failed because it could not write: so would every other one."""
    full = map(os.strerror, DISK_FULL)
    return status.state == "failed" and any(text in (status.error or "") for text in full)


def what_is_kept(trial: Trial) -> str | None:
    """What a trial that has failed still has, in words; None if that is nothing."""
    there = trial.folder.result_path.exists()
    return "its previous result is kept" if there else None


def lost(ended: Ended, status: Status) -> bool:
    """Whether a job's machine was lost while it ran, or before it could begin."""
    return ended.lost and (status.state == "interrupted" or (not ended.began and status.state != "done"))


def worth_retrying(trial: Trial, ended: Ended, status: Status) -> bool:
    """Whether what ended a trial's process may not end it again where it has the machine to itself, once."""
    if trial.retried:
        return False
    if status.state == "failed":
        # A process of several trials may have ended for another than this one.
        unsaid = ended.shared and status.error_type in (HANG, ended.describe()[0])
        return unsaid or status.error_type in OUT_OF_MEMORY
    return status.state == "interrupted"


def is_stale(trial: Trial, ended: Ended, status: Status) -> bool:
    """Whether a process has found that other code made its trial, and has done nothing: it is as it was before."""
    failed = status.state == "failed" and status.attempts > trial.attempts
    return ended.returncode == STALE and status.state != "done" and not failed


def settle(
    trial: Trial, ended: Ended, *, asked: bool, log_start: int, hang_seconds: float | None = None
) -> Status | None:
    """The trial's status now, written here if the process could not; None if another process has the trial.

    Args:
        trial: With ``attempts`` as they were when the process was started.
        ended: How the process ended.
        asked: Whether this driver had asked it to stop.
        log_start: Size of the log when the process was started.
        hang_seconds: How long it had made no progress, if it was stopped for that.
    """
    folder = trial.folder
    if ended.returncode == LOCK_HELD:
        return None
    if not ended.began:
        status = folder.status(trial.evaluation)
        return None if status.state == "running" else status
    if (over := _over(trial)) is not None:
        return over
    try:
        with TrialLock(folder.directory, wait=_CHECK_SECONDS):
            if (over := _over(trial)) is not None:
                return over
            status = read_status(folder.directory)
            if hang_seconds is not None:
                return record_failure(folder.directory, _hung(trial, status, hang_seconds, log_start=log_start))
            if status.attempts > trial.attempts and status.state in ("failed", "interrupted"):
                return status
            if ended.returncode == STALE:
                return status
            inferred = _inferred(trial, ended, status, asked=asked, log_start=log_start)
            write = record_failure if inferred.state == "failed" else write_status
            return write(folder.directory, inferred)
    except LockHeld:
        return None


def _over(trial: Trial) -> Status | None:
    """The trial's status if its process has said everything: it is done, or failed while a previous result stays."""
    status = read_status(trial.folder.directory)
    if has_survived(status) and status.attempts > trial.attempts:
        return replace(status, state="failed")
    return trial.folder.status(trial.evaluation) if trial.folder.is_done(trial.evaluation) else None


def settle_orphan(trial: Trial, *, hang_seconds: float) -> Status | None:
    """Records that a process not started by this driver was stopped for a hang, once it has released the lock.

    Returns:
        The status then; None if another process has taken over the trial.
    """
    folder = trial.folder
    try:
        with TrialLock(folder.directory, wait=_CHECK_SECONDS):
            if (over := _over(trial)) is not None:
                return over
            status = read_status(folder.directory)
            if status.state == "failed":
                return status
            return record_failure(folder.directory, _hung(trial, status, hang_seconds, log_start=0))
    except LockHeld:
        return None


def _hung(trial: Trial, status: Status, seconds: float, *, log_start: int) -> Status:
    """A hang is a failure and is not retried automatically: it has cost its limit already and may well happen again."""
    if status.attempts <= trial.attempts:
        status = Status(attempts=status.attempts)  # Of an earlier process: this one has not come so far.
    at = " ".join(filter(None, (status.phase, status.stage))) or "its start"
    where = f"in {at}, at step {status.step} of {status.steps}" if status.steps else f"in {at}"
    sentence = f"no progress for {seconds:.0f} s {where}: stopped as hung (--hang-seconds)"
    own = [status.error] if status.state == "failed" and status.error else []
    error = "\n".join([sentence, *own, *tail(trial.folder.log_path, start=log_start)])
    return _ended(trial, status, state="failed", error=error, error_type=HANG)


def _inferred(trial: Trial, ended: Ended, status: Status, *, asked: bool, log_start: int) -> Status:
    if asked or ended.returncode in INTERRUPTED:
        return _ended(trial, status.interrupted(), state="interrupted", error=None, error_type=None)
    kind, sentence = ended.describe()
    if ended.returncode == 0:
        sentence += " but left no result with these evaluation settings"
    error = "\n".join([sentence, *tail(trial.folder.log_path, start=log_start)])
    return _ended(trial, status, state="failed", error=error, error_type=kind)


def _ended(trial: Trial, status: Status, *, state: State, error: str | None, error_type: str | None) -> Status:
    return replace(
        status,
        state=state,
        attempts=max(status.attempts, trial.attempts + 1),
        error=error,
        error_type=error_type,
        of_data=False,
        log=str(trial.folder.log_path),
        host=status.host or socket.gethostname(),
        steps_per_second=None,
    )
