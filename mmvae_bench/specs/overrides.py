"""Settings from the command line, and a trial's spec with settings applied.

A setting is ``objective.alpha=0.5``, or an entry of a JSON object with dotted keys, as sweep agents pass them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..base import files
from ..base.errors import ConfigError, Problem, format_location
from .trial import TrialSpec
from .yaml_source import YamlDocument, check_kind, parse_yaml, read_yaml

Keys = tuple[str, ...]
"""The path of a setting: ``("objective", "alpha")``."""
COMMAND_LINE = "command line"
AGENT = "W&B config"
MAX_KEYS = 16
"""The maximum number of keys in one path: more than any setting has, and few enough to recurse into."""


def load_trial(
    path: Path | None = None,
    *,
    json_settings: str | None = None,
    assignments: Iterable[str] = (),
    evaluation: Mapping[str, Any] | None = None,
    agent: Mapping[str, Any] | None = None,
) -> TrialSpec:
    """Reads a trial's spec, applies settings, and validates it.

    Args:
        path: YAML or JSON file with a spec; None: everything comes from the settings.
        json_settings: A JSON object whose keys are dotted paths (``--set-json``).
        assignments: ``key.key=value`` each (``--set``); they override ``json_settings``.
        evaluation: Used if neither file nor settings have any evaluation settings.
        agent: The choices of a sweep agent, keys dotted or nested; they override all others, value by value.

    Raises:
        ConfigError: with every problem; those of the file with their line.
    """
    document = read_yaml(path) if path is not None else YamlDocument({}, COMMAND_LINE)
    value = {} if document.value is None else document.value
    if not isinstance(value, Mapping) or document.problems:
        no_mapping = Problem("expected a mapping of keys to values", value=repr(value)[:120])
        raise document.error([] if document.problems else [no_mapping])
    check_kind(document, "trial")
    settings = _settings(json_settings, assignments)
    chosen = list(leaves(agent or {}))
    try:
        merged = apply_settings(apply_settings(value, settings), chosen)
        if evaluation is not None:
            merged = {"evaluation": dict(evaluation), **merged}
        return TrialSpec.parse(merged)
    except ConfigError as error:
        givers = {keys: COMMAND_LINE for keys, _ in settings} | {keys: AGENT for keys, _ in chosen}
        raise _explained(error, document, givers, agent is not None) from None


def parse_assignment(text: str) -> tuple[Keys, Any]:
    """The path of keys and the value of ``key.key=value``; the value is YAML on one line.

    >>> parse_assignment("objective.alpha=0.5")
    (('objective', 'alpha'), 0.5)
    >>> parse_assignment("levels=[1, 2]")
    (('levels',), [1, 2])

    Raises:
        ConfigError: if the equals sign, a key or the value is missing, or the value is not YAML.
    """
    name, equals, written = text.partition("=")
    if not equals:
        raise ConfigError([Problem("expected key=value, such as training.steps=1000", value=repr(text))])
    path = _path(name)
    if not written.strip():
        raise ConfigError([Problem("no value after the equals sign; write null for none, '' for empty text", path)])
    try:
        document = parse_yaml(written.strip(), source=name)
    except ConfigError as error:
        raise ConfigError([Problem(problem.message, path, repr(written)) for problem in error.problems]) from None
    if document.problems:
        raise ConfigError([Problem(problem.message, path, repr(written)) for problem in document.problems])
    return path, document.value


def parse_json(text: str, *, source: str = "--set-json") -> list[tuple[Keys, Any]]:
    """The settings in a JSON object whose keys are dotted paths.

    >>> parse_json('{"objective": "jmvae", "objective.alpha": 0.5}')
    [(('objective',), 'jmvae'), (('objective', 'alpha'), 0.5)]

    Raises:
        ConfigError: if the text is not JSON, not an object, nested too deeply, or has a duplicate key.
    """
    try:
        files.parse_json(text)  # Refuses what is nested too deeply to be read again, and numbers that are none.
        pairs = json.loads(text, object_pairs_hook=_Pairs)
    except ValueError as error:  # Including whole numbers with more digits than Python reads.
        raise ConfigError(f"not valid JSON: {error}; given: {text[:120]!r}", source) from None
    if not isinstance(pairs, _Pairs):
        raise ConfigError(f"expected a JSON object of settings, given: {text[:120]!r}", source)
    try:
        return [(_path(key), value) for key, value in _plain(pairs).items()]
    except ConfigError as error:
        raise ConfigError(error.problems, source) from None


def apply_assignments(mapping: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """A copy of a nested mapping with settings applied; a part given by its bare name becomes a mapping with that name.

    >>> apply_assignments({"objective": "jmvae", "seed": 0}, ["objective.alpha=0.5"])
    {'objective': {'name': 'jmvae', 'alpha': 0.5}, 'seed': 0}

    Raises:
        ConfigError: with every assignment that cannot be parsed, goes through a value without keys, or is given twice.
    """
    settings: list[tuple[Keys, Any]] = []
    problems: list[Problem] = []
    for text in assignments:
        try:
            settings.append(parse_assignment(text))
        except ConfigError as error:
            problems += error.problems
    try:
        result = apply_settings(mapping, settings)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems, "--set")
    return result


def apply_settings(mapping: Mapping[str, Any], settings: Iterable[tuple[Keys, Any]]) -> dict[str, Any]:
    """:func:`apply_assignments` for settings that are parsed already.

    A whole part is set before its keys, whatever the order in which they are given.

    Raises:
        ConfigError: with every setting that goes through a value without keys, is too deep, or is given twice.
    """
    result: dict[str, Any] = _copy(mapping)
    problems: list[Problem] = []
    seen: set[Keys] = set()
    for path, value in sorted(settings, key=lambda setting: len(setting[0])):
        if len(path) > MAX_KEYS:
            problems.append(
                Problem(f"no setting is more than {MAX_KEYS} keys deep", path[:MAX_KEYS], f"{len(path)} keys")
            )
        elif path in seen:
            problems.append(Problem("set twice; one of the two would be ignored", path, repr(value)))
        elif (problem := _put(result, path, value)) is not None:
            problems.append(problem)
        seen.add(path)
    if problems:
        raise ConfigError(problems)
    return result


def leaves(settings: Mapping[str, Any], above: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """The path and the value of each setting of a mapping, whether its keys are nested or dotted.

    >>> list(leaves({"objective": {"name": "telbo"}, "training.steps": 5}))
    [(('objective', 'name'), 'telbo'), (('training', 'steps'), 5)]
    """
    for key, value in settings.items():
        path = above + tuple(key.split("."))
        if isinstance(value, Mapping) and value:
            yield from leaves(value, path)
        else:
            yield path, value


class _Pairs(list[tuple[str, Any]]):
    """A JSON object before it is checked for duplicate keys."""


def _plain(value: Any) -> Any:
    if isinstance(value, _Pairs):
        keys = [key for key, _ in value]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ConfigError([Problem("duplicate key", (key,)) for key in twice])
        return {key: _plain(item) for key, item in value}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _path(name: str) -> Keys:
    path = tuple(part.strip() for part in name.split("."))
    if not all(path):
        raise ConfigError([Problem("expected dotted keys, such as training.steps", value=repr(name))])
    return path


def _copy(value: Any) -> Any:
    return {key: _copy(item) for key, item in value.items()} if isinstance(value, Mapping) else value


def _put(target: dict[str, Any], path: Keys, value: Any) -> Problem | None:
    for depth, key in enumerate(path[:-1], start=1):
        inner = target.get(key)
        if inner is None or isinstance(inner, str):
            inner = target[key] = {} if inner is None else {"name": inner}
        if not isinstance(inner, dict):
            return Problem(f"{format_location(path[:depth])} is a plain value and has no keys", path, repr(inner))
        target = inner
    target[path[-1]] = _copy(value)
    return None


def _settings(json_settings: str | None, assignments: Iterable[str]) -> list[tuple[Keys, Any]]:
    found = dict(parse_json(json_settings)) if json_settings is not None else {}
    single: dict[Keys, Any] = {}
    problems: list[Problem] = []
    for text in assignments:
        try:
            keys, value = parse_assignment(text)
        except ConfigError as error:
            problems += error.problems
            continue
        if keys in single:
            problems.append(Problem("set twice; one of the two would be ignored", keys, repr(value)))
        single[keys] = value
    if problems:
        raise ConfigError(problems, "--set")
    return list((found | single).items())


def _explained(
    error: ConfigError, document: YamlDocument, givers: Mapping[Keys, str], under_agent: bool
) -> ConfigError:
    """The problems with their lines in the file, or with a note on who set the value."""
    without_file = document.source == COMMAND_LINE
    source = AGENT if without_file and under_agent else document.source
    located = []
    for problem in error.problems:
        setters = [who for keys, who in givers.items() if problem.location[: len(keys)] == keys]
        if setters and setters[-1] != source:
            located.append(replace(problem, message=f"{problem.message} (set {_BY[setters[-1]]})"))
        else:
            located.append(problem if without_file else document.locate(problem))
    return ConfigError(located, source)


_BY = {COMMAND_LINE: f"on the {COMMAND_LINE}", AGENT: f"by the {AGENT}"}
