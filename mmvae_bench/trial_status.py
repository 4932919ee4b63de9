"""How far a trial is, told in its ``status.json`` while it runs."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from .sweep.status import Status, read_status, write_status
from .training.fit import Fitted

STATUS_SECONDS = 1.0


class StatusWriter:
    """Keeps ``status.json`` up to date, at most once in a while."""

    def __init__(self, directory: Path, status: Status) -> None:
        self.directory, self.status, self.written = directory, status, 0.0

    def training(self, stage: str, step: int, steps: int, rate: float) -> None:
        """Called at every step of training."""
        now = time.monotonic()
        if now - self.written < STATUS_SECONDS:
            return
        self.written = now
        self.status = write_status(
            self.directory,
            replace(
                self.status,
                phase="train",
                stage=stage,
                step=step,
                steps=steps,
                steps_per_second=rate or self.status.steps_per_second,
            ),
        )

    def beat(self) -> None:
        """Called when anything else has moved: the time in ``updated`` tells a watcher that the trial does not hang."""
        now = time.monotonic()
        if now - self.written >= STATUS_SECONDS:
            self.written = now
            self.status = write_status(self.directory, self.status)

    def evaluating(self, fitted: Fitted) -> None:
        """Called when training is done."""
        self.status = write_status(
            self.directory, replace(self.status, phase="evaluate", step=fitted.steps, steps=fitted.steps)
        )


def latest(directory: Path, status: Status) -> Status:
    """What this process has written last; ``status`` where ``status.json`` is by now another one's."""
    written = read_status(directory)
    return written if written.pid == status.pid else status
