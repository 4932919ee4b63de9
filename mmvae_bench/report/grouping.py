"""Which trials belong in one table, and what they are called there.

A table holds what was trained on the same images and split, with the same networks and training settings; its columns
are the objectives. Objectives trained for different numbers of steps still share a table, as in the published one; an
objective trained for several is a study of the budget, and each budget has its own table.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from ..base.errors import BenchmarkError
from ..specs import labels
from ..specs.components import backbones, datasets, objectives
from ..specs.trial import TrainingSpec
from .trials import TrialRecord


@dataclass(frozen=True)
class Setting:
    """What all trials of a table share; the parameters are (name, text) pairs, to be hashable.

    Attributes:
        steps: The number of steps, where it decides which table a trial belongs to; else None.
    """

    dataset: str
    source: str
    split: str
    split_seed: int | None
    partition: str
    dataset_params: tuple[tuple[str, str], ...]
    backbone: str
    backbone_params: tuple[tuple[str, str], ...]
    training_params: tuple[tuple[str, str], ...]
    steps: int | None = None

    @property
    def world(self) -> tuple[str, ...]:
        """The dataset and where its pixels come from; one name where both have the same, as one's own arrays."""
        return (self.dataset,) if self.source == self.dataset else (self.dataset, self.source)

    def flat(self) -> dict[str, str]:
        """Everything in which two settings can differ, except what every title already says."""
        named = {"split_seed": self.split_seed, "backbone": self.backbone, "steps": self.steps}
        shown = {key: show(value) for key, value in named.items() if value is not None}
        return shown | dict(self.dataset_params + self.backbone_params + self.training_params)


@dataclass(frozen=True)
class Column:
    """An objective with its parameters, as a column of a table.

    Attributes:
        label: The name, with the parameters in which it differs from others of that name, such as ``telbo gamma=50``.
        trials: Its trials, one per seed, in any state.
    """

    label: str
    objective: str
    params: tuple[tuple[str, str], ...]
    trials: tuple[TrialRecord, ...]

    @property
    def done(self) -> tuple[TrialRecord, ...]:
        """The trials with results."""
        return tuple(trial for trial in self.trials if trial.state == "done")

    @property
    def steps(self) -> str:
        """Steps of the main stage of each trial, such as ``6000``, or ``5000–6000`` where they differ."""
        return _range({int(trial.component("training").get("steps", 0)) for trial in self.trials})

    @property
    def total_steps(self) -> str:
        """Steps of all stages together, as trained; those of the main stage where no trial is done."""
        return _range({int(trial.section("training").get("steps") or 0) for trial in self.done}) or self.steps

    @property
    def num_steps(self) -> int | None:
        """:attr:`total_steps` as a number; None where trials differ or it is not known."""
        return int(self.total_steps) or None if self.total_steps.isdecimal() else None


def _range(numbers: Collection[int]) -> str:
    ends = {min(numbers): None, max(numbers): None} if numbers else {}
    return "–".join(str(number) for number in ends)


@dataclass(frozen=True)
class Group:
    """The trials of one table."""

    setting: Setting
    title: str
    columns: tuple[Column, ...]


def show(value: Any) -> str:
    """A parameter's value as short text.

    >>> [show(value) for value in (0.001, 50.0, None, True, "joint", [1, 2])]
    ['0.001', '50', 'none', 'true', 'joint', '[1,2]']
    """
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), sort_keys=True)


