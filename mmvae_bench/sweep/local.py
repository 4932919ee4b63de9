"""The local executor: one process per job, slots on the devices of this machine.

Each process leads a session of its own, so that Ctrl-C on the terminal reaches only the driver, which then asks the
processes to save. If the driver is killed outright, they run on to their end, and the next driver sees them by their
locks.
"""

from __future__ import annotations

import math
import os
import queue
import re
import shutil
import signal
import subprocess
import threading
import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ..base.errors import ConfigError, Problem
from ..base.files import DamagedFile, append_regular
from ..base.machine import num_cpus
from ..base.processes import FAILED, SAFE_PYTHON, kill_group
from .executor import Ended, ExecutorError, Job
from .forks import Fork, ForkServer, NotForked, available

COMMAND = (*SAFE_PYTHON, "-m", "mmvae_bench")
_Process = subprocess.Popen[bytes] | Fork
VISIBLE = "CUDA_VISIBLE_DEVICES"
DEFAULT_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1", "PYTHONSAFEPATH": "1",
}  # fmt: skip
"""Unless the user has set them: thread pools that do not compete, a traceback in the log of a native crash, and no
modules from the working folder in what libraries start either (see :data:`SAFE_PYTHON`)."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one process.

    Attributes:
        name: A human-readable name.
        environment: Variables that bind a process to the slot's device.
    """

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)


class LocalExecutor:
    """Runs jobs as processes on this machine.

    Args:
        slots: The slots to run in.
        command: The command that starts ``mmvae-bench``; a job's arguments follow it.
        forks: Whether jobs may be forks of a process that has imported torch (:mod:`~mmvae_bench.sweep.forks`); None:
            where that is possible, with this package's own command.
    """

    def __init__(self, slots: Sequence[Slot], *, command: Sequence[str] = COMMAND, forks: bool | None = None) -> None:
        if not slots:
            raise ValueError("an executor needs at least one slot")
        self.command = tuple(command)
        # A fork cannot use a GPU that its parent has asked for, which an import may have done.
        possible = self.command == COMMAND and not any(slot.environment for slot in slots) and available()
        self._forks = possible if forks is None else forks
        self._server: ForkServer | None = None
        self._swapping = threading.Lock()
        self._num_slots = len(slots)
        self._free = list(reversed(slots))
        self._running: dict[str, tuple[_Process, Slot]] = {}
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
            raise ValueError(f"job {job.name!r} is already running")
        slot = self._free[-1]
        job.log.parent.mkdir(parents=True, exist_ok=True)
        process: _Process = self._forked(job) or self._new(job, slot)
        self._free.pop()
        self._running[job.name] = (process, slot)
        # One thread per process, so that its end is known at once and on every system, without polling.
        threading.Thread(target=self._watch, args=(job, process, slot), daemon=True).start()

    def beside(self, arguments: Sequence[str], output: IO[bytes], environment: Mapping[str, str]) -> Fork | None:
        """A fork outside of the slots, for what is no job; its end is the caller's to wait for.

        Args:
            arguments: The command line, without the program.
            output: An open file for its output.
            environment: Variables in addition to this process's.

        Returns:
            None: jobs are not forked here.
        """
        if not self._forks:
            return None
        try:
            if self._server is None:
                self._server = ForkServer(DEFAULT_ENVIRONMENT | dict(os.environ))
                weakref.finalize(self, self._server.close)
            return self._server.fork(arguments, output, environment)
        except (OSError, NotForked):
            self._forks = False
            return None

    def _forked(self, job: Job) -> Fork | None:
        with _appended(job.log) as log:
            return self.beside(job.arguments, log, job.environment)

    def _new(self, job: Job, slot: Slot) -> subprocess.Popen[bytes]:
        environment = DEFAULT_ENVIRONMENT | dict(os.environ) | dict(slot.environment) | dict(job.environment)
        with _appended(job.log) as log:
            try:
                return subprocess.Popen(
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
                    f"  With fewer slots (--workers N), fewer processes and less memory are needed."
                ) from error

    def _watch(self, job: Job, process: _Process, slot: Slot) -> None:
        try:
            code = process.wait()
        except NotForked:
            code = self._instead(job, slot)
        self._ended.put(Ended(job, code))

    def _instead(self, job: Job, slot: Slot) -> int:
        """Starts a job that the server has not forked, waits for its end, and returns its exit code."""
        with self._swapping:
            self._forks = False
            fork, _ = self._running[job.name]
            if isinstance(fork, Fork) and fork.asked is not None:
                return -fork.asked
            try:
                process = self._new(job, slot)
            except ExecutorError as error:
                with suppress(ExecutorError), _appended(job.log) as log:
                    log.write(f"{error}\n".encode())
                return FAILED
            self._running[job.name] = (process, slot)
        return process.wait()

    def wait(self, timeout: float) -> list[Ended]:
        """The jobs that have ended; waits at most ``timeout`` seconds for the first."""
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
        """All submitted jobs: they start at once."""
        return self._running.keys()

    def end(self, name: str, *, force: bool) -> bool:
        """SIGTERM to one process, or SIGKILL to it and its children."""
        if name not in self._running:
            return True
        with self._swapping:
            process, _ = self._running[name]
            if isinstance(process, Fork):
                process.send(signal.SIGKILL if force else signal.SIGTERM, group=force)
            elif not force:
                process.send_signal(signal.SIGTERM)
            elif process.poll() is None:
                kill_group(process.pid)
        return True

    def withdraw(self, names: Collection[str]) -> None:
        """Nothing: no job waits."""

    def terminate(self) -> None:
        """SIGTERM to every process, which saves a checkpoint and ends."""
        for name in self._running:
            self.end(name, force=False)

    def kill(self) -> None:
        """SIGKILL to every process and its children."""
        for name in self._running:
            self.end(name, force=True)


