"""The Ray executor: one actor per job, placed by Ray on any node of a cluster that has a GPU, or part of one, free.

The actor starts the job's process, passes on signals, and reports how it ended. If the actor is lost with its node,
the job has ended and is *lost*; if its process lives on after all, it holds the trial's lock, so nothing runs twice.
"""

from __future__ import annotations

import logging
import math
import os
import re
import signal
import socket
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import chdir, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base.errors import ConfigError
from ..base.files import DamagedFile, append_regular
from ..base.processes import handlers_kept
from .executor import Ended, Job
from .local import COMMAND
from .remote import Origin, Runner, look_afresh

INSTALL = "pip install 'mmvae-bench[ray]'"
ADDRESS_VARIABLE = "RAY_ADDRESS"
ANSWER_SECONDS = 5.0
"""How long to wait for a response at an address."""
_KILL_SECONDS = 5.0
_CAPACITY_SECONDS = 2.0
_PRECISION = 10_000
"""Ray counts GPUs in fractions of one over this."""


def connect(address: str | None = None) -> Any:
    """Joins a Ray cluster as a driver; returns the module ``ray``.

    Args:
        address: ``HOST:PORT``; None: the value of RAY_ADDRESS, else the cluster of this machine.

    Raises:
        ConfigError: Ray is not installed, or no cluster responds.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise ConfigError(f"--executor ray: Ray is not installed\n  {INSTALL}") from None
    named = address or os.environ.get(ADDRESS_VARIABLE) or "auto"
    option = "--ray-address" if address else ADDRESS_VARIABLE if named != "auto" else "--executor ray"
    if named not in ("auto", "local"):
        _knock(named, option)
    try:
        # Ray's workers look for modules first in the folder in which the driver joins. In the user's, a file named like
        # a library would be imported in its place; where this package is installed there is none.
        with handlers_kept(), chdir(Path(__file__).parents[2]):
            ray.init(
                address=named,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=False,
                ignore_reinit_error=True,
            )
    except Exception as error:  # Ray raises many kinds, with no common base.
        reason = str(error).strip().splitlines()
        raise ConfigError(
            f"{option}: cannot join the Ray cluster {named!r}: {reason[0] if reason else type(error).__name__}\n"
            f"  `ray start --head` starts one on this machine, `ray status` shows its state. Give its address with "
            f"--ray-address HOST:PORT or {ADDRESS_VARIABLE}, and run the command on a machine of the cluster."
        ) from error
    return ray


def _knock(address: str, option: str) -> None:
    """Raises ConfigError if Ray does not respond at an address. Ray itself would retry for minutes."""
    host, _, port = address.rpartition(":")
    # Only ASCII: Python takes other digits (²) for digits too, and then cannot read them, or reads another number.
    if not host or "/" in host or re.fullmatch(r"[0-9]{1,5}", port) is None or not 0 < int(port) < 2**16:
        client = "\n  A driver outside the cluster (ray://) is not supported." if address.startswith("ray://") else ""
        raise ConfigError(
            f"{option}: not a Ray address: {address!r}\n  Expected HOST:PORT, such as 10.0.0.1:6379, "
            f"with a port from 1 to 65535.{client}"
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") == "0":
                _greet(connection)
    except (OSError, UnicodeError) as error:  # The second for a host that is no name, such as one of 64 letters.
        raise ConfigError(
            f"{option}: no response from the Ray address {address!r}: {error}\n"
            f"  `ray start --head` prints the address of the cluster that it starts. Is it running, is the port open?"
        ) from None


def _greet(connection: socket.socket) -> None:
    """Raises OSError if the other side does not speak HTTP/2, as Ray's head does (RFC 9113, section 3.4)."""
    settings = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)
    if connection.recv(9)[3:4] != settings[3:4]:
        raise OSError("the service on this port is not Ray")


class JobActor:
    """Runs one job on a node. Its methods run in parallel, each in a thread of its own."""

    def __init__(self, origin: Origin) -> None:
        self.runner = Runner(origin)

    def host(self) -> str:
        """The node's name. A result means that the actor has been placed."""
        return socket.gethostname()

    def run(self, job: Job) -> int:
        """Runs the job to its end."""
        return self.runner.run(job)

    def stop(self, number: int) -> None:
        """Sends the job a signal."""
        self.runner.stop(number)


@dataclass(slots=True)
class _Running:
    job: Job
    actor: Any
    host: Any
    placed: bool = False
    killed: float | None = None


