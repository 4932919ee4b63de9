"""The rehearsal of a run: the data are read, then a first step of each objective is made, each in a process of its own.

A file of the user's that is cut short, or a bug in an objective, is then found in seconds, once, and not by every
trial. The driver imports no torch, hence the processes. They run on this machine, even if the trials do not; then data
are not read, since other machines may have other files. Where the trials are forks of a process that has imported torch
(:mod:`~mmvae_bench.sweep.forks`), so are these, and nothing is imported twice before the first step.

Two other ways to find wrong data were weighed. A job of the executor for each dataset would run where the trials do,
but no trial could start before the last of these jobs has ended, which may wait in a cluster's queue, and the run's
folder would then hold trials that were never possible. To wait for the first trial that fails needs no process at all,
but finds one problem at a time, after others have trained: that is what is done on a cluster, and with what is left to
the trials here (:class:`~mmvae_bench.sweep.driver.Driver`).
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pydantic import TypeAdapter, ValidationError

from ..base.errors import Problem
from ..base.processes import kill_group
from ..specs.trial import TrialSpec
from .forks import Fork, NotForked
from .local import DEFAULT_ENVIRONMENT, VISIBLE
from .schedule import Group, Trial

SECONDS = 60.0
"""When the process is killed, if it has said nothing for so long; it gives itself less. What it has not come to by then
counts as sound."""
_TICK_SECONDS = 0.05
_KILLED_SECONDS = 5.0
"""How long a process may take to be gone after SIGKILL."""
_PROBLEM = TypeAdapter(Problem)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Reads the data, and tries each objective once.

    Args:
        command: The command that starts ``mmvae-bench``.
        fork: Starts a process that has imported torch, from arguments, output and variables, or returns None; None:
            there is no such thing.
        say: Told in one line what was given up because nothing was heard of it for ``SECONDS``, and which objectives
            were not tried for want of time.
    """

    command: Sequence[str]
    fork: Callable[[Sequence[str], IO[bytes], Mapping[str, str]], Fork | None] | None = None
    say: Callable[[str], object] = lambda text: None

    def read_data(
        self, specs: Sequence[TrialSpec], preparing: Callable[[str], object], stop: Callable[[], bool]
    ) -> list[tuple[TrialSpec, Problem]]:
        """What is wrong with the data of trials, each with a trial that has the problem and where it is in its spec.

        A process that cannot be started, is killed or makes no progress has found nothing.

        Args:
            specs: The trials.
            preparing: Called with the name of a dataset whose images are being made.
            stop: Whether to stop early; what was not read then counts as sound.
        """
        chosen = list({_asks(spec): spec for spec in reversed(specs)}.values())[::-1]
        found: list[tuple[TrialSpec, Problem]] = []
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trials.jsonl"
            path.write_text("".join(json.dumps(spec.canonical()) + "\n" for spec in chosen), encoding="utf-8")
            with closing(self._answers(("--data", str(path)), {}, stop, "the check of the data")) as answers:
                for answer in answers:
                    if "preparing" in answer:
                        preparing(str(answer["preparing"]))
                    elif (problem := _found(answer, chosen)) is not None:
                        found.append(problem)
        return found

    def __call__(self, trials: Sequence[Trial], stop: Callable[[], bool]) -> Mapping[str, str]:
        """The objectives of ``trials`` whose first step fails, each with the last lines of its traceback.

        A rehearsal that itself cannot be held finds nothing: then the trials show what is wrong.
        """
        # One trial of each group: the process tries the one with the smallest images of each objective.
        first: dict[Group, Trial] = {}
        for trial in trials:
            first.setdefault(trial.group, trial)
        words = [word for trial in first.values() for word in ("--spec", str(trial.folder.spec_path))]
        failing: dict[str, str] = {}
        # On the CPU, as the networks are tiny in comparison; a GPU may have no memory left.
        with closing(self._answers(words, {VISIBLE: ""}, stop, "the trial of first steps")) as answers:
            for answer in answers:
                if answer.get("error") and "objective" in answer:
                    failing[str(answer["objective"])] = str(answer["error"])
                elif answer.get("error") and "question" in answer:
                    self.say(_of_question(str(answer["question"]), str(answer["error"])))
                if "idle" in answer and isinstance(networks := answer.get("networks"), list):
                    names = ", ".join(map(str, networks))
                    self.say(f"objective {answer['idle']}: no gradient reaches {names} in the first steps, as if the "
                             "loss did not depend on what it trains")  # fmt: skip
                if isinstance(untried := answer.get("untried"), list):
                    names = ", ".join(map(str, untried))
                    self.say(f"first steps took long enough: those of {names} were not tried before training")
        return failing

    def _answers(
        self, words: Sequence[str], environment: Mapping[str, str], stop: Callable[[], bool], what: str
    ) -> Generator[dict[str, Any]]:
        """What a process answers, line by line in JSON, until it ends, says nothing for too long, or has to stop."""
        for start in (self._forked, self._new):
            reading, writing = os.pipe()
            with open(reading, "rb", buffering=0) as said:
                with open(writing, "wb") as output:
                    process = start(("rehearse", *words, "--silent"), output, environment)
                if process is None:
                    continue
                ending = _Ending(process)
                try:
                    if (yield from _lines(said, stop, ending.reached)):
                        self.say(f"{what} was given up: nothing was heard of it for {SECONDS:g} s (a busy machine?)")
                finally:
                    ending.bring(said)
                if ending.began:
                    return

    def _forked(self, words: Sequence[str], output: IO[bytes], environment: Mapping[str, str]) -> Fork | None:
        return None if self.fork is None else self.fork(words, output, environment)

    def _new(
        self, words: Sequence[str], output: IO[bytes], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes] | None:
        try:
            return subprocess.Popen(
                [*self.command, *words], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL,
                env=DEFAULT_ENVIRONMENT | dict(os.environ) | dict(environment), start_new_session=True,
            )  # fmt: skip
        except OSError:
            return None


