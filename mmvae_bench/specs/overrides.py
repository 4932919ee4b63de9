"""Settings of the command line: ``objective.alpha=0.5``, or JSON with dotted keys, as sweep agents give them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..base.errors import ConfigError, Problem, format_location
from .yaml_source import parse_yaml

Path = tuple[str, ...]
MAX_KEYS = 16
"""Of one path: more than any setting has, and few enough to walk through one within the other."""


def parse_assignment(text: str) -> tuple[Path, Any]:
    """The path of keys and the value of ``key.key=value``; the value is YAML on one line.

    >>> parse_assignment("objective.alpha=0.5")
    (('objective', 'alpha'), 0.5)
    >>> parse_assignment("levels=[1, 2]")
    (('levels',), [1, 2])

    Raises:
        ConfigError: where the equals sign, a key or the value is missing, or the value is not YAML.
    """
    name, equals, written = text.partition("=")
    if not equals:
        raise ConfigError([Problem("expected key=value, such as training.steps=1000", value=repr(text))])
    path = _path(name)
    if not written.strip():
        raise ConfigError([Problem("no value after the equals sign; write null for none, '' for an empty text", path)])
    try:
        document = parse_yaml(written.strip(), source=name)
    except ConfigError as error:
        raise ConfigError([Problem(problem.message, path, repr(written)) for problem in error.problems]) from None
    if document.problems:
        raise ConfigError([Problem(problem.message, path, repr(written)) for problem in document.problems])
    return path, document.value


def parse_json(text: str, *, source: str = "--set-json") -> list[tuple[Path, Any]]:
    """The settings in a JSON object whose keys are dotted paths.

    >>> parse_json('{"objective": "jmvae", "objective.alpha": 0.5}')
    [(('objective',), 'jmvae'), (('objective', 'alpha'), 0.5)]

    Raises:
        ConfigError: where the text is not JSON, not an object, or has a key twice.
    """
    try:
        pairs = json.loads(text, object_pairs_hook=_Pairs)
    except ValueError as error:  # Among them a whole number of more digits than Python reads.
        raise ConfigError(f"not valid JSON: {error}; given: {text[:120]!r}", source) from None
    except RecursionError:
        raise ConfigError("not usable JSON: nested too deeply", source) from None
    if not isinstance(pairs, _Pairs):
        raise ConfigError(f"expected a JSON object of settings, given: {text[:120]!r}", source)
    try:
        return [(_path(key), value) for key, value in _plain(pairs).items()]
    except ConfigError as error:
        raise ConfigError(error.problems, source) from None


def apply_assignments(mapping: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """A copy of a nested mapping with settings put in; a part given by its bare name becomes a mapping with that name.

    >>> apply_assignments({"objective": "jmvae", "seed": 0}, ["objective.alpha=0.5"])
    {'objective': {'name': 'jmvae', 'alpha': 0.5}, 'seed': 0}

    Raises:
        ConfigError: with every assignment that cannot be read, goes through a value without keys, or is given twice.
    """
    settings: list[tuple[Path, Any]] = []
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


def apply_settings(mapping: Mapping[str, Any], settings: Iterable[tuple[Path, Any]]) -> dict[str, Any]:
    """:func:`apply_assignments` for settings that are parsed already.

    A whole part is put in before its keys, whatever the order in which they are given.

    Raises:
        ConfigError: with every setting that goes through a value without keys, lies too deep, or is given twice.
    """
    result: dict[str, Any] = _copy(mapping)
    problems: list[Problem] = []
    seen: set[Path] = set()
    for path, value in sorted(settings, key=lambda setting: len(setting[0])):
        if len(path) > MAX_KEYS:
            problems.append(
                Problem(f"no setting lies deeper than {MAX_KEYS} keys", path[:MAX_KEYS], f"{len(path)} keys")
            )
        elif path in seen:
            problems.append(Problem("set twice; one of the two would be ignored", path, repr(value)))
        elif (problem := _put(result, path, value)) is not None:
            problems.append(problem)
        seen.add(path)
    if problems:
        raise ConfigError(problems)
    return result


def leaves(settings: Mapping[str, Any], above: Path = ()) -> Iterator[tuple[Path, Any]]:
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
    """A JSON object, before it is known that no key stands in it twice."""


def _plain(value: Any) -> Any:
    if isinstance(value, _Pairs):
        keys = [key for key, _ in value]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ConfigError([Problem("key given twice", (key,)) for key in twice])
        return {key: _plain(item) for key, item in value}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _path(name: str) -> Path:
    path = tuple(part.strip() for part in name.split("."))
    if not all(path):
        raise ConfigError([Problem("expected keys with dots between, such as training.steps", value=repr(name))])
    return path


def _copy(value: Any) -> Any:
    return {key: _copy(item) for key, item in value.items()} if isinstance(value, Mapping) else value


def _put(target: dict[str, Any], path: Path, value: Any) -> Problem | None:
    for depth, key in enumerate(path[:-1], start=1):
        inner = target.get(key)
        if inner is None or isinstance(inner, str):
            inner = target[key] = {} if inner is None else {"name": inner}
        if not isinstance(inner, dict):
            return Problem(f"{format_location(path[:depth])} is a plain value without keys", path, repr(inner))
        target = inner
    target[path[-1]] = _copy(value)
    return None
