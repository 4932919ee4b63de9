"""A job on another machine: what a cluster's worker process does with it. Independent of torch and of the cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..base.files import append_regular
from ..base.processes import SAFE_PYTHON, kill_group
from . import bound
from .executor import Job
from .local import DEFAULT_ENVIRONMENT

PASSED_PREFIX = "MMVAE_BENCH_"
PASSED = ("PYTHONPATH", *DEFAULT_ENVIRONMENT)
"""Variables of the driver that are passed to its jobs on every machine, in addition to those with the prefix."""
_STRIPPED_PREFIXES = ("SLURM_", "SUBMITIT_")
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Origin:
    """What a job needs from the driver's side to run on another machine as it would run there.

    Attributes:
        command: The command that starts ``mmvae-bench``.
        python: The driver's interpreter; in the command, another machine replaces it by its own.
        folder: The driver's working directory, used if the other machine has it too.
        environment: Variables that the job needs in addition to the other machine's.
    """

    command: tuple[str, ...]
    python: str
    folder: str
    environment: Mapping[str, str]

    @classmethod
    def here(cls, command: Sequence[str]) -> Origin:
        """The origin of jobs that this process submits. Unless it sets a number of threads, jobs have one each."""
        kept = {name: value for name, value in os.environ.items() if name in PASSED or name.startswith(PASSED_PREFIX)}
        return cls(tuple(command), sys.executable, os.getcwd(), DEFAULT_ENVIRONMENT | kept)


def look_afresh(directory: Path) -> None:
    """Makes a shared file system show what other machines have written: NFS caches attributes for up to a minute."""
    with suppress(OSError):
        directory.chmod(directory.stat().st_mode)


class Runner:
    """Runs one job as a child process that does not outlive this one.

    :meth:`stop` may be called at any time: from another thread, or from a signal handler within :meth:`run`. So nothing
    here waits for a lock.

    Args:
        origin: The driver's side.
    """

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.returncode: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._asked: int | None = None

    def run(self, job: Job) -> int:
        """Runs the job to its end; returns its exit code, minus the signal's number if a signal ended it.

        Raises:
            OSError: the log cannot be opened, or the process cannot be started.
        """
        origin = self.origin
        command = [sys.executable if word == origin.python else word for word in origin.command]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_STRIPPED_PREFIXES)}
        with append_regular(job.log) as log:
            if self._asked is not None:
                self.returncode = -self._asked
                return self.returncode
            process = subprocess.Popen(
                [*SAFE_PYTHON, bound.__file__, str(os.getpid()), *command, *job.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=inherited | dict(origin.environment) | dict(job.environment),
                cwd=origin.folder if Path(origin.folder).is_dir() else None,
                start_new_session=True,
            )
        self._process = process
        threading.Thread(target=self._watch, args=(process,), daemon=True).start()
        if self._asked is not None:
            self._send(process, self._asked)
        return self.join()

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Sends the job a signal; a job that has not begun never will."""
        self._asked = number
        if self._process is not None:
            self._send(self._process, number)

    def join(self, timeout: float | None = None) -> int:
        """Waits until a job that was started has ended; kills it after ``timeout`` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        # An attribute set by another thread can be waited for twice, the second time in a signal handler that
        # interrupts the first; a lock or condition cannot.
        while self.returncode is None:
            if deadline is not None and time.monotonic() > deadline:
                self.stop(signal.SIGKILL)
                deadline = None
            time.sleep(_POLL_SECONDS)
        return self.returncode

    @property
    def started(self) -> bool:
        """Whether a process was started."""
        return self._process is not None

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        self.returncode = process.wait()

    def _send(self, process: subprocess.Popen[bytes], number: int) -> None:
        if number == signal.SIGKILL:
            kill_group(process.pid)
        else:
            process.send_signal(number)
