"""What a driver asks of the machines: a spec goes in, a result file comes out, and somebody says when it is over."""

from __future__ import annotations

import signal
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..base.errors import BenchmarkError

INTERRUPTED = frozenset({128 + signal.SIGINT, 128 + signal.SIGTERM, -signal.SIGINT, -signal.SIGTERM})
"""Exit codes of a process that was asked to stop."""


@dataclass(frozen=True, slots=True)
class Job:
    """One process to run.

    Attributes:
        name: Unique among the jobs that run at the same time.
        arguments: Of the command ``mmvae-bench``.
        log: File that the process's output is appended to.
        environment: Variables that the process needs beside its machine's.
        pulse: File that changes as long as the job moves on; None: it is not watched.
    """

    name: str
    arguments: tuple[str, ...]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    pulse: Path | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that is over.

    Attributes:
        job: Which.
        returncode: Its exit code; minus the signal's number where a signal ended it.
        lost: Whether its machine went away, or was taken from it: nothing that the job could help.
        began: Whether there was a process at all.
    """

    job: Job
    returncode: int
    lost: bool = False
    began: bool = True

    def describe(self) -> tuple[str, str]:
        """(error type, sentence) of an end that the process itself said nothing about."""
        number = -self.returncode if self.returncode < 0 else self.returncode - 128
        if self.returncode < 0 or self.returncode > 128:
            try:
                name = signal.Signals(number).name
            except ValueError:
                name = f"signal {number}"
            hint = ": out of memory, most likely" if number == signal.SIGKILL else ""
            return name, f"the process was ended by {name}{hint}"
        return f"exit {self.returncode}", f"the process ended with exit code {self.returncode}"


class ExecutorError(BenchmarkError):
    """No process can be started."""


class Executor(Protocol):
    """Runs jobs in a fixed number of slots. Nothing else of a sweep is known to it."""

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
        """The jobs that are over and were not given yet; waits at most ``timeout`` seconds for the first.

        Raises:
            ExecutorError: jobs that were to be started together cannot be; they are among the next to be over.
            BenchmarkError: what was started cannot be written down.
        """

    def under_way(self) -> Collection[str]:
        """The names of the jobs whose processes have been started: what waits in a queue makes no progress either."""

    def end(self, name: str, *, force: bool) -> bool:
        """Asks one job to save what it has and stop, or ends it at once; nothing where it is over.

        Returns:
            False where it turns out that the job does not run, but waits (again) for its turn: then nothing was done.
        """

    def terminate(self) -> None:
        """Asks every running job to save what it has and stop."""

    def kill(self) -> None:
        """Ends every running job at once."""
