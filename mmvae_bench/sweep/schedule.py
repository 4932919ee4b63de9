"""The trials of a run as a driver sees them, and which is next: the longest, by costs learned from ended trials."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..base.canonical import content_hash
from ..runs.folder import TrialFolder
from ..runs.stale import Staleness
from ..runs.status import ATTEMPT_VARIABLE
from ..runs.store import RunStore
from ..specs.labels import trial_labels
from ..specs.trial import TrialSpec
from .executor import Job

Group = tuple[str, str, str]


@dataclass(slots=True, eq=False)
class Trial:
    """One trial of a run.

    Attributes:
        folder: Its folder.
        label: A short human-readable name, unique in the run.
        evaluation: Its evaluation settings, as canonical JSON values.
        group: Trials of one group are assumed to have the same cost per step.
        steps: Steps of its main stage.
        recipe: Identifies what has to be prepared for it: equal for trials that share dataset and classifier.
        dataset: Its dataset, in human-readable form.
        data: Identifies its data and what is asked of them: equal for trials with the same dataset, batch size,
            supervision and missing images.
        attempts: How many processes had worked on it when this driver last looked.
        retried: Whether this driver has retried it.
        losses: How often this driver has seen its machine fail.
        keep: Whether it goes on where other code has left it.
        remake: What other code has made and this driver is to make again; None if there is nothing.
    """

    folder: TrialFolder
    label: str
    evaluation: dict[str, Any]
    group: Group
    steps: int
    recipe: str
    dataset: str
    data: str = ""
    attempts: int = 0
    retried: bool = False
    losses: int = 0
    keep: bool = False
    remake: Staleness | None = None

    @property
    def key(self) -> str:
        """The trial's key."""
        return self.folder.key

    def train_job(self) -> Job:
        """The process that trains and evaluates it."""
        folder = self.folder
        keep = ("--keep",) if self.keep else ()
        arguments = ("train", "--spec", str(folder.spec_path), "--out", str(folder.directory), *keep)
        environment = {ATTEMPT_VARIABLE: str(self.attempts + 1)}
        return Job(folder.key, arguments, folder.log_path, environment, pulse=folder.status_path)

    def prepare_job(self, store: RunStore) -> Job:
        """The process that prepares its dataset and classifier."""
        log = store.root / "prepare" / f"{self.recipe}.log"
        pulse = log.with_suffix(".pulse")
        arguments = ("prepare", "--spec", str(self.folder.spec_path), "--pulse", str(pulse))
        return Job(f"prepare {self.recipe}", arguments, log, pulse=pulse)


def trials_of(specs: Sequence[TrialSpec], store: RunStore) -> list[Trial]:
    """The driver's view of ``specs``, in their order."""
    labels = trial_labels(specs)
    evaluations: dict[int, dict[str, Any]] = {}
    recipes: dict[tuple[int, int], str] = {}
    data: dict[tuple[int, int], str] = {}
    trials: list[Trial] = []
    for spec, label in zip(specs, labels, strict=True):
        key = spec.key
        # Specs of a grid share their parts, so each part is written out once.
        pair = (id(spec.dataset), id(spec.evaluation))
        if pair not in recipes:
            given = spec.evaluation.classifier
            classifier = given.canonical() if given is not None else spec.dataset.default_classifier()
            recipes[pair] = content_hash([spec.dataset.recipe(), classifier])
        asked = (id(spec.dataset), id(spec.training))
        if asked not in data:
            training = spec.training.canonical()
            counted = [training.get(name) for name in ("batch_size", "supervision", "missing_images")]
            data[asked] = content_hash([spec.dataset.canonical(), *counted])
        if pair[1] not in evaluations:
            evaluations[pair[1]] = spec.evaluation.canonical()
        trials.append(
            Trial(
                folder=store.folder(key),
                label=label,
                evaluation=evaluations[pair[1]],
                group=(spec.objective.name, spec.backbone.name, spec.dataset.name),
                steps=spec.training.steps,
                recipe=recipes[pair],
                dataset=f"{spec.dataset.name}/{spec.dataset.source}",
                data=data[asked],
            )
        )
    return trials


