"""One trial's spec from a file and the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..base.errors import ConfigError, Problem
from .overrides import Path as Keys
from .overrides import apply_settings, leaves, parse_assignment, parse_json
from .trial import TrialSpec
from .yaml_source import YamlDocument, read_yaml

COMMAND_LINE = "command line"
AGENT = "W&B config"


def load_trial(
    path: Path | None = None,
    *,
    json_settings: str | None = None,
    assignments: Iterable[str] = (),
    evaluation: Mapping[str, Any] | None = None,
    agent: Mapping[str, Any] | None = None,
) -> TrialSpec:
    """Reads a trial's spec, puts settings in, and checks it.

    Args:
        path: YAML or JSON file with a spec; None: everything comes from the settings.
        json_settings: A JSON object whose keys are dotted paths (``--set-json``).
        assignments: ``key.key=value`` each (``--set``); they win over ``json_settings``.
        evaluation: What is asked where neither file nor settings say.
        agent: What a sweep agent has chosen, keys dotted or nested: it wins over all others, value by value.

    Raises:
        ConfigError: with every problem; those of the file with their line.
    """
    document = read_yaml(path) if path is not None else YamlDocument({}, COMMAND_LINE)
    value = {} if document.value is None else document.value
    if not isinstance(value, Mapping) or document.problems:
        no_mapping = Problem("expected a mapping of keys to values", value=repr(value)[:120])
        raise document.error([] if document.problems else [no_mapping])
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
    """The problems with their lines in the file, or saying who has set the value."""
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