class RayExecutor:
    """Runs jobs on a Ray cluster: as many in parallel as its nodes have room for, including nodes that join later.

    Args:
        ray: The result of :func:`connect`.
        num_workers: Maximum number of jobs in parallel; None: as many as there is room for.
        per_device: Jobs that share a GPU.
        num_threads: CPU cores per job.
        command: The command that starts ``mmvae-bench``.

    Raises:
        ConfigError: no node has room for a job.
    """

    def __init__(
        self,
        ray: Any,
        *,
        num_workers: int | None = None,
        per_device: int = 1,
        num_threads: int = 1,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.num_workers, self.per_device, self.num_threads = num_workers, per_device, num_threads
        self._ray = ray
        self._origin = Origin.here(command)
        self._running: dict[Any, _Running] = {}
        self._capacity, self._counted = 0, -math.inf
        # Ray must neither restart an actor nor call it twice: retries are up to the driver, which checks the locks.
        self._actor_class = ray.remote(max_restarts=0, max_task_retries=0, max_concurrency=4)(JobActor)
        if not self._room():
            resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            raise ConfigError(
                f"--executor ray: no node of the cluster has room for a trial of {num_threads} CPU thread(s)\n"
                f"  nodes: {'; '.join(_describe(node) for node in resources) or 'none'}"
            )

    @property
    def num_slots(self) -> int:
        """How many jobs can run at the same time on the current nodes."""
        return max(1, self._slots())

    @property
    def num_free(self) -> int:
        """How many of the slots are free."""
        return max(0, self._slots() - len(self._running))

    def submit(self, job: Job) -> None:
        """Starts a job on a node as soon as one has room."""
        job.log.parent.mkdir(parents=True, exist_ok=True)
        self._slots()
        gpus = math.floor(_PRECISION / self.per_device) / _PRECISION if self._uses_gpus else 0
        actor = self._actor_class.options(num_cpus=self.num_threads, num_gpus=gpus).remote(self._origin)
        host = actor.host.remote()
        self._running[actor.run.remote(job)] = _Running(job, actor, host)

    def wait(self, timeout: float) -> list[Ended]:
        """The jobs that have ended; waits at most ``timeout`` seconds for the first."""
        if not self._running:
            time.sleep(timeout)
            return []
        references = list(self._running)
        ready, _ = self._ray.wait(references, num_returns=1, timeout=timeout)
        if ready:
            ready, _ = self._ray.wait(references, num_returns=len(references), timeout=0)
        return [self._end(reference) for reference in ready]

    def under_way(self) -> Collection[str]:
        """The jobs that Ray has placed on a node."""
        return [running.job.name for running in self._running.values() if self._placed(running)]

    def end(self, name: str, *, force: bool) -> bool:
        """Ends one job as :meth:`terminate` or :meth:`kill` does."""
        for running in self._running.values():
            if running.job.name == name:
                self._kill(running) if force else self._terminate(running)
        return True

    def withdraw(self, names: Collection[str]) -> None:
        """Withdraws those of some jobs that have not been placed."""
        for running in self._running.values():
            if running.job.name in names and not self._placed(running):
                self._ray.kill(running.actor)

    def terminate(self) -> None:
        """SIGTERM to every process; jobs that have not been placed are withdrawn."""
        for running in self._running.values():
            self._terminate(running)

    def kill(self) -> None:
        """SIGKILL to every process, and later to its actor if it has not ended; may be called repeatedly."""
        for running in self._running.values():
            self._kill(running)

    def _terminate(self, running: _Running) -> None:
        if self._placed(running):
            running.actor.stop.remote(signal.SIGTERM)
        else:
            self._ray.kill(running.actor)

    def _kill(self, running: _Running) -> None:
        now = time.monotonic()
        if running.killed is None:
            running.killed = now
            running.actor.stop.remote(signal.SIGKILL)
        elif now - running.killed > _KILL_SECONDS:
            self._ray.kill(running.actor)

    def _end(self, reference: Any) -> Ended:
        running = self._running.pop(reference)
        job, errors = running.job, self._ray.exceptions
        try:
            ended = Ended(job, self._ray.get(reference))
        except errors.OutOfMemoryError:
            ended = Ended(job, -signal.SIGKILL)  # Ray's own memory monitor killed it.
        except errors.RayTaskError as error:
            # The node could not start the process, for example without the shared folder.
            text = f"the process could not be started on a node of the Ray cluster: {error.cause or error}\n"
            with suppress(OSError, DamagedFile), append_regular(job.log) as log:
                log.write(text.encode(errors="backslashreplace"))
            ended = Ended(job, 1)
        except errors.RayError:
            ended = Ended(job, -signal.SIGTERM, lost=True, began=self._placed(running))
        with suppress(Exception):
            self._ray.kill(running.actor)
        look_afresh(job.log.parent)
        return ended

    def _placed(self, running: _Running) -> bool:
        if not running.placed and self._ray.wait([running.host], timeout=0)[0]:
            # An actor that was killed before it was placed is ready too, with an error.
            with suppress(self._ray.exceptions.RayError):
                running.placed = bool(self._ray.get(running.host))
        return running.placed

    def _slots(self) -> int:
        room = self._room()
        return room if self.num_workers is None else min(room, self.num_workers)

    def _room(self) -> int:
        if time.monotonic() - self._counted > _CAPACITY_SECONDS:
            nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
            self._uses_gpus = any(node.get("GPU") for node in nodes)
            self._capacity = sum(self._room_on(node) for node in nodes)
            self._counted = time.monotonic()
        return self._capacity

    def _room_on(self, resources: Mapping[str, float]) -> int:
        by_cpu = int(resources.get("CPU", 0) // self.num_threads)
        return min(by_cpu, int(resources.get("GPU", 0)) * self.per_device) if self._uses_gpus else by_cpu


def _describe(resources: Mapping[str, float]) -> str:
    return f"{resources.get('CPU', 0):g} CPU, {resources.get('GPU', 0):g} GPU"
