"""What became of a trial whose process is over: its own word where it left one, else what the ending tells."""

from __future__ import annotations

import socket
from dataclasses import replace

from ..base.files import tail
from ..runs.lock import LockHeld, TrialLock
from ..runs.status import State, Status, read_status, write_status
from .executor import INTERRUPTED, LOCK_HELD, Ended
from .trial import Trial

OUT_OF_MEMORY = frozenset({"OutOfMemoryError", "MemoryError", "SIGKILL"})
"""Error types that are worth another try with the machine to itself. The kernel ends who takes too much by SIGKILL."""


HANG = "Hang"
"""Error type of a trial that was ended because it no longer moved."""

_LOOKERS_SECONDS = 0.1
"""Another driver that only looks whether a lock is held has it for a moment; that is nobody at work."""


def settle(
    trial: Trial, ended: Ended, *, asked: bool, log_start: int, hang_seconds: float | None = None
) -> Status | None:
    """The trial's status now; written down where the process could not. None where another process has the trial.

    Args:
        trial: With ``attempts`` as they were when the process was started.
        ended: How the process ended.
        asked: Whether this driver had asked it to stop.
        log_start: Size of the log when the process was started.
        hang_seconds: How long it had stood still, where it was ended for that.
    """
    folder = trial.folder
    if ended.returncode == LOCK_HELD:
        return None
    if not ended.began:
        status = folder.status(trial.evaluation)
        return None if status.state == "running" else status
    if folder.is_done(trial.evaluation):
        return folder.status(trial.evaluation)
    try:
        with TrialLock(folder.directory, wait=_LOOKERS_SECONDS):
            if folder.is_done(trial.evaluation):
                return folder.status(trial.evaluation)
            status = read_status(folder.directory)
            if hang_seconds is not None:
                return write_status(folder.directory, _hung(trial, status, hang_seconds, log_start=log_start))
            if status.attempts > trial.attempts and status.state in ("failed", "interrupted"):
                return status
            return write_status(folder.directory, _inferred(trial, ended, status, asked=asked, log_start=log_start))
    except LockHeld:
        return None


def settle_orphan(trial: Trial, *, hang_seconds: float) -> Status | None:
    """Writes down that a process which no driver here has started was ended for a hang, once it lets go of the lock.

    Returns:
        The status then; None where another process has the trial by now.
    """
    folder = trial.folder
    try:
        with TrialLock(folder.directory, wait=_LOOKERS_SECONDS):
            status = folder.status(trial.evaluation)
            if status.state == "done":
                return status
            status = read_status(folder.directory)
            if status.state == "failed":
                return status
            return write_status(folder.directory, _hung(trial, status, hang_seconds, log_start=0))
    except LockHeld:
        return None


def _hung(trial: Trial, status: Status, seconds: float, *, log_start: int) -> Status:
    """A hang is a failure and is not tried again by itself: it has cost its limit already, and may well come back."""
    if status.attempts <= trial.attempts:
        status = Status(attempts=status.attempts)  # Of an earlier process: this one has not come so far.
    at = " ".join(filter(None, (status.phase, status.stage))) or "its start"
    where = f"in {at}, at step {status.step} of {status.steps}" if status.steps else f"in {at}"
    sentence = f"no progress for {seconds:.0f} s {where}: ended as hung (--hang-seconds)"
    own = [status.error] if status.state == "failed" and status.error else []
    said = tail(trial.folder.log_path, start=log_start)
    return replace(
        status,
        state="failed",
        attempts=max(status.attempts, trial.attempts + 1),
        error="\n".join([sentence, *own, *said]),
        error_type=HANG,
        log=str(trial.folder.log_path),
        host=status.host or socket.gethostname(),
        steps_per_second=None,
    )


def _inferred(trial: Trial, ended: Ended, status: Status, *, asked: bool, log_start: int) -> Status:
    interrupted = asked or ended.returncode in INTERRUPTED
    state: State = "interrupted" if interrupted else "failed"
    kind, sentence = ended.describe()
    if ended.returncode == 0:
        sentence += " but left no result of the evaluation that was asked"
    said = tail(trial.folder.log_path, start=log_start)
    return replace(
        status,
        state=state,
        attempts=max(status.attempts, trial.attempts + 1),
        error=None if interrupted else "\n".join([sentence, *said]),
        error_type=None if interrupted else kind,
        log=str(trial.folder.log_path),
        host=status.host or socket.gethostname(),
        steps_per_second=None,
    )
