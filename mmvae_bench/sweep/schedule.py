"""Which trial is next: the longest, by a cost that is learned from the trials that have ended."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Mapping

from .trial import Group, Trial


class CostModel:
    """Seconds a step, learned for each group of trials.

    A group that has not been seen costs what the others cost on average; where none has been seen, a second a step,
    which still puts trials with many steps first.
    """

    def __init__(self) -> None:
        self._seconds: dict[Group, float] = {}
        self._steps: dict[Group, int] = {}

    def observe(self, group: Group, *, steps: int, seconds: float) -> None:
        """A trial of ``group`` took ``seconds`` for ``steps``."""
        self._seconds[group] = self._seconds.get(group, 0.0) + seconds
        self._steps[group] = self._steps.get(group, 0) + steps

    @property
    def known(self) -> bool:
        """Whether anything was observed."""
        return any(self._steps.values())

    def seconds_per_step(self, group: Group) -> float:
        """The rate of ``group``, or the best guess at it."""
        if self._steps.get(group):
            return self._seconds[group] / self._steps[group]
        return sum(self._seconds.values()) / sum(self._steps.values()) if self.known else 1.0


class Schedule:
    """The trials that wait, longest first; equal ones in the order in which they came.

    Picking looks at the longest trial of each group, so it costs no more with many trials than with few.

    Args:
        costs: What trials cost; may learn while trials wait.
    """

    def __init__(self, costs: CostModel) -> None:
        self.costs = costs
        self._waiting: dict[Group, list[tuple[int, int, Trial]]] = {}
        self._steps: dict[Group, int] = {}
        self._count = 0
        self._alone: deque[Trial] = deque()
        self._size = 0

    def __len__(self) -> int:
        return self._size + len(self._alone)

    def add(self, trial: Trial) -> None:
        """Puts a trial among those that wait."""
        # The last of a list is the next: most steps, then earliest.
        insort(self._waiting.setdefault(trial.group, []), (trial.steps, -self._count, trial), key=lambda item: item[:2])
        self._steps[trial.group] = self._steps.get(trial.group, 0) + trial.steps
        self._count += 1
        self._size += 1

    def add_alone(self, trial: Trial) -> None:
        """Puts a trial behind all others, to run while nothing else does."""
        self._alone.append(trial)

    def pop(self) -> Trial | None:
        """The longest trial that waits; None where none does, but perhaps some that want to be alone."""
        groups = [group for group, waiting in self._waiting.items() if waiting]
        if not groups:
            return None
        best = max(groups, key=lambda group: self.costs.seconds_per_step(group) * self._waiting[group][-1][0])
        steps, _, trial = self._waiting[best].pop()
        self._steps[best] -= steps
        self._size -= 1
        return trial

    def pop_alone(self) -> Trial | None:
        """The next trial that wants to be alone."""
        return self._alone.popleft() if self._alone else None

    def seconds(self, rates: Mapping[Group, float]) -> float | None:
        """Seconds of one slot that the waiting trials will take; None where nothing is known about some of them.

        Args:
            rates: Seconds a step of groups of which no trial has ended yet, as running ones measure them.
        """
        total = 0.0
        groups = {group: steps for group, steps in self._steps.items() if steps}
        for trial in self._alone:
            groups[trial.group] = groups.get(trial.group, 0) + trial.steps
        for group, steps in groups.items():
            rate = self.costs.seconds_per_step(group) if self.costs.known else rates.get(group)
            if rate is None:
                return None
            total += rate * steps
        return total
