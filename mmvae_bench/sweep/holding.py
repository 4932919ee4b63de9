"""Which trials a driver holds back: others ended with an error that they would have too."""

from __future__ import annotations

from collections.abc import Sequence

from ..runs.status import Status
from .outcome import OUT_OF_MEMORY
from .schedule import Group, Trial


class Holds:
    """The trials that are not to be started; empty as long as there is no reason.

    Attributes:
        groups: The groups of trials with a bug in their objective.
        unusable: What identifies data that cannot be used.
    """

    def __init__(self) -> None:
        self.groups: set[Group] = set()
        self.unusable: set[str] = set()
        self._failures: dict[tuple[str, ...], set[str]] = {}

    def __bool__(self) -> bool:
        return bool(self.groups or self.unusable)

    def __contains__(self, trial: Trial) -> bool:
        return trial.group in self.groups or trial.data in self.unusable

    def add_if_again(self, trial: Trial, status: Status, among: Sequence[Trial]) -> bool:
        """Whether a failure is the second of its kind, so that all trials of its objective are held back from now on.

        Args:
            trial: The trial that has failed.
            status: Its status.
            among: All trials of the run.
        """
        if status.where is None or status.error_type in OUT_OF_MEMORY or trial.group in self.groups:
            return False
        objective = trial.group[0]
        alike = self._failures.setdefault((objective, status.error_type or "", status.error or "", status.where), set())
        alike.add(trial.key)
        if len(alike) < 2:
            return False
        self.groups |= {other.group for other in among if other.group[0] == objective}
        return True
