"""What a driver needs from the machines: a command line goes in, and an exit code comes out when it has ended."""

from __future__ import annotations

import signal
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..base.errors import BenchmarkError

INTERRUPTED = frozenset({128 + signal.SIGINT, 128 + signal.SIGTERM, -signal.SIGINT, -signal.SIGTERM})
"""Exit codes of a process that was asked to stop."""
DEFAULT_GRACE = 30.0
"""Seconds that processes have to save by default, once they were asked to stop."""


@dataclass(frozen=True, slots=True)
class Job:
    """One process to run.

    Attributes:
        name: Unique among the jobs that run at the same time.
        arguments: Arguments of the command ``mmvae-bench``.
        log: File that the process's output is appended to.
        environment: Variables that the process needs in addition to its machine's.
        pulse: File that changes as long as the job makes progress; None: it is not watched.
    """

    name: str
    arguments: tuple[str, ...]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    pulse: Path | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has ended.

    Attributes:
        job: The job.
        returncode: Its exit code; minus the signal's number if a signal ended it.
        lost: Whether its machine failed or was taken away: nothing that the job could have prevented.
        began: Whether a process was started at all.
        shared: Whether its process did other jobs too, any of which may have ended it.
    """

    job: Job
    returncode: int
    lost: bool = False
    began: bool = True
    shared: bool = False

    def describe(self) -> tuple[str, str]:
        """(error type, sentence), for a process that ended without reporting why."""
        number = -self.returncode if self.returncode < 0 else self.returncode - 128
        if self.returncode < 0 or self.returncode > 128:
            try:
                name = signal.Signals(number).name
            except ValueError:
                name = f"signal {number}"
            hint = ": probably out of memory" if number == signal.SIGKILL else ""
            return name, f"the process was killed by {name}{hint}"
        return f"exit {self.returncode}", f"the process ended with exit code {self.returncode}"


class ExecutorError(BenchmarkError):
    """No process can be started."""


class Executor(Protocol):
    """Runs jobs in a fixed number of slots. It knows nothing else of a sweep."""

    @property
    def num_slots(self) -> int:
        """How many jobs can run at the same time."""

    @property
    def num_free(self) -> int:
        """How many of the slots are free."""

    def submit(self, job: Job) -> None:
        """Starts a job in a free slot.

        Raises:
            OSError: the log cannot be opened.
            ExecutorError: the process cannot be started.
        """

    def wait(self, timeout: float) -> list[Ended]:
        """The jobs that have ended since the last call; waits at most ``timeout`` seconds for the first.

        Raises:
            ExecutorError: jobs that were to be started together cannot be; they are among the next to have ended.
            BenchmarkError: what was started cannot be recorded.
        """

    def under_way(self) -> Collection[str]:
        """The names of the jobs whose processes have started. A job that waits in a queue makes no progress either."""

    def end(self, name: str, *, force: bool) -> bool:
        """Asks one job to save and stop, or kills it; does nothing if it has ended.

        Returns:
            False if the job turns out to be waiting (again) instead of running: then nothing was done.
        """

    def withdraw(self, names: Collection[str]) -> None:
        """Withdraws those of some jobs that still wait in a queue. They will be among those that have ended."""

    def terminate(self) -> None:
        """Asks every running job to save and stop."""

    def kill(self) -> None:
        """Kills every running job."""