def flatten(params: Mapping[str, Any], prefix: str = "") -> tuple[tuple[str, str], ...]:
    """Parameters as (name, text) pairs; nested ones with dots.

    >>> flatten({"lambda": 50.0, "flow": {"depth": 6}})
    (('lambda', '50'), ('flow.depth', '6'))
    """
    pairs: list[tuple[str, str]] = []
    for key, value in params.items():
        if isinstance(value, Mapping):
            pairs += flatten(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", show(value)))
    return tuple(pairs)


def differing(items: Sequence[Mapping[str, str]]) -> list[str]:
    """For each item, the entries in which the items differ, as few as in the labels of trials.

    >>> differing([{"lambda": "50", "gamma": "1"}, {"lambda": "50", "gamma": "50"}])
    ['gamma=1', 'gamma=50']
    """
    telling = labels.differing(items, unset=show(None), depth=0)
    return [" ".join(f"{name}={value}" for name, value in each.items()) for each in telling]


def group_trials(trials: Iterable[TrialRecord]) -> list[Group]:
    """The tables of a run, one for each setting and partition, in the order of the trials.

    Trials without a readable spec are in no table.
    """
    by_setting: dict[Setting, list[TrialRecord]] = defaultdict(list)
    for trial in trials:
        if trial.spec:
            for partition in _partitions(trial):
                by_setting[setting_of(trial, partition)].append(trial)
    settings = {setting: members for key, group in by_setting.items() for setting, members in _budgets(key, group)}
    titles = _titles(list(settings))
    return [Group(setting, titles[setting], _columns(members)) for setting, members in settings.items()]


def _partitions(trial: TrialRecord) -> list[str]:
    """The partitions on which the trial was scored; ``test`` before it has scores."""
    return list(trial.partitions or ("test",))


def with_every_field(trial: TrialRecord) -> TrialRecord:
    """A trial whose parts have all their settings: canonical specs leave out later ones at their defaults.

    These come last. A part that is not installed, or whose settings this version refuses, is as it was stored.
    """

    def whole(stored: Mapping[str, Any], every: Mapping[str, Any]) -> dict[str, Any]:
        return {key: every.get(key, value) for key, value in stored.items()} | dict(every)

    spec = dict(trial.spec)
    for kind, registry in (("dataset", datasets), ("backbone", backbones), ("objective", objectives)):
        part = registry.find(str(trial.component(kind).get("name")))
        if part is not None:
            with suppress(BenchmarkError):
                spec[kind] = whole(trial.component(kind), part.parse(spec[kind]).every_field())
    with suppress(BenchmarkError):
        training = trial.component("training")
        spec["training"] = whole(training, TrainingSpec.parse(training).every_field())
    return replace(trial, spec=spec)


def setting_of(trial: TrialRecord, partition: str) -> Setting:
    """The setting of the table that a trial belongs to."""
    dataset, training = trial.component("dataset"), trial.component("training")
    own = ("name", "source", "split", "split_seed")
    return Setting(
        dataset=str(dataset.get("name")),
        source=str(dataset.get("source")),
        split=str(dataset.get("split")),
        split_seed=dataset.get("split_seed"),
        partition=partition,
        dataset_params=flatten({key: value for key, value in dataset.items() if key not in own}),
        backbone=str(trial.component("backbone").get("name")),
        backbone_params=flatten(trial.parameters("backbone")),
        training_params=flatten({key: value for key, value in training.items() if key != "steps"}),
    )


def _budgets(setting: Setting, trials: list[TrialRecord]) -> list[tuple[Setting, list[TrialRecord]]]:
    """Splits by steps where one objective has several budgets."""
    by_steps: dict[int, list[TrialRecord]] = defaultdict(list)
    budgets: dict[object, set[int]] = defaultdict(set)
    for trial in trials:
        steps = int(trial.component("training").get("steps", 0))
        by_steps[steps].append(trial)
        budgets[_variant(trial)].add(steps)
    if max(map(len, budgets.values())) == 1:
        return [(setting, trials)]
    return [(replace(setting, steps=steps), members) for steps, members in sorted(by_steps.items())]


def _variant(trial: TrialRecord) -> tuple[str, tuple[tuple[str, str], ...]]:
    return trial.objective, flatten(trial.parameters("objective"))


def _columns(trials: list[TrialRecord]) -> tuple[Column, ...]:
    variants: dict[tuple[str, tuple[tuple[str, str], ...]], list[TrialRecord]] = defaultdict(list)
    for trial in trials:
        variants[_variant(trial)].append(trial)
    columns = []
    for objective in dict.fromkeys(name for name, _ in variants):
        same = [params for name, params in variants if name == objective]
        for params, extra in zip(same, differing([dict(params) for params in same]), strict=True):
            members = sorted(variants[objective, params], key=lambda trial: trial.spec.get("seed", 0))
            columns.append(Column(f"{objective} {extra}".strip(), objective, params, tuple(members)))
    return tuple(columns)


def _titles(settings: list[Setting]) -> dict[Setting, str]:
    """A title for each setting, different from all others."""
    titles: dict[Setting, str] = {}
    alike: dict[tuple[str, ...], list[Setting]] = defaultdict(list)
    for setting in settings:
        alike[*setting.world, setting.split].append(setting)
    num_partitions = len({setting.partition for setting in settings})
    for common, members in alike.items():
        for setting, extra in zip(members, differing([member.flat() for member in members]), strict=True):
            parts = [*common, extra, setting.partition if num_partitions > 1 else ""]
            titles[setting] = " · ".join(part for part in parts if part)
    return titles