def _of_question(name: str, error: str) -> str:
    """What is said of a question that failed; trials are trained all the same, as only their evaluation needs it."""
    shown = "\n".join(f"    {line}" for line in error.splitlines())
    return (
        f"question {name} fails on made-up images and an untrained model, and may do so after training:\n{shown}\n"
        "  If it does, trained models are kept: mend it, and the next run only evaluates them."
    )


def _lines(
    said: IO[bytes], stop: Callable[[], bool], ended: Callable[[], bool]
) -> Generator[dict[str, Any], None, bool]:
    """What is said, line by line; returns whether nothing was heard for too long."""
    rest, end = b"", time.monotonic() + SECONDS
    while time.monotonic() < end and not stop():
        over = ended()
        if not select.select([said], [], [], _TICK_SECONDS)[0]:
            if over:
                return (
                    False  # All that it has said was there before it ended; a child of its has the output open still.
                )
            continue
        if not (content := os.read(said.fileno(), 1 << 16)):
            return False
        end = time.monotonic() + SECONDS
        *lines, rest = (rest + content).split(b"\n")
        for line in lines:
            with suppress(ValueError):  # Cut off by its death, or printed by something else.
                answer = json.loads(line)
                if isinstance(answer, dict):
                    yield answer
    return not stop()


class _Ending:
    """Waits for the end of a process.

    Attributes:
        began: False, once it is known that there never was a process.
    """

    def __init__(self, process: Fork | subprocess.Popen[bytes]) -> None:
        self.began = True
        self._process, self._ended = process, threading.Event()
        # A fork whose server is gone cannot be killed safely: nobody waits for more than its own limit then.
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        try:
            self._process.wait()
        except NotForked:
            self.began = False
        self._ended.set()

    def reached(self) -> bool:
        """Whether it has ended."""
        return self._ended.is_set()

    def bring(self, said: IO[bytes]) -> None:
        """Ends it, with whatever it has started, if it has not ended by itself or a child of its has its output open.

        Args:
            said: The other end of its output.
        """
        # What has closed its output is about to end.
        if not self._ended.wait(_TICK_SECONDS):
            if isinstance(self._process, Fork):
                self._process.send(signal.SIGKILL, group=True)
                if self._process.pid is None:
                    return  # Its server imports for seconds yet: it will be killed as it begins, or not be begun.
            else:
                kill_group(self._process.pid)
            self._ended.wait(_KILLED_SECONDS)
        elif self._process.pid is not None and not _closed(said):
            # The number of its group is taken for as long as a child is in it.
            kill_group(self._process.pid)


def _closed(said: IO[bytes]) -> bool:
    """Whether no process has the other end of a pipe open."""
    poll = select.poll()
    poll.register(said, 0)
    return any(event & select.POLLHUP for _, event in poll.poll(0))


def _asks(spec: TrialSpec) -> tuple[object, ...]:
    """What tells apart the trials whose data have to be read: what they are, and what is asked of them.

    Trials of a grid share their parts, so their identity will do; a part that is there twice is read twice.
    """
    training = spec.training
    of_model = () if training.supervision is None and training.missing_images is None else (
        id(training), spec.objective.name, spec.backbone.name
    )  # fmt: skip
    return (id(spec.dataset), training.batch_size, *of_model)


def _found(answer: Mapping[str, Any], chosen: Sequence[TrialSpec]) -> tuple[TrialSpec, Problem] | None:
    """The problem that an answer tells, and its trial; None for what a library has printed that looks like one."""
    number, told = answer.get("trial"), answer.get("problem")
    if type(number) is not int or not 0 <= number < len(chosen) or not isinstance(told, dict):
        return None
    with suppress(ValidationError):
        return chosen[number], _PROBLEM.validate_python({**told, "line": None})
    return None
