"""The rehearsal of a run: one process that makes a first step of each objective, before anything else is started.

A bug in an objective is then found in seconds, before any dataset is made. The driver imports no torch, hence the
process; it runs on this machine, even if the trials do not.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from .local import DEFAULT_ENVIRONMENT, VISIBLE
from .schedule import Group, Trial

SECONDS = 60.0
"""When the process is killed, which gives itself much less. What it has not come to by then counts as sound."""
_TICK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Tries each objective once.

    Args:
        command: The command that starts ``mmvae-bench``.
    """

    command: Sequence[str]

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
        environment = DEFAULT_ENVIRONMENT | dict(os.environ) | {VISIBLE: ""}
        try:
            process = subprocess.Popen(
                [*self.command, "rehearse", *words], stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.DEVNULL, env=environment, start_new_session=True,
            )  # fmt: skip
        except OSError:
            return
        end = time.monotonic() + SECONDS
        while process.poll() is None and time.monotonic() < end and not stop():
            time.sleep(_TICK_SECONDS)
        with suppress(ProcessLookupError, PermissionError):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
