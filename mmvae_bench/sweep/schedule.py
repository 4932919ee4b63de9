"""Which trial is next: the longest, by a cost that is learned from the trials that have ended."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from .trial import Group, Trial


class CostModel:
    """Seconds a step, learned for each group of trials and kind of device.

    What counts is the kind of device on which trials end now, and before one has ended, the one that is best known. A
    group that was only seen on other kinds is taken to cost what it did there, times what the groups seen on both say
    of the two kinds. One that has not been seen at all costs what the others cost on average; where none has been seen,
    a second a step, which still puts trials with many steps first.
    """

    def __init__(self) -> None:
        self._costs: dict[str, dict[Group, _Cost]] = {}
        self._here: str | None = None

    def observe(self, group: Group, *, steps: int, seconds: float, kind: str = "", here: bool = False) -> None:
        """A trial of ``group`` took ``seconds`` for ``steps``.

        Args:
            group: The trial's.
            steps: How many; 0 teaches nothing.
            seconds: How long.
            kind: The kind of device.
            here: Whether this driver has run it, so that what waits will run on such a device too.
        """
        if steps > 0:
            self._costs.setdefault(kind, {}).setdefault(group, _Cost()).add(steps, seconds)
            if here:
                self._here = kind

    @property
    def known(self) -> bool:
        """Whether anything was observed."""
        return bool(self._costs)

    def seconds_per_step(self, group: Group) -> float:
        """The rate of ``group``, or the best guess at it."""
        if not self._costs:
            return 1.0
        kind = self._here if self._here is not None else max(self._costs, key=self._num_steps)
        own = self._costs[kind]
        if group in own:
            return own[group].rate
        for other, costs in self._costs.items():
            if other != kind and group in costs:
                return costs[group].rate * _ratio(own, costs)
        return sum(cost.seconds for cost in own.values()) / sum(cost.steps for cost in own.values())

    def _num_steps(self, kind: str) -> int:
        return sum(cost.steps for cost in self._costs[kind].values())


@dataclass(slots=True)
class _Cost:
    """What trials of one group have cost on one kind of device."""

    steps: int = 0
    seconds: float = 0.0

    def add(self, steps: int, seconds: float) -> None:
        self.steps += steps
        self.seconds += seconds

    @property
    def rate(self) -> float:
        return self.seconds / self.steps


def _ratio(costs: Mapping[Group, _Cost], others: Mapping[Group, _Cost]) -> float:
    """What a step costs here over what it costs there, for the steps of the groups seen on both; 1 without any."""
    both = [group for group in costs if group in others and others[group].seconds > 0]
    there = sum(others[group].rate * costs[group].steps for group in both)
    return sum(costs[group].seconds for group in both) / there if there else 1.0


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
