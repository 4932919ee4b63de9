"""What trials are called where several are shown together: as briefly as tells them apart."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .base import Spec
from .trial import TrialSpec, trial_label

PARTS = ("dataset", "backbone", "objective", "training")
"""The parts of a trial in whose settings two trials with one seed can differ."""
AMBIGUOUS = ("name", "seed")
"""Keys that say nothing without their part: a label's ``seed`` is that of training."""


def trial_labels(trials: Sequence[TrialSpec | Mapping[str, Any]]) -> list[str]:
    """A label for each trial: objective, dataset, seed, and what else tells it from the others with the same ones.

    Args:
        trials: All that are shown together, as specs or in canonical form, which may be damaged.

    >>> trial_labels([{"objective": {"name": "jmvae", "alpha": alpha}, "seed": 0} for alpha in (0.1, 1)])
    ['jmvae ?/?/? seed 0 alpha=0.1', 'jmvae ?/?/? seed 0 alpha=1']
    """
    labels = [trial.label if isinstance(trial, TrialSpec) else trial_label(trial) for trial in trials]
    alike: dict[str, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        alike[label].append(index)
    seen: dict[int, dict[str, Any]] = {}
    telling: dict[int, dict[str, Any]] = {}
    for group in alike.values():
        if len(group) > 1:
            telling |= zip(group, differing([_settings(trials[index], seen) for index in group]), strict=True)
    short = _short_names({name for each in telling.values() for name in each})
    for index, each in telling.items():
        labels[index] += "".join(f" {short[name]}={shown(value)}" for name, value in each.items())
    return labels


def shown(value: Any) -> str:
    """A setting's value as short text that no other value has.

    >>> [shown(value) for value in (0.001, 50.0, 0.1234567891, None, "joint", [1, 2])]
    ['0.001', '50', '0.1234567891', 'null', 'joint', '[1,2]']
    """
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), sort_keys=True)


def _settings(trial: TrialSpec | Mapping[str, Any], seen: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """The settings of a trial by dotted path. Trials of a grid share their parts: each is written out once."""
    found: dict[str, Any] = {}
    for kind in PARTS:
        part = getattr(trial, kind) if isinstance(trial, TrialSpec) else trial.get(kind)
        if id(part) not in seen:
            plain = part.canonical() if isinstance(part, Spec) else part
            seen[id(part)] = dict(_flat(plain, kind)) if isinstance(plain, Mapping) else {}
        found |= seen[id(part)]
    return found


def differing(settings: Sequence[Mapping[str, Any]], *, unset: Any = None, depth: int = 1) -> list[dict[str, Any]]:
    """Of each trial's settings those in which the trials differ, less what is not set, and less what all trials agree
    in that have an optional section of settings: as far as each can still be told from the others.

    Args:
        settings: Of each trial, by dotted path.
        unset: The value of what is not set.
        depth: How many dots a setting that is in no section has at most.

    >>> differing([{"few.rate": 0.1, "few.number": 10}, {"few.rate": 0.1, "few.number": 20}, {}], depth=0)
    [{'few.number': 10}, {'few.number': 20}, {}]
    """
    # In an order of their own: that of a spec's fields is not that of the file it was stored in.
    names = sorted({name for each in settings for name in each}, key=_place)
    kept = [name for name in names if len(_values(name, settings)) > 1]
    found = [{name: each[name] for name in kept if name in each} for each in settings]
    brief = [{name: value for name, value in each.items() if value != unset} for each in found]
    if _number(brief) < _number(found):
        return found
    for name in sorted(kept, key=lambda name: (_is_switch(name, settings), name), reverse=True):
        if name.count(".") > depth and len(_values(name, [each for each in settings if name in each])) == 1:
            less = [{other: value for other, value in each.items() if other != name} for each in brief]
            brief = less if _number(less) == _number(brief) else brief
    return brief


def _values(name: str, settings: Sequence[Mapping[str, Any]]) -> set[str]:
    return {json.dumps([each[name]] if name in each else []) for each in settings}


def _place(name: str) -> tuple[int, bool, str]:
    """Part by part, a part's own name first; what is of no part comes first of all, in the order of its name."""
    part, _, key = name.partition(".")
    return (PARTS.index(part), key != "name", key) if part in PARTS and key else (-1, False, name)


def _is_switch(name: str, settings: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a setting is true or false, which says less than a number."""
    return all(isinstance(each[name], bool) for each in settings if name in each)


def _number(settings: Sequence[Mapping[str, Any]]) -> int:
    """How many of them are told apart."""
    return len({json.dumps(each) for each in settings})


def _flat(value: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{path}.{key}")
        else:
            yield f"{path}.{key}", item


def _short_names(paths: set[str]) -> dict[str, str]:
    """For each path its last key, or as much as no other path has; a part's name is called after the part."""
    last = Counter(path.rpartition(".")[2] for path in paths)
    return {
        path: path.removesuffix(".name") if last[key] > 1 or key in AMBIGUOUS else key
        for path in paths
        for key in [path.rpartition(".")[2]]
    }
