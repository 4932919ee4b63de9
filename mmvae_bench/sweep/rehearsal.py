"""The rehearsal of a run: one process that reads the data, then makes a first step of each objective.

A file of the user's that is cut short, or a bug in an objective, is then found in seconds, once, and not by every
trial. The driver imports no torch, hence the process, which is asked twice: for the data before anything is written,
and for the objectives once the trials have folders. It runs on this machine, even if the trials do not; then data are
not read, since other machines may have other files.

Two other ways were weighed. A job of the executor for each dataset would run where the trials do, but no trial could
start before the last of these jobs has ended, which may wait in a cluster's queue, and the run's folder would then hold
trials that were never possible. To wait for the first trial that fails needs no process at all, but finds one problem
at a time, after others have trained: that is what is done on a cluster, and with what this process leaves to the trials
(:class:`~mmvae_bench.sweep.driver.Driver`).
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from ..base.errors import Problem
from ..specs.trial import TrialSpec
from .local import DEFAULT_ENVIRONMENT, VISIBLE
from .schedule import Group, Trial

SECONDS = 60.0
"""When the process is killed, if it has said nothing for so long; it gives itself less. What it has not come to by then
counts as sound."""
_TICK_SECONDS = 0.05


class Rehearsal:
    """Reads the data, and tries each objective once. A context manager: the process ends with the block.

    Args:
        command: The command that starts ``mmvae-bench``.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.command = command
        self._waiting: _Process | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._waiting is not None:
            self._waiting.kill()

    def read_data(
        self, specs: Sequence[TrialSpec], preparing: Callable[[str], object]
    ) -> list[tuple[TrialSpec, Problem]]:
        """What is wrong with the data of trials, each with a trial that has the problem and where it is in its spec.

        A process that cannot be started, is killed or makes no progress has found nothing.

        Args:
            specs: The trials.
            preparing: Called with the name of a dataset whose images are being made.
        """
        chosen = list({_asks(spec): spec for spec in reversed(specs)}.values())[::-1]
        found: list[tuple[TrialSpec, Problem]] = []
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trials.jsonl"
            path.write_text("".join(json.dumps(spec.canonical()) + "\n" for spec in chosen), encoding="utf-8")
            process = _Process.start([*self.command, "rehearse", "--data", str(path)])
            if process is None:
                return []
            try:
                for answer in process.answers(lambda: False):
                    if "preparing" in answer:
                        preparing(str(answer["preparing"]))
                    elif "problem" in answer:
                        found.append((chosen[answer["trial"]], _problem(answer["problem"])))
                    elif answer.get("read"):
                        self._waiting, process = process, None
                        break
            finally:
                if process is not None:
                    process.kill()
        return found

    def __call__(self, trials: Sequence[Trial], stop: Callable[[], bool]) -> Mapping[str, str]:
        """The objectives of ``trials`` whose first step fails, each with the last lines of its traceback.

        A rehearsal that itself cannot be held finds nothing: then the trials show what is wrong.
        """
        # One trial of each group: the process tries the one with the smallest images of each objective.
        first: dict[Group, Trial] = {}
        for trial in trials:
            first.setdefault(trial.group, trial)
        paths = [str(trial.folder.spec_path) for trial in first.values()]
        process, self._waiting = self._waiting, None
        if process is None or not process.ask({"specs": paths}):
            words = [word for path in paths for word in ("--spec", path)]
            # On the CPU, as the networks are tiny in comparison; a GPU may have no memory left.
            process = _Process.start([*self.command, "rehearse", *words], {VISIBLE: ""})
        failing: dict[str, str] = {}
        if process is None:
            return failing
        try:
            for answer in process.answers(stop):
                if answer.get("error") and "objective" in answer:
                    failing[str(answer["objective"])] = str(answer["error"])
        finally:
            process.kill()
        return failing


class _Process:
    """The process of a rehearsal, which is asked and answers line by line in JSON."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self._in: IO[bytes] = process.stdin
        self._out: IO[bytes] = process.stdout

    @classmethod
    def start(cls, command: Sequence[str], environment: Mapping[str, str] | None = None) -> Self | None:
        """Starts it, with further variables of its environment; None if that is not possible."""
        try:
            return cls(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                    env=DEFAULT_ENVIRONMENT | dict(os.environ) | dict(environment or {}), start_new_session=True,
                )
            )  # fmt: skip
        except OSError:
            return None

    def ask(self, question: Mapping[str, Any]) -> bool:
        """Asks the last question; whether it could be asked."""
        try:
            self._in.write(json.dumps(question).encode() + b"\n")
            self._in.close()
        except OSError:
            self.kill()
            return False
        return True

    def answers(self, stop: Callable[[], bool]) -> Iterator[dict[str, Any]]:
        """What it says, until it ends, says nothing for too long, or ``stop`` is true."""
        rest, end = b"", time.monotonic() + SECONDS
        while time.monotonic() < end and not stop():
            if not select.select([self._out], [], [], _TICK_SECONDS)[0]:
                continue
            if not (content := os.read(self._out.fileno(), 1 << 16)):
                return
            end = time.monotonic() + SECONDS
            *lines, rest = (rest + content).split(b"\n")
            for line in lines:
                with suppress(ValueError):  # Cut off by its death, or printed by something else.
                    answer = json.loads(line)
                    if isinstance(answer, dict):
                        yield answer

    def kill(self) -> None:
        """Ends it, with whatever it has started."""
        with suppress(ProcessLookupError, PermissionError):
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for end in (self._in, self._out):
            with suppress(OSError):
                end.close()


def _asks(spec: TrialSpec) -> tuple[object, ...]:
    """What tells apart the trials whose data have to be read: what they are, and what is asked of them.

    Trials of a grid share their parts, so their identity will do; a part that is there twice is read twice.
    """
    training = spec.training
    of_model = () if training.supervision is None and training.missing_images is None else (
        id(training), spec.objective.name, spec.backbone.name
    )  # fmt: skip
    return (id(spec.dataset), training.batch_size, *of_model)


def _problem(told: Mapping[str, Any]) -> Problem:
    return Problem(str(told["message"]), tuple(told["location"]), told["value"], tuple(told["choices"]), told["near"])
