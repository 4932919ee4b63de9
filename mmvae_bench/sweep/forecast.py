"""How long a run will still take, from what its running trials say and what ended ones have cost."""

from __future__ import annotations

from collections.abc import Iterable

from ..runs.status import Status, read_status
from .events import Running
from .schedule import CostModel, Group, Schedule, Trial


def forecast(
    jobs: Iterable[tuple[Trial, float, bool]], schedule: Schedule, costs: CostModel, *, num_slots: int
) -> tuple[list[Running], float | None]:
    """The jobs that run, and the seconds until all trials are done; None if unknown.

    Args:
        jobs: For each its trial, the seconds since it was started, and whether it only prepares data and classifier.
        schedule: The trials that wait.
        costs: The cost of trials that have ended.
        num_slots: How many trials run in parallel.
    """
    running: list[Running] = []
    rates: dict[Group, float] = {}
    for trial, seconds, preparation in jobs:
        if preparation:
            running.append(Running(f"data and classifier of {trial.dataset}", seconds, None, None))
            continue
        status = read_status(trial.folder.directory)
        if status.attempts <= trial.attempts:
            status = Status()  # Of an earlier process: this one has not come so far.
        if status.state == "running" and status.steps_per_second:
            rates[trial.group] = 1 / status.steps_per_second
        running.append(Running(trial.label, seconds, status, _seconds_left(trial, status, seconds, costs)))
    left = [item.seconds_left for item in running if item.status is not None]
    known = [seconds for seconds in left if seconds is not None]
    waiting = schedule.seconds(rates)
    if waiting is None or len(known) < len(left):
        return running, None
    return running, max([(waiting + sum(known)) / num_slots, *known])


def _seconds_left(trial: Trial, status: Status, seconds: float, costs: CostModel) -> float | None:
    """How long a trial that has run for ``seconds`` will still take; None if unknown."""
    left: float | None = None
    if status.steps_per_second and status.steps:
        left = (status.steps - status.step) / status.steps_per_second
    if costs.known and trial.steps:
        # The cost of ended trials includes their evaluation, which the speed of training does not.
        left = max(costs.seconds_per_step(trial.group) * trial.steps - seconds, left or 0.0)
    return left
