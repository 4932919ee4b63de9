"""Which checks are made of which parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from ..base.errors import ConfigError, Problem, unknown
from ..specs.base import ComponentSpec
from ..specs.components import (
    BackboneSpec,
    ClassifierSpec,
    DatasetSpec,
    ObjectiveSpec,
    QuestionSpec,
    backbones,
    classifiers,
    datasets,
    objectives,
    questions,
)
from ..specs.registry import Registry

KINDS: tuple[Registry[Any], ...] = (objectives, backbones, datasets, classifiers, questions)


@dataclass(frozen=True)
class Case:
    """One check of one part.

    Attributes:
        spec: The part.
        check: Raises AssertionError with what the part breaks.
    """

    spec: ComponentSpec
    check: Callable[[Any], None]

    @property
    def label(self) -> str:
        """The test's name: the part and what is claimed of it."""
        return f"{getattr(self.spec, 'name', 'part')}-{self.check.__name__}"


def asked_parts(asked: Sequence[str]) -> list[ComponentSpec]:
    """The specs of ``--part``, or without any those of every part of another package.

    Raises:
        ConfigError: a part is unknown, or its settings are not valid.
    """
    if not asked:
        return [kind.parse(name) for kind in KINDS for name in kind.names() if name not in kind.built_in()]
    return [part for text in asked for part in _parts(text)]


def _parts(text: str) -> list[ComponentSpec]:
    """The part of a text; parts of several kinds may have one name: all that can have these settings."""
    try:
        given = yaml.safe_load(text)
    except yaml.YAMLError:
        given = text
    name = given.get("name") if isinstance(given, dict) else given
    found: list[ComponentSpec] = []
    problems: list[Problem] = []
    for kind in KINDS:
        if name in kind:
            try:
                found.append(kind.parse(given))
            except ConfigError as error:
                problems += error.problems
    if found:
        return found
    if problems:
        raise ConfigError([replace(each, location=(f"--part {name}", *each.location)) for each in problems])
    names = [each for kind in KINDS for each in kind.names()]
    raise ConfigError([unknown("objective, backbone or dataset", str(name), names, ("--part",))])


def cases(specs: Sequence[ComponentSpec]) -> Iterator[Case]:
    """Every check of every part."""
    from . import classifiers as of_classifiers
    from . import data, models
    from . import questions as of_questions
    from . import specs as of_specs

    for spec in specs:
        checks = list(of_specs.CHECKS)
        if getattr(spec, "domain", "images") != "images":
            checks.append(of_specs.is_for_images)
        elif isinstance(spec, ObjectiveSpec | BackboneSpec):
            checks += models.CHECKS
        elif isinstance(spec, DatasetSpec):
            checks += data.CHECKS
        elif isinstance(spec, ClassifierSpec):
            checks += of_classifiers.CHECKS
        elif isinstance(spec, QuestionSpec):
            checks += of_questions.CHECKS
        yield from (Case(spec, check) for check in checks)
