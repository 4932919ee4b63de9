"""Conditions on trials, used by ``exclude`` and ``--where``: ``objective: telbo``, ``dataset.split: comp``.

A path is the kind of a part, which means its name, or the kind followed by one of its keys. Anything misspelt is an
error: a condition that can never hold would be ignored silently.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..base.errors import ConfigError, Location, Problem, nearest, unknown
from .base import ComponentSpec, Spec, problems_of
from .components import backbones, datasets, objectives
from .overrides import parse_assignment
from .registry import Registry
from .trial import TrialSpec

KINDS = ("dataset", "backbone", "objective", "training", "seed")
"""The parts of a trial, in the order in which a grid is expanded."""

Part = Spec | int
Parts = Mapping[str, Sequence[Part]]
"""The parts of a grid, by kind."""

_ABSENT = object()
_REGISTRIES: Mapping[str, Registry[Any]] = {"dataset": datasets, "backbone": backbones, "objective": objectives}


@dataclass(frozen=True)
class Condition:
    """A path and the value that it must have, checked against the parts of a grid."""

    path: str
    value: Any

    @property
    def kind(self) -> str:
        """The kind of part that the condition is about."""
        return self.path.partition(".")[0]

    def holds(self, part: Part) -> bool:
        """Whether ``part``, of the condition's kind, has the value. A part without the key does not."""
        return _same(value_at(part, self.path), self.value)


def value_at(part: Part, path: str) -> Any:
    """The plain JSON value of ``path`` in ``part``."""
    if isinstance(part, int):
        return part
    keys = path.split(".")[1:] or ["name"]
    value: Any = part.every_field()
    for key in keys:
        value = value.get(key, _ABSENT) if isinstance(value, dict) else _ABSENT
    return value


def condition(path: str, value: object, parts: Parts, *, location: Location = ()) -> Condition:
    """Checks a path and a value against the parts of a grid.

    Raises:
        ConfigError: if no part has the path, or none could have the value; with the choices.
    """
    kind, _, field = path.partition(".")
    paths = list(_paths(parts))
    if path not in paths:
        problem = unknown("path", path, paths, location)
        choices = tuple(known for known in paths if known.partition(".")[0] == kind) or KINDS
        raise ConfigError([replace(problem, choices=choices)])
    if kind in _REGISTRIES and field in ("", "name"):
        registry = _REGISTRIES[kind]
        if value not in registry.names():
            raise ConfigError([unknown(kind, value, registry.names(), location)])
        return Condition(path, value)
    owners = [part for part in parts[kind] if value_at(part, path) is not _ABSENT]
    problems: list[Problem] = []
    for owner in owners:
        try:
            return Condition(path, _normalised(owner, field, value))
        except ValidationError as error:
            problems = problems or problems_of(error, location)
    # A union gives one problem per member; the first is enough.
    raise ConfigError([Problem(problems[0].message, location, repr(value), problems[0].choices, problems[0].near)])


def conditions(given: Mapping[str, object], parts: Parts, *, location: Location = ()) -> tuple[Condition, ...]:
    """Every condition of a mapping; raises ConfigError with the problems of all of them."""
    found: list[Condition] = []
    problems: list[Problem] = []
    for path, value in given.items():
        try:
            found.append(condition(path, value, parts, location=(*location, path)))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return tuple(found)


def _paths(parts: Parts) -> Iterator[str]:
    """Every path that some part has, each once."""
    seen: dict[str, None] = {}
    for kind in KINDS:
        for part in parts[kind]:
            if not isinstance(part, Spec):
                seen[kind] = None
                continue
            if isinstance(part, ComponentSpec):
                seen[kind] = None
            seen |= dict.fromkeys(f"{kind}.{key}" for key in _keys(part.every_field()))
    yield from seen


def _keys(value: Mapping[str, Any]) -> Iterator[str]:
    for key, item in value.items():
        yield key
        if isinstance(item, Mapping):
            yield from (f"{key}.{inner}" for inner in _keys(item))


def _normalised(part: Part, field: str, value: object) -> Any:
    """The value as a part would store it: 1e-3 given as text is a number, and so on."""
    if isinstance(part, int):
        return TypeAdapter(int).validate_python(value, strict=True)
    for name, info in type(part).model_fields.items():
        if field in (name, info.alias):
            adapter: TypeAdapter[Any] = TypeAdapter(info.rebuild_annotation())
            return adapter.dump_python(adapter.validate_python(value), mode="json")
    return value


def _same(left: object, right: object) -> bool:
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def values(parts: Iterable[Part], path: str) -> list[Any]:
    """The distinct values of parts at a path, in order."""
    found: list[Any] = []
    for part in parts:
        value = value_at(part, path)
        if value is not _ABSENT and not any(_same(value, other) for other in found):
            found.append(value)
    return found


def matching(trials: Sequence[TrialSpec], where: Sequence[str], *, whole: str = "the grid") -> list[TrialSpec]:
    """The trials that meet the conditions; see :func:`mmvae_bench.specs.grid.expand`.

    Args:
        trials: At least one.
        where: Conditions.
        whole: What the trials belong to, for messages.
    """
    parts = {kind: _distinct(getattr(trial, kind) for trial in trials) for kind in KINDS}
    alternatives = _alternatives(where, parts, whole)
    fulfilled = {
        path: {id(part) for part in parts[path.partition(".")[0]] if any(item.holds(part) for item in items)}
        for path, items in alternatives.items()
    }
    kept = [
        trial
        for trial in trials
        if all(id(getattr(trial, path.partition(".")[0])) in good for path, good in fulfilled.items())
    ]
    if not kept:
        there = "; ".join(f"{path}: {', '.join(map(str, _there(parts, path)))}" for path in alternatives)
        several = len(trials) > 1
        which = f"none of the {len(trials)} trials of {whole} has" if several else f"the one trial of {whole} lacks"
        message = f"{which} {' and '.join(where)} (existing values: {there})"
        raise ConfigError(message, "--where")
    return kept


def _alternatives(wanted: Iterable[str], parts: dict[str, list[Part]], whole: str) -> dict[str, list[Condition]]:
    """The conditions by path, each of which some trial of the grid meets."""
    found: dict[str, list[Condition]] = {}
    problems: list[Problem] = []
    for text in wanted:
        try:
            keys, value = parse_assignment(text)
            item = condition(".".join(keys), value, parts)
        except ConfigError as error:
            problems += (replace(problem, location=(text,)) for problem in error.problems)
            continue
        if not any(item.holds(part) for part in parts[item.kind]):
            there = tuple(map(str, _there(parts, item.path)))
            message = f"no trial of {whole} has this {item.path}"
            problems.append(Problem(message, (text,), None, there, nearest(value, there)))
        found.setdefault(item.path, []).append(item)
    if problems:
        raise ConfigError(problems, "--where")
    return found


def _there(parts: dict[str, list[Part]], path: str) -> Sequence[object]:
    return values(parts[path.partition(".")[0]], path)


def _distinct(parts: Iterable[Part]) -> list[Part]:
    """The parts, each object once: trials share theirs."""
    return list({id(part): part for part in parts}.values())
