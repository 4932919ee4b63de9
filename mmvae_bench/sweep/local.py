"""The local executor: one process a job, slots on this machine's devices.

Each process leads a session of its own, so that Ctrl-C on the terminal reaches the driver alone, which then asks the
processes to save. Where the driver is killed outright they go on to their own end, and their locks tell the next
driver.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from .executor import Ended, ExecutorError, Job

COMMAND = (sys.executable, "-m", "mmvae_bench")
DEFAULT_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
"""Where the user has set nothing: thread pools that do not fight, and a trace in the log of a crash in native code."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one process.

    Attributes:
        name: For people.
        environment: Variables that tie a process to the slot's device.
    """

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)


class LocalExecutor:
    """Runs jobs as processes on this machine.

    Args:
        slots: The places to run in.
        command: What runs ``mmvae-bench``; a job's arguments follow it.
    """

    def __init__(self, slots: Sequence[Slot], *, command: Sequence[str] = COMMAND) -> None:
        if not slots:
            raise ValueError("an executor needs at least one slot")
        self.command = tuple(command)
        self._num_slots = len(slots)
        self._free = list(reversed(slots))
        self._running: dict[str, tuple[subprocess.Popen[bytes], Slot]] = {}
        self._ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()

    @property
    def num_slots(self) -> int:
        """How many jobs can run at the same time."""
        return self._num_slots

    @property
    def num_free(self) -> int:
        """How many of the slots are free."""
        return len(self._free)

    def submit(self, job: Job) -> None:
        """Starts a job in a free slot; raises OSError or ExecutorError."""
        if job.name in self._running:
            raise ValueError(f"job {job.name!r} runs already")
        slot = self._free[-1]
        environment = DEFAULT_ENVIRONMENT | dict(os.environ) | dict(slot.environment) | dict(job.environment)
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("ab") as log:
            try:
                process = subprocess.Popen(
                    [*self.command, *job.arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,
                )
            except OSError as error:
                raise ExecutorError(
                    f"cannot start a process: {error.strerror or error}\n  command: {self.command[0]}\n"
                    f"  Fewer slots (--workers N) need fewer processes and less memory."
                ) from error
        self._free.pop()
        self._running[job.name] = (process, slot)
        # A thread a process, so that its end is known at once and on every system, without asking again and again.
        threading.Thread(target=self._watch, args=(job, process), daemon=True).start()

    def _watch(self, job: Job, process: subprocess.Popen[bytes]) -> None:
        self._ended.put(Ended(job, process.wait()))

    def wait(self, timeout: float) -> list[Ended]:
        """The jobs that are over; waits at most ``timeout`` seconds for the first."""
        ended: list[Ended] = []
        with suppress(queue.Empty):
            ended.append(self._ended.get(timeout=timeout))
            while True:
                ended.append(self._ended.get_nowait())
        for end in ended:
            _, slot = self._running.pop(end.job.name)
            self._free.append(slot)
        return ended

    def under_way(self) -> Collection[str]:
        """All of them."""
        return self._running.keys()

    def end(self, name: str, *, force: bool) -> bool:
        """SIGTERM to one process, or SIGKILL to it and to what it started."""
        if name not in self._running:
            return True
        process, _ = self._running[name]
        if not force:
            process.send_signal(signal.SIGTERM)
        elif process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        return True

    def terminate(self) -> None:
        """SIGTERM to every process: it saves a checkpoint and ends."""
        for name in self._running:
            self.end(name, force=False)

    def kill(self) -> None:
        """SIGKILL to every process and to what it started."""
        for name in self._running:
            self.end(name, force=True)