@contextmanager
def _appended(path: Path) -> Iterator[IO[bytes]]:
    try:
        with append_regular(path) as log:
            yield log
    except DamagedFile as error:
        raise ExecutorError(f"{error}\n  Remove it, then run the same command again.") from None


def visible_gpus(environment: Mapping[str, str] | None = None) -> list[str]:
    """The GPUs that a process may use, as CUDA names them: those in ``CUDA_VISIBLE_DEVICES``, by default all."""
    environment = os.environ if environment is None else environment
    if VISIBLE in environment:
        names = [name.strip() for name in environment[VISIBLE].split(",")]
        # CUDA itself stops reading at the first invalid name.
        stop = next((index for index, name in enumerate(names) if name in ("", "-1", "NoDevFiles")), len(names))
        return names[:stop]
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_gpu_list(listed.stdout.decode(errors="replace"))


def parse_gpu_list(text: str) -> list[str]:
    """The devices in the output of ``nvidia-smi -L``: the number of a GPU, or its parts if it is partitioned (MIG).

    >>> parse_gpu_list("GPU 0: A100 (UUID: GPU-1)\\nGPU 1: A100 (UUID: GPU-2)\\n  MIG 3g (UUID: MIG-7)\\n")
    ['0', 'MIG-7']
    """
    devices: list[str] = []
    whole = False
    for line in text.splitlines():
        if gpu := re.match(r"GPU (\d+):", line):
            devices.append(gpu[1])
            whole = True
        elif part := re.search(r"\(UUID:\s*(MIG-[^)]+)\)", line):
            if whole:
                devices.pop()
                whole = False
            devices.append(part[1])
    return devices


def local_slots(num_workers: int | None = None, *, per_device: int = 1, num_threads: int = 1) -> list[Slot]:
    """Slots on this machine: ``per_device`` on each device, assigned in turn.

    A device is a GPU; without GPUs, as many CPU cores as a trial has threads.

    Args:
        num_workers: Maximum number of slots; None: as many as fit. More slots than fit may share the CPU cores, but not
            the GPUs, whose memory might not suffice: there ``per_device`` says how many trials share one.
        per_device: Trials that share a device.
        num_threads: CPU threads per trial.

    Raises:
        ConfigError: more slots are requested than the GPUs have.
    """
    gpus = visible_gpus()
    if not gpus:
        return [Slot(f"cpu {index}") for index in range(num_workers or cpu_slots(per_device, num_threads=num_threads))]
    fitting = len(gpus) * per_device
    if num_workers is not None and num_workers > fitting:
        there = f"{len(gpus)} GPU{'s' if len(gpus) > 1 else ''} ({', '.join(gpus)}) with --per-device {per_device}"
        needed = math.ceil(num_workers / len(gpus))
        message = f"more slots than devices: {there} make {fitting}; --per-device {needed} lets trials share a GPU"
        raise ConfigError([Problem(message, ("--workers",), str(num_workers))])
    names = [gpus[index % len(gpus)] for index in range(num_workers or fitting)]
    return [Slot(f"gpu {name}", {VISIBLE: name}) for name in names]


def cpu_slots(per_device: int = 1, *, num_threads: int = 1) -> int:
    """How many slots fit on the CPU cores of this machine."""
    return max(1, num_cpus() // num_threads) * per_device


def crowding(slots: Sequence[Slot], *, num_threads: int = 1) -> str | None:
    """A remark about slots that share CPU cores; None if they do not, or are on GPUs."""
    cores = num_cpus()
    if any(slot.environment for slot in slots) or len(slots) * num_threads <= max(cores, num_threads):
        return None
    threads = "one thread" if num_threads == 1 else f"{num_threads} threads"
    return (
        f"{len(slots)} slots of {threads} share {cores} CPU core{'s' if cores > 1 else ''}: each trial will be slower, "
        f"and the whole run hardly faster than with --workers {cpu_slots(num_threads=num_threads)}"
    )
