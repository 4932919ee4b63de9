"""How far a run is, and how long it will still take."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..runs.status import Status, read_status
from .events import Progress, Running
from .executor import Job
from .trial import Group, Trial

if TYPE_CHECKING:
    from .driver import Driver


@dataclass(frozen=True, slots=True)
class Started:
    """A job that was started and is not over.

    Attributes:
        job: The job.
        trial: The trial that it is, or the first of those that it prepares for.
        since: When it was started, on the monotonic clock: the wall clock may jump.
        log_start: Size of its log then.
        preparation: Whether it prepares a dataset and classifier.
        alone: Whether nothing else may run.
    """

    job: Job
    trial: Trial
    since: float
    log_start: int
    preparation: bool
    alone: bool


def measure(driver: Driver, *, seconds: float) -> Progress:
    """Reads the status of every trial that runs, and adds up."""
    now = time.monotonic()
    statuses: dict[str, Status] = {}
    rates: dict[Group, float] = {}
    for name, started in driver.started.items():
        if not started.preparation:
            status = read_status(started.trial.folder.directory)
            if status.attempts <= started.trial.attempts:
                status = Status()  # Of an earlier process: this one has not come so far.
            statuses[name] = status
            if status.state == "running" and status.steps_per_second:
                rates[started.trial.group] = 1 / status.steps_per_second
    running = [
        _running(driver, started, statuses.get(name), now - started.since) for name, started in driver.started.items()
    ]
    left = [item.seconds_left for item in running if item.status is not None]
    known = [item for item in left if item is not None]
    waiting = driver.schedule.seconds(rates)
    seconds_left = None
    if waiting is not None and len(known) == len(left):
        seconds_left = max([(waiting + sum(known)) / driver.executor.num_slots, *known])
    return Progress(
        total=len(driver.trials),
        done=driver.num_done,
        failed=driver.num_failed,
        waiting=len(driver.schedule),
        elsewhere=len(driver.elsewhere),
        running=running,
        seconds=seconds,
        seconds_left=seconds_left,
        stopping=driver.stopping,
    )


def _running(driver: Driver, started: Started, status: Status | None, seconds: float) -> Running:
    trial = started.trial
    if started.preparation or status is None:
        return Running(f"data and classifier of {trial.dataset}", seconds, None, None)
    left: float | None = None
    if status.steps_per_second and status.steps:
        left = (status.steps - status.step) / status.steps_per_second
    if driver.costs.known and trial.steps:
        # What ended trials took includes their evaluation, which the speed of training does not.
        left = max(driver.costs.seconds_per_step(trial.group) * trial.steps - seconds, left or 0.0)
    return Running(trial.label, seconds, status, left)
