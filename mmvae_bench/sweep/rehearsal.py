"""The rehearsal of a run: one process that makes a first step of each objective, before anything else is started.

A bug in an objective is then found in seconds, before any dataset is made. The driver imports no torch, hence the
process; it runs on this machine, even if the trials do not. Where the trials are forks of a process that has imported
torch (:mod:`~mmvae_bench.sweep.forks`), it is one of them, and so nothing is imported twice before the first step.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from .forks import Fork, NotForked
from .local import DEFAULT_ENVIRONMENT, VISIBLE
from .schedule import Group, Trial

SECONDS = 60.0
"""When the process is killed, which gives itself much less. What it has not come to by then counts as sound."""
_TICK_SECONDS = 0.05
_KILLED_SECONDS = 5.0
"""How long a process may take to be gone after SIGKILL."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Tries each objective once.

    Args:
        command: The command that starts ``mmvae-bench``.
        fork: Starts a process that has imported torch, from arguments, output and variables, or returns None; None:
            there is no such thing.
    """

    command: Sequence[str]
    fork: Callable[[Sequence[str], IO[bytes], Mapping[str, str]], Fork | None] | None = None

    def __call__(self, trials: Sequence[Trial], stop: Callable[[], bool]) -> Mapping[str, str]:
        """The objectives of ``trials`` whose first step fails, each with the last lines of its traceback.

        A rehearsal that itself cannot be held finds nothing: then the trials show what is wrong.
        """
        # One trial of each group: the process tries the one with the smallest images of each objective.
        first: dict[Group, Trial] = {}
        for trial in trials:
            first.setdefault(trial.group, trial)
        paths = [str(trial.folder.spec_path) for trial in first.values()]
        with tempfile.TemporaryFile() as output:
            self._run([word for path in paths for word in ("--spec", path)], output, stop)
            output.seek(0)
            lines = output.read().decode(errors="replace").splitlines()
        failing: dict[str, str] = {}
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):
                answer = json.loads(line)
                if answer["error"]:
                    failing[str(answer["objective"])] = str(answer["error"])
        return failing

    def _run(self, words: Sequence[str], output: IO[bytes], stop: Callable[[], bool]) -> None:
        # On the CPU, as the networks are tiny in comparison; a GPU may have no memory left.
        environment, deadline = {VISIBLE: ""}, time.monotonic() + SECONDS
        arguments = ("rehearse", *words)
        # The output of a fork is one file, and what an objective prints is no answer.
        forked = self.fork((*arguments, "--silent"), output, environment) if self.fork is not None else None
        if forked is not None and _waited_for(forked, deadline, stop):
            return
        with suppress(OSError):
            process = subprocess.Popen(
                [*self.command, *arguments], stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.DEVNULL, env=DEFAULT_ENVIRONMENT | dict(os.environ) | environment,
                start_new_session=True,
            )  # fmt: skip
            _waited_for(process, deadline, stop)


def _waited_for(process: Fork | subprocess.Popen[bytes], deadline: float, stop: Callable[[], bool]) -> bool:
    """Waits for a process to end, and ends it at the deadline or if asked to stop; False: it never began."""
    began, ended = True, threading.Event()

    def wait() -> None:
        nonlocal began
        try:
            process.wait()
        except NotForked:
            began = False
        ended.set()

    # A fork whose server is gone cannot be killed safely: nobody waits for more than its own limit then.
    threading.Thread(target=wait, daemon=True).start()
    while not ended.wait(_TICK_SECONDS) and time.monotonic() < deadline and not stop():
        pass
    if not ended.is_set():
        if isinstance(process, Fork):
            process.send(signal.SIGKILL, group=True)
        else:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        ended.wait(_KILLED_SECONDS)
    return began
