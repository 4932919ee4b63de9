"""``status.json``: how far a trial has come, as reported by its own process."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from ..base.files import write_json
from .documents import read_object, understood_status
from .lock import LockHeld, check_held
from .names import CHECKPOINT_FILE, LOG_FILE, STATUS_FILE

State = Literal["pending", "running", "done", "failed", "interrupted"]
STATES: tuple[State, ...] = ("pending", "running", "done", "failed", "interrupted")
Phase = Literal["prepare", "train", "evaluate"]

STATUS_SECONDS = 1.0
"""Minimum time between two writes of a status, in seconds."""
ATTEMPT_VARIABLE = "MMVAE_BENCH_ATTEMPT"
"""Set by a driver for a trial's process: the number of the attempt that it should be; empty: any."""


@dataclass(frozen=True, slots=True)
class Status:
    """The contents of a status file.

    Attributes:
        state: The trial's state.
        phase: What a running trial is doing: preparing its dataset, training, or evaluating.
        stage: The stage of training.
        step: Gradient steps made, over all stages.
        steps: Gradient steps to make, over all stages; 0 if unknown.
        attempts: How many processes have worked on it.
        error: Why it failed, in one message.
        error_type: The exception's class name, the signal's name, or ``exit N``.
        log: Path of the output of its processes.
        pid: The process that wrote this.
        host: The machine of that process.
        started: When that process began, in unix seconds.
        updated: When this was written, in unix seconds.
        steps_per_second: The current speed of training.
        saved: Gradient steps in the checkpoint, over all stages; None if none was written.
        where: The last line of the objective's own code that the exception came through, if it did.
        of_data: Whether it failed because its data cannot be used, or not as its settings ask.
    """

    state: State = "pending"
    phase: Phase | None = None
    stage: str | None = None
    step: int = 0
    steps: int = 0
    attempts: int = 0
    error: str | None = None
    error_type: str | None = None
    log: str | None = None
    pid: int | None = None
    host: str | None = None
    started: float | None = None
    updated: float | None = None
    steps_per_second: float | None = None
    saved: int | None = None
    where: str | None = None
    of_data: bool = False

    def interrupted(self) -> Status:
        """This status once its process is gone: it has come as far as its checkpoint."""
        return replace(self, state="interrupted", step=self.step if self.saved is None else self.saved)


_FIELDS = frozenset(field.name for field in fields(Status)) - {"state", "log"}


def read_status(directory: Path) -> Status:
    """Reads ``directory/status.json``; pending if it is missing or cannot be understood.

    A member of the wrong type counts as not given. The log is always that of the folder, whatever path is stored.
    """
    try:
        plain = read_object(directory / STATUS_FILE)
    except (OSError, ValueError):
        return Status()
    if plain.get("state") not in STATES:
        return Status()
    known = understood_status({name: value for name, value in plain.items() if name in _FIELDS})
    return Status(state=plain["state"], log=str(directory / LOG_FILE) if plain.get("log") else None, **known)


def write_status(directory: Path, status: Status) -> Status:
    """Replaces ``directory/status.json`` atomically; returns what was written, including the time of writing."""
    status = replace(status, updated=time.time())
    write_json(directory / STATUS_FILE, asdict(status))
    return status


def begin(directory: Path, *, steps: int, phase: Phase = "prepare", meant: int | None = None) -> Status:
    """Records that this process works on the trial, as its next attempt. The caller holds the trial's lock.

    Args:
        directory: The trial's folder.
        steps: Gradient steps to make, over all stages; 0 if unknown.
        phase: What it does first.
        meant: The number of the attempt that it should be; None: as the environment says, if it does.

    Raises:
        LockHeld: another process has worked on the trial since the driver started this one, which is now superfluous.
    """
    before = read_status(directory)
    attempt = before.attempts + 1
    told = os.environ.get(ATTEMPT_VARIABLE) if meant is None else str(meant)
    if told and told != str(attempt):
        raise LockHeld(f"{directory}: another process has worked on it in the meantime")
    status = Status(
        state="running",
        phase=phase,
        steps=steps,
        attempts=attempt,
        log=str(directory / LOG_FILE),
        pid=os.getpid(),
        host=socket.gethostname(),
        started=time.time(),
        saved=before.saved if (directory / CHECKPOINT_FILE).exists() else None,
    )
    return write_status(directory, status)


class StatusWriter:
    """Keeps ``status.json`` up to date, with at most one write per second while training.

    Each write raises LockHeld instead if another process has taken the trial over, which it can only after the lock
    file was deleted.
    """

    def __init__(self, directory: Path, status: Status) -> None:
        self.directory, self.status, self.written = directory, status, 0.0
        self._unwritten: dict[str, Any] = {}

    def training(self, stage: str, step: int, steps: int, rate: float) -> None:
        """To be called at every step of training."""
        self._unwritten = {
            "phase": "train", "stage": stage, "step": step, "steps": steps,
            "steps_per_second": rate or self.status.steps_per_second,
        }  # fmt: skip
        if self._due():
            self._write(**self._unwritten)

    def flush(self) -> None:
        """To be called where training ends by an error: what it had come to since the last write is written."""
        if self._unwritten:
            self._write(**self._unwritten)

    def saved(self, stage: str, step: int, steps: int) -> None:
        """To be called when a checkpoint was written: what is said of a trial that ends here is what it holds."""
        self.written, self._unwritten = time.monotonic(), {}
        self.status = write_status(
            self.directory, replace(self.status, phase="train", stage=stage, step=step, steps=steps, saved=step)
        )

    def beat(self) -> None:
        """To be called when anything else has made progress: the new ``updated`` shows that the trial does not hang."""
        if self._due():
            self._write(**self._unwritten)

    def evaluating(self, steps: int) -> None:
        """To be called when training is done, with its number of steps."""
        self._write(phase="evaluate", step=steps, steps=steps)

    def done(self) -> None:
        """To be called when the result is there."""
        self._write(state="done", phase=None)

    def _due(self) -> bool:
        now = time.monotonic()
        if now - self.written < STATUS_SECONDS:
            return False
        self.written = now
        return True

    def _write(self, **changes: Any) -> None:
        if check_held(self.directory) and read_status(self.directory).pid not in (None, os.getpid()):
            raise LockHeld(f"{self.directory}: the lock was deleted, and another process has worked on the trial since")
        self.status, self._unwritten = write_status(self.directory, replace(self.status, **changes)), {}


def latest(directory: Path, status: Status) -> Status:
    """The last status this process wrote; ``status`` if another process has written ``status.json`` since."""
    written = read_status(directory)
    return written if written.pid == status.pid else status
