"""The W&B sweep file, read without a server: its trials under the methods ``grid`` and ``random``.

A trial is what an agent would train for the same parameters: the settings of ``command``, then the parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count as count_from
from itertools import islice, product
from pathlib import Path
from typing import Any

from ..base.errors import ConfigError, Problem, nearest, unknown
from .overrides import apply_settings, leaves, parse_assignment
from .sweep_command import SweepCommand, read_command
from .sweep_parameters import COUNTABLE, Choice, Parameter, read_parameters, size_of
from .trial import TrialSpec
from .yaml_source import YamlDocument, read_yaml

KEYS = (
    "program", "entity", "project", "name", "description", "method", "metric", "parameters", "early_terminate",
    "command", "run_cap",
)  # fmt: skip
"""What a sweep file has at its top."""
METHODS = ("grid", "random")
"""The methods that need no server."""
MAX_TRIALS = 100_000
"""A grid of more trials is refused, unless run_cap or --count take the first ones."""


@dataclass(frozen=True)
class SweepFile:
    """A sweep file, expanded.

    Attributes:
        text: Of the file.
        method: grid or random.
        trials: Each once, in the order of the grid or of the draws.
        num_drawn: How many combinations were taken; more than there are trials where draws are equal.
    """

    text: str
    method: str
    trials: tuple[TrialSpec, ...]
    num_drawn: int


def load_sweep(path: Path, *, count: int | None = None) -> SweepFile:
    """Reads and checks a sweep file, and gives its trials.

    Draw ``i`` depends on ``i`` and on the parameter alone, so that a larger count begins with the trials of a smaller.

    Args:
        path: The file.
        count: At most so many combinations; None: as ``run_cap`` says.

    Raises:
        ConfigError: with every problem of the file at once, each with its line.
    """
    document = read_yaml(path)
    given = document.value
    if not isinstance(given, Mapping):
        message = "expected a sweep: a mapping with method, parameters and command"
        raise document.error([] if document.problems else [Problem(message, (), repr(given)[:120])])
    problems = _top_problems(given)
    parameters, found = _parameters(given)
    problems += found
    base = None
    try:
        base = _Base.of(read_command(given.get("command")))
    except ConfigError as error:
        problems += (replace(problem, location=("command", *problem.location)) for problem in error.problems)
    method, cap = given.get("method"), count if count is not None else given.get("run_cap")
    problems += _method_problems(method, parameters, cap)
    if base is not None and parameters:
        # A parameter that could not be read is missing to the others: that is the same problem.
        unread = bool(found)
        _, found = _trials(base, parameters, _ends(parameters))
        problems += (each for each in found if not (unread and each.message.startswith("required key")))
    if problems or document.problems or base is None:
        raise document.error(list(dict.fromkeys(problems)))
    combinations = _grid(parameters, cap) if method == "grid" else _draws(parameters)
    taken = list(islice(combinations, cap))
    trials, found = _trials(base, parameters, taken)
    if found:
        raise document.error(found)
    return SweepFile(path.read_text(), str(method), trials, len(taken))


@dataclass(frozen=True)
class _Base:
    """The settings that no parameter varies."""

    document: YamlDocument
    settings: Sequence[tuple[tuple[str, ...], Any]]

    @classmethod
    def of(cls, command: SweepCommand) -> _Base:
        document = YamlDocument({}, "") if command.spec is None else read_yaml(Path(command.spec))
        if not isinstance(document.value, Mapping) or document.problems:
            raise document.error([] if document.problems else [Problem("expected a mapping of keys to values")])
        return cls(document, [parse_assignment(text) for text in command.assignments])

    def trial(self, parameters: Sequence[Parameter], choices: Sequence[Choice]) -> TrialSpec:
        """What an agent would train: the parameters as ``--set-json``, then ``--set``, then the parameters again."""
        arguments: dict[str, Any] = {}
        for parameter, (value, _) in zip(parameters, choices, strict=True):
            inner = arguments
            for name in parameter.place[:-1]:
                inner = inner.setdefault(name, {})
            inner[parameter.place[-1]] = value
        said = {tuple(key.split(".")): value for key, value in arguments.items()} | dict(self.settings)
        return TrialSpec.parse(apply_settings(apply_settings(self.document.value, said.items()), leaves(arguments)))

    def located(
        self, problems: Iterable[Problem], parameters: Sequence[Parameter], choices: Sequence[Choice]
    ) -> Iterator[Problem]:
        """The problems of a trial, each where the sweep file has the parameter that made it."""
        for problem in problems:
            keys = problem.location
            of = [i for i, parameter in enumerate(parameters) if keys[: len(parameter.keys)] == parameter.keys]
            of += [i for i, parameter in enumerate(parameters) if parameter.keys[: len(keys)] == keys and keys]
            if of:
                parameter, (value, location) = parameters[of[0]], choices[of[0]]
                # That a key is unknown holds for all of its values.
                is_key = problem.message.startswith(("unknown key", "required key"))
                shown = problem.value if problem.value is not None or is_key else repr(value)[:120]
                yield replace(problem, location=parameter.location if is_key else location, value=shown)
            elif self.document.source:
                yield replace(problem, message=f"{problem.message} (in {self.document.source})", location=keys)
            else:
                yield replace(problem, location=("parameters", *keys))


def _trials(
    base: _Base, parameters: Sequence[Parameter], combinations: Iterable[Sequence[Choice]]
) -> tuple[tuple[TrialSpec, ...], list[Problem]]:
    """The trials of combinations, each once, and everything that is wrong with some."""
    trials: dict[str, TrialSpec] = {}
    problems: dict[Problem, None] = {}
    for choices in combinations:
        try:
            trial = base.trial(parameters, choices)
        except ConfigError as error:
            problems |= dict.fromkeys(base.located(error.problems, parameters, choices))
        else:
            trials.setdefault(trial.key, trial)
    return tuple(trials.values()), list(problems)


def _ends(parameters: Sequence[Parameter]) -> Iterator[tuple[Choice, ...]]:
    """Each value and each end of a range once, beside the first one of the other parameters."""
    first = tuple(parameter.ends()[0] for parameter in parameters)
    yield first
    for index, parameter in enumerate(parameters):
        for choice in parameter.ends()[1:]:
            yield (*first[:index], choice, *first[index + 1 :])


def _grid(parameters: Sequence[Parameter], cap: int | None) -> Iterator[tuple[Choice, ...]]:
    """Every combination, in the order of the file, the last parameter fastest; at least the first ``cap`` of them."""
    return product(*(parameter.every(at_most=cap) for parameter in parameters))


def _draws(parameters: Sequence[Parameter]) -> Iterator[tuple[Choice, ...]]:
    """Combination 0, 1, 2, ... without end."""
    return (tuple(parameter.draw(index) for parameter in parameters) for index in count_from(0))


def _parameters(given: Mapping[str, Any]) -> tuple[list[Parameter], list[Problem]]:
    if "parameters" not in given:
        return [], [Problem("required key 'parameters' is missing", ("parameters",))]
    parameters = given["parameters"]
    if not isinstance(parameters, Mapping) or not parameters:
        return [], [Problem("expected a mapping of parameters", ("parameters",), repr(parameters)[:120])]
    return read_parameters(parameters)


def _top_problems(given: Mapping[str, Any]) -> list[Problem]:
    problems = [
        Problem(f"unknown key {key!r} of a sweep", (key,), None, KEYS, nearest(key, KEYS))
        for key in given
        if key not in KEYS
    ]
    if "early_terminate" in given:
        message = "early_terminate needs W&B's server, which compares running trials: leave it out"
        problems.append(Problem(message, ("early_terminate",), repr(given["early_terminate"])[:120]))
    cap = given.get("run_cap")
    if "run_cap" in given and (isinstance(cap, bool) or not isinstance(cap, int) or cap < 1):
        problems.append(Problem("expected a whole number above 0", ("run_cap",), repr(cap)[:120]))
    return problems


def _method_problems(method: object, parameters: Sequence[Parameter], cap: object) -> list[Problem]:
    if method is None:
        return [Problem("required key 'method' is missing", ("method",), choices=METHODS)]
    if method == "bayes":
        message = "method bayes needs W&B's server, which proposes the next trial from the scores so far: "
        message += "`wandb sweep FILE`, then `wandb agent SWEEP`"
        return [Problem(message, ("method",), repr(method), METHODS)]
    if method not in METHODS:
        return [unknown("method", method, METHODS, ("method",))]
    if method == "random":
        message = "method random goes on for ever: say how many trials, with run_cap in the file or --count"
        return [Problem(message, ("method",), repr(method))] if cap is None else []
    endless = [parameter for parameter in parameters if not parameter.is_countable]
    message = "method grid goes through values: list some, or take method random"
    problems = [Problem(message, (*each.location, "distribution"), each.distribution, COUNTABLE) for each in endless]
    size = 0 if endless else size_of(parameters)
    if size > MAX_TRIALS and (not isinstance(cap, int) or cap > MAX_TRIALS):
        message = f"{size:,} combinations, and more than {MAX_TRIALS:,} are not listed: take fewer values, or --count"
        problems.append(Problem(message, ("parameters",)))
    return problems
