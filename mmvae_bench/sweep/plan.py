"""What a driver finds when it begins: which trials wait, and which are left alone, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..runs.stale import Staleness, WhenStale, staleness
from ..runs.status import Status, read_status
from .outcome import OUT_OF_MEMORY
from .schedule import Trial


@dataclass(slots=True)
class Plan:
    """The trials of a run, by what is to be done with them.

    Attributes:
        waiting: To be run.
        alone: To be run alone: killed for memory, and an earlier driver did not get to the retry.
        done: With the head of their result.
        failed: In an earlier run, and left alone, with their status.
        stale: Made by other code, and left alone, with what differs.
        num_unknown: How many of all were made before code was recorded.
    """

    waiting: list[Trial] = field(default_factory=list)
    alone: list[Trial] = field(default_factory=list)
    done: list[tuple[Trial, dict[str, Any] | None]] = field(default_factory=list)
    failed: list[tuple[Trial, Status]] = field(default_factory=list)
    stale: list[tuple[Trial, Staleness]] = field(default_factory=list)
    num_unknown: int = 0


def plan_of(trials: Sequence[Trial], *, retry_failed: bool, when_stale: WhenStale) -> Plan:
    """Sorts trials by what their folders say, and notes in each what is to be kept or made again."""
    plan = Plan()
    for trial in trials:
        status = trial.folder.status(trial.evaluation)
        trial.attempts = attempts_before(trial, status)
        head = trial.folder.result_head() if trial.folder.result_path.exists() else None
        killed = status.state == "failed" and status.attempts == 1 and status.error_type in OUT_OF_MEMORY
        untouched = status.state == "running" or (status.state == "failed" and not (killed or retry_failed))
        found = None if untouched else staleness(trial.folder, head)
        plan.num_unknown += found is not None and not found.known
        if found and when_stale == "refuse":
            plan.stale.append((trial, found))
            continue
        trial.keep = bool(found) and when_stale == "keep"
        trial.remake = found if found and when_stale == "retrain" else None
        if trial.remake is not None:
            if not trial.remake.training:
                trial.steps = 0
            plan.waiting.append(trial)
        elif status.state == "done":
            plan.done.append((trial, head))
        elif killed:
            trial.retried = True
            plan.alone.append(trial)
        elif status.state == "failed" and not retry_failed:
            plan.failed.append((trial, status))
        else:
            if head is not None:
                trial.steps = 0  # Trained already: only its evaluation is new.
            plan.waiting.append(trial)
    return plan


def attempts_before(trial: Trial, status: Status) -> int:
    """How many processes had worked on a trial before the one that works on it now, if there is one.

    This distinguishes a trial that fails elsewhere from one that had failed before.
    """
    begun = status.state == "running" and read_status(trial.folder.directory).state == "running"
    return max(0, status.attempts - 1) if begun else status.attempts
