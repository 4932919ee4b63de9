"""Trials that differ in nothing but the seed, trained in one process as one; each is then evaluated as ever.

What cannot be done together, the trials do on their own, one after the other, by the code that runs a single one
(:func:`~mmvae_bench.trial.run_locked`): the evaluation, an error of one of them, and the whole training where the loss
cannot be mapped over members.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from ..base.errors import explain
from ..base.heartbeat import heard
from ..base.processes import StopSignals
from ..runs.folder import TrialFolder
from ..runs.lock import LockHeld
from ..runs.stale import WhenStale
from ..runs.status import StatusWriter
from ..specs.trial import TrialSpec
from ..training.fit import Fitting, TrainingInterrupted
from ..training.together import fit_together
from ..trial import (
    TrialResult,
    build_objective,
    control_of,
    default_device,
    evaluation_code_of,
    finished,
    interrupt,
    made_again,
    opened,
    ready_data,
    run_locked,
)

QUIET_SECONDS = 5.0
"""For so long nothing need be written about a trial before others that are worked on speak for it."""
_LOST_DEVICE: tuple[type[Exception], ...] = (torch.AcceleratorError,) if hasattr(torch, "AcceleratorError") else ()
"""After which a GPU can do nothing more in this process."""


@dataclass(eq=False)
class Mate:
    """One of the trials.

    Attributes:
        spec: What it is.
        directory: Its folder, of which this process holds the lock.
        attempt: The number of the attempt that this should be; None: the next one.
        report: Writes its status, once the attempt has begun.
        ended: Whether nothing more is to be written of it.
    """

    spec: TrialSpec
    directory: Path
    attempt: int | None = None
    report: StatusWriter | None = None
    ended: bool = False

    def beat(self) -> None:
        """Shows whoever watches it that the process makes progress, if nothing else has for a while."""
        if self.report is None:
            return
        if time.monotonic() - self.report.written < QUIET_SECONDS:
            return
        if not self.ended:
            with suppress(LockHeld):  # Its own run says so.
                self.report.beat()
        else:
            self.report.written = time.monotonic()
            with suppress(OSError):
                os.utime(TrialFolder(self.directory).status_path)  # What it says is final.


def run_together(
    mates: Sequence[Mate],
    *,
    device: str | None = None,
    stale: WhenStale = "refuse",
    ended: Callable[[Mate, TrialResult | BaseException], object] = lambda mate, what: None,
) -> None:
    """Runs trials to their results, in their folders; each resumes where it was stopped.

    Args:
        mates: Trials that are equal but for the seed.
        device: ``cpu`` or ``cuda``; None: a GPU if there is one.
        stale: As in :func:`~mmvae_bench.trial.run_trial`.
        ended: Called with each trial when it has ended: its result, or the exception that it ended with.

    Raises:
        TrainingInterrupted: after all have saved, if the process was asked to stop.
    """
    device = device or default_device()
    with StopSignals(signal.SIGTERM, signal.SIGINT) as signals:

        def alive() -> None:
            for mate in mates:
                mate.beat()

        def over(mate: Mate, what: TrialResult | BaseException) -> None:
            mate.ended = True
            ended(mate, what)

        waiting = [mate for mate in mates if _opened(mate, stale, over)]
        try:
            _train(waiting, device, signals.requested, alive)
            while waiting:
                if signals.requested():
                    raise TrainingInterrupted("stopped before its evaluation")
                mate = waiting.pop(0)
                begun = mate.report.status if mate.report is not None else None
                try:
                    result = run_locked(mate.spec, mate.directory, device=device, stale=stale, begun=begun, alive=alive)
                except TrainingInterrupted as interrupted:
                    over(mate, interrupted)
                    raise
                except Exception as error:
                    over(mate, error)
                    if isinstance(error, _LOST_DEVICE):
                        raise  # Nothing more can be done in this process.
                else:
                    over(mate, result)
        except TrainingInterrupted as interrupted:
            for mate in waiting:
                if mate.report is not None:
                    interrupt(mate.directory, mate.report.status, str(interrupted))
                over(mate, interrupted)
            raise


def _opened(mate: Mate, stale: WhenStale, ended: Callable[[Mate, BaseException], object]) -> bool:
    """Begins an attempt at a trial that has no result; whether there is anything left to do for it."""
    try:
        TrialFolder(mate.directory).check_files()
        if made_again(mate.directory, stale) or finished(mate.directory, mate.spec) is None:
            mate.report = StatusWriter(mate.directory, opened(mate.spec, mate.directory, attempt=mate.attempt))
    except Exception as error:
        ended(mate, error)
        return False
    return True


def _train(mates: Sequence[Mate], device: str, stop: Callable[[], bool], alive: Callable[[], object]) -> None:
    """Trains as many steps as possible together: all, or those before something that cannot be.

    Raises:
        TrainingInterrupted: after all have saved.
    """
    begun = [(mate, mate.report) for mate in mates if mate.report is not None]
    if len(begun) < 2:
        return
    spec = begun[0][0].spec
    torch.set_num_threads(spec.training.num_threads)
    try:
        with heard(alive):
            evaluation_code_of(spec)  # Read and kept now: the files may be edited while training runs.
            data = ready_data(spec, device)
            fit_together(
                [
                    Fitting.begin(
                        build_objective(mate.spec).to(device),
                        data,
                        spec.training,
                        key=mate.spec.key,
                        seed=mate.spec.seed,
                        device=torch.device(device),
                        control=control_of(mate.spec, mate.directory, data, device, report, stop=stop, alive=alive),
                        together=len(begun),
                    )
                    for mate, report in begun
                ]
            )
    except TrainingInterrupted:
        raise
    except Exception as error:
        if isinstance(error, _LOST_DEVICE):
            raise
        # Whatever it is: each trial goes on from where it was saved, alone, and has it as an error of its own, or not.
        kind, text = explain(error)
        lines = text.splitlines() or [kind]
        _say(f"trained one after the other from here on: {lines[0]}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201