class CostModel:
    """Seconds per step, learned for each group of trials and kind of device.

    The kind of device that counts is the one on which trials end now; before one has ended, the kind that is known
    best. For a group seen only on other kinds, its cost there is scaled by the ratio of the two kinds on the groups
    seen on both. A group that has not been seen at all costs the average of the others. If nothing has been seen,
    every step costs one second, which still puts trials with many steps first.
    """

    def __init__(self) -> None:
        self._costs: dict[str, dict[Group, _Cost]] = {}
        self._here: str | None = None

    def observe(self, group: Group, *, steps: int, seconds: float, kind: str = "", here: bool = False) -> None:
        """Learns from a trial that has ended.

        Args:
            group: The trial's group.
            steps: Number of steps; a trial with 0 steps is ignored.
            seconds: How long it took.
            kind: The kind of device.
            here: Whether this driver ran it, so that the waiting trials will run on such a device too.
        """
        if steps > 0:
            self._costs.setdefault(kind, {}).setdefault(group, _Cost()).add(steps, seconds)
            if here:
                self._here = kind

    def learn(self, trial: Trial, head: Mapping[str, Any] | None, *, seconds: float | None = None) -> None:
        """Learns from a trial that is done, unless its result does not say how long it took.

        Args:
            trial: The trial.
            head: Its result without the scores; None if there is none.
            seconds: How long it took here; None: this driver has not run it, or not all of it.
        """
        training, origin = ((head or {}).get(name) for name in ("training", "provenance"))
        here = seconds is not None
        if seconds is None and isinstance(training, dict):
            seconds = training.get("wall_seconds")
        if isinstance(seconds, int | float):
            kind = str(origin.get("device_name", "")) if isinstance(origin, dict) else ""
            self.observe(trial.group, steps=trial.steps, seconds=float(seconds), kind=kind, here=here)

    @property
    def known(self) -> bool:
        """Whether any trial was observed."""
        return bool(self._costs)

    def seconds_per_step(self, group: Group) -> float:
        """The cost of a step in ``group``, or the best estimate of it."""
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
    """The cost of the trials of one group on one kind of device."""

    steps: int = 0
    seconds: float = 0.0

    def add(self, steps: int, seconds: float) -> None:
        self.steps += steps
        self.seconds += seconds

    @property
    def rate(self) -> float:
        return self.seconds / self.steps


def _ratio(costs: Mapping[Group, _Cost], others: Mapping[Group, _Cost]) -> float:
    """Cost of a step here relative to there, over the steps of the groups seen on both; 1 if there are none."""
    both = [group for group in costs if group in others and others[group].seconds > 0]
    there = sum(others[group].rate * costs[group].steps for group in both)
    return sum(costs[group].seconds for group in both) / there if there else 1.0


class Schedule:
    """The waiting trials, longest first; equal ones in the order in which they were added.

    Picking a trial looks only at the longest one of each group, so many trials cost no more than few.

    Args:
        costs: The cost of trials; may learn while trials wait.
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
        """Adds a trial to the waiting ones."""
        # The last one of a list is the next: most steps, then earliest.
        insort(self._waiting.setdefault(trial.group, []), (trial.steps, -self._count, trial), key=lambda item: item[:2])
        self._steps[trial.group] = self._steps.get(trial.group, 0) + trial.steps
        self._count += 1
        self._size += 1

    def add_alone(self, trial: Trial) -> None:
        """Adds a trial behind all others, to run while nothing else does."""
        self._alone.append(trial)

    def pop(self) -> Trial | None:
        """The longest waiting trial; None if there is none, except perhaps trials to run alone."""
        groups = [group for group, waiting in self._waiting.items() if waiting]
        if not groups:
            return None
        best = max(groups, key=lambda group: self.costs.seconds_per_step(group) * self._waiting[group][-1][0])
        steps, _, trial = self._waiting[best].pop()
        self._steps[best] -= steps
        self._size -= 1
        return trial

    def pop_alone(self) -> Trial | None:
        """The next trial to run alone."""
        return self._alone.popleft() if self._alone else None

    def withdraw(self, meant: Callable[[Trial], bool]) -> list[Trial]:
        """Takes all waiting trials that are meant out, and returns them."""
        taken: list[Trial] = []
        for group, waiting in self._waiting.items():
            taken += [trial for _, _, trial in waiting if meant(trial)]
            self._waiting[group] = [item for item in waiting if not meant(item[2])]
            self._steps[group] = sum(steps for steps, _, _ in self._waiting[group])
        self._size -= len(taken)
        taken += [trial for trial in self._alone if meant(trial)]
        self._alone = deque(trial for trial in self._alone if not meant(trial))
        return taken

    def recipes(self) -> set[str]:
        """What has to be prepared for the waiting trials."""
        waiting = (trial for group in self._waiting.values() for _, _, trial in group)
        return {trial.recipe for trial in (*waiting, *self._alone)}

    def seconds(self, rates: Mapping[Group, float]) -> float | None:
        """How long the waiting trials would take in one slot; None if nothing is known about some of them.

        Args:
            rates: Seconds per step, as measured by running trials, of groups of which no trial has ended yet.
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
