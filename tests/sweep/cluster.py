"""Drivers whose trials run on a cluster."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from mmvae_bench.specs.grid import expand
from mmvae_bench.sweep.driver import Driver, Outcome
from mmvae_bench.sweep.executor import Executor
from mmvae_bench.sweep.schedule import trials_of

from .support import Recorder, StubRun, until


def drive_with(stub: StubRun, executor: Executor, **options: Any) -> tuple[Outcome, Recorder]:
    """A driver in this process, on ``executor``."""
    store, recorder = stub.store(), Recorder()
    return Driver(store, trials_of(expand(stub.grid()), store), executor, recorder, **options).run(), recorder


def meanwhile(condition: Callable[[], bool], then: Callable[[], None]) -> threading.Thread:
    """Does something as soon as a condition holds."""

    def act() -> None:
        try:
            until(condition, seconds=400)
            then()
        except BaseException:
            interrupt()  # The driver would wait for what does not come any more.
            raise

    thread = threading.Thread(target=act)
    thread.start()
    return thread


def interrupt() -> None:
    """Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)


def most_at_once(stub: StubRun) -> int:
    """How many trials ran at the same time, by their journals."""
    lines = [line for folder in stub.folders().values() for line in stub.journal(folder)]
    now = most = 0
    for line in sorted(lines, key=lambda line: line["time"]):
        now += 1 if line["event"] == "start" else -1
        most = max(most, now)
    return most
