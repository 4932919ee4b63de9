"""W&B sweep files, read without a server: the command, the parameters, the trials of methods ``grid`` and ``random``.

A trial is what an agent would train with the same parameters: the settings of ``command``, then the parameters.
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
from .shipped import named_file
from .sweep_metrics import metric_problems
from .sweep_parameters import COUNTABLE, Choice, Parameter, read_parameters, size_of
from .trial import TrialSpec
from .yaml_source import YamlDocument, check_kind, read_yaml

TEMPLATE = ("${env}", "mmvae-bench", "train", "--wandb", "--set-json", "${args_json}")
"""The default command: every setting of a trial is a parameter."""
_STARTS = (("mmvae-bench",), ("${interpreter}", "-m", "mmvae_bench"), ("python", "-m", "mmvae_bench"))


@dataclass(frozen=True)
class SweepCommand:
    """The settings that a command gives to every trial.

    Attributes:
        spec: File with the settings that no parameter varies (``--spec``).
        assignments: Single settings (``--set``).
    """

    spec: str | None = None
    assignments: tuple[str, ...] = ()


def read_command(given: object) -> SweepCommand:
    """Reads the list of words under ``command``; None is the default command.

    Raises:
        ConfigError: if it is not ``mmvae-bench train`` with ``--set-json ${args_json}``, or has an option that is
            not supported without a server. Locations are relative to ``command``.
    """
    if given is None:
        return SweepCommand()
    if not isinstance(given, list) or not all(isinstance(word, str) for word in given):
        raise ConfigError([Problem(f"expected a list of words, such as {_shown(TEMPLATE)}", (), repr(given)[:120])])
    words = [word for word in given if word not in ("${env}", "/usr/bin/env")]
    start = next((start for start in _STARTS if tuple(words[: len(start)]) == start), None)
    if start is None or words[len(start) : len(start) + 1] != ["train"]:
        raise ConfigError([Problem(f"expected mmvae-bench train, as in {_shown(TEMPLATE)}", (), _shown(given))])
    rest, spec, assignments, has_parameters = words[len(start) + 1 :], None, [], False
    problems: list[Problem] = []
    while rest:
        word, following, rest = rest[0], rest[1:2], rest[1:]
        if word == "--wandb":
            continue
        if word in ("--set-json", "--spec", "--set") and following:
            rest = rest[1:]
            if word == "--set-json":
                has_parameters |= following == ["${args_json}"]
            elif word == "--spec":
                spec = following[0]
            else:
                assignments.append(following[0])
        if word not in ("--set-json", "--spec", "--set") or (word == "--set-json" and following != ["${args_json}"]):
            message = "without W&B's server only --wandb, --spec FILE, --set KEY=VALUE and --set-json ${args_json} work"
            problems.append(Problem(message, (given.index(word),), repr(word)))
    if not has_parameters and not problems:
        problems.append(
            Problem("the parameters do not reach the trial: add --set-json ${args_json}", (), _shown(given))
        )
    if problems:
        raise ConfigError(problems)
    return SweepCommand(spec, tuple(assignments))


def _shown(words: Sequence[str]) -> str:
    return f"[{', '.join(words)}]"


KEYS = (
    "program", "entity", "project", "name", "description", "method", "metric", "parameters", "early_terminate",
    "command", "run_cap",
)  # fmt: skip
"""The top-level keys of a sweep file."""
METHODS = ("grid", "random")
"""The methods whose trials are known beforehand."""
SEARCH = "bayes"
"""The method that chooses each trial by the scores of those before; without a server, by Optuna."""
MAX_TRIALS = 100_000
"""A larger grid is refused, unless run_cap or --count limits it to its first trials."""


GOALS = ("minimize", "maximize")
"""What a sweep may do with its metric; W&B's default is the first."""


@dataclass(frozen=True)
class SweepMetric:
    """What a sweep optimises: the name of a logged number, and whether it is minimised or maximised."""

    name: str
    goal: str = GOALS[0]


@dataclass(frozen=True)
class Search:
    """A sweep whose trials are chosen one after the other.

    Attributes:
        metric: What is optimised.
        parameters: What is varied.
        count: How many combinations are to be chosen.
    """

    metric: SweepMetric
    parameters: tuple[Parameter, ...]
    count: int
    base: _Base

    def trial(self, positions: Sequence[float]) -> TrialSpec:
        """The trial of a position of each parameter.

        Raises:
            ConfigError: no trial can have these settings together.
            ValueError: a parameter has no such position.
        """
        choices = [parameter.at(number) for parameter, number in zip(self.parameters, positions, strict=True)]
        return self.base.trial(self.parameters, choices)


@dataclass(frozen=True)
class SweepFile:
    """A sweep file, expanded.

    Attributes:
        text: The text of the file.
        method: grid or random.
        trials: Each trial once, in the order of the grid or of the draws.
        num_drawn: The number of combinations taken; more than there are trials if some draws are equal.
        search: What chooses the trials of method bayes, of which none is in ``trials`` here.
    """

    text: str
    method: str
    trials: tuple[TrialSpec, ...]
    num_drawn: int
    search: Search | None = None


def load_sweep(path: Path, *, count: int | None = None) -> SweepFile:
    """Reads and checks a sweep file, and expands it into trials.

    Draw ``i`` depends on ``i`` and the parameter only, so that a larger count begins with the trials of a smaller one.

    Args:
        path: The file, or the name of a shipped one; a file of that name goes first.
        count: Maximum number of combinations to take; None: ``run_cap``.

    Raises:
        ConfigError: with every problem of the file at once, each with its line.
    """
    if count is not None and count > MAX_TRIALS:
        raise ConfigError([_too_many(count, "--count")])
    document = read_yaml(named_file(path, kind="sweep"))
    given = document.value
    if not isinstance(given, Mapping):
        message = "expected a sweep: a mapping with method, parameters and command"
        raise document.error([] if document.problems else [Problem(message, (), repr(given)[:120])])
    check_kind(document, "sweep")
    problems = _top_problems(given)
    parameters, found = _parameters(given)
    problems += found
    base = None
    try:
        base = _Base.of(read_command(given.get("command")))
    except ConfigError as error:
        problems += (replace(problem, location=("command", *problem.location)) for problem in error.problems)
    method, cap = given.get("method"), count if count is not None else given.get("run_cap")
    problems += _method_problems(method, parameters, cap, given.get("metric"))
    if base is not None and parameters:
        # A parameter that could not be read is also reported as missing: that is the same problem.
        unread = bool(found)
        some, found = _trials(base, parameters, _ends(parameters))
        if not problems and not found and isinstance(metric := given.get("metric"), Mapping):
            problems += metric_problems(str(metric["name"]), some, of_each=method == SEARCH)
        problems += (each for each in found if not (unread and each.message.startswith("required key")))
    if problems or document.problems or base is None:
        raise document.error(list(dict.fromkeys(problems)))
    if method == SEARCH:
        metric = SweepMetric(str(given["metric"]["name"]), str(given["metric"].get("goal") or GOALS[0]))
        return SweepFile(document.text, SEARCH, (), 0, Search(metric, tuple(parameters), int(cap or 0), base))
    combinations = _grid(parameters, cap) if method == "grid" else _draws(parameters)
    taken = list(islice(combinations, cap))
    trials, found = _trials(base, parameters, taken)
    if found:
        raise document.error(found)
    return SweepFile(document.text, str(method), trials, len(taken))


def sweep_metric(path: Path) -> SweepMetric | None:
    """What a sweep file says is optimised; None if it says nothing, or is a pipe, which is read once.

    Args:
        path: A file that :func:`load_sweep` takes, or a shipped one's name.
    """
    path = named_file(path, kind="sweep")
    given = read_yaml(path).value if path.is_file() else None
    metric = given.get("metric") if isinstance(given, Mapping) else None
    if not isinstance(metric, Mapping) or _metric_problems(metric):
        return None
    return SweepMetric(str(metric["name"]), str(metric.get("goal") or GOALS[0]))


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
        """The problems of a trial, each located at the parameter of the sweep file that caused it."""
        for problem in problems:
            keys = problem.location
            of = [i for i, parameter in enumerate(parameters) if keys[: len(parameter.keys)] == parameter.keys]
            of += [i for i, parameter in enumerate(parameters) if parameter.keys[: len(keys)] == keys and keys]
            if of:
                parameter, (value, location) = parameters[of[0]], choices[of[0]]
                # An unknown key is unknown whatever its value.
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
    """The trials of the combinations, each once, and everything that is wrong with any of them."""
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
    """Each value and each end of a range once, combined with the first one of the other parameters."""
    first = tuple(parameter.ends()[0] for parameter in parameters)
    yield first
    for index, parameter in enumerate(parameters):
        for choice in parameter.ends()[1:]:
            yield (*first[:index], choice, *first[index + 1 :])


def _grid(parameters: Sequence[Parameter], cap: int | None) -> Iterator[tuple[Choice, ...]]:
    """Every combination, in file order, the last parameter fastest; at least the first ``cap`` of them."""
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
        message = "early_terminate needs W&B's server, which compares running trials: remove it"
        problems.append(Problem(message, ("early_terminate",), repr(given["early_terminate"])[:120]))
    if "metric" in given:
        problems += _metric_problems(given["metric"])
    cap = given.get("run_cap")
    if "run_cap" in given and (isinstance(cap, bool) or not isinstance(cap, int) or cap < 1):
        problems.append(Problem("expected a whole number greater than 0", ("run_cap",), repr(cap)[:120]))
    elif cap is not None and cap > MAX_TRIALS:
        problems.append(_too_many(cap, "run_cap"))
    return problems


def _metric_problems(metric: object) -> list[Problem]:
    if not isinstance(metric, Mapping) or not isinstance(metric.get("name"), str):
        message = "expected a mapping with the name of a logged number, such as val/paper/correctness/level_4"
        return [Problem(message, ("metric",), repr(metric)[:120])]
    goal = metric.get("goal") or GOALS[0]
    if goal not in GOALS:
        return [Problem("not one of the choices", ("metric", "goal"), repr(goal)[:120], GOALS, nearest(goal, GOALS))]
    return []


def _too_many(count: int, option: str) -> Problem:
    return Problem(f"at most {MAX_TRIALS:,} trials are possible", (option,), str(count)[:120], near=str(MAX_TRIALS))


def _method_problems(method: object, parameters: Sequence[Parameter], cap: object, metric: object) -> list[Problem]:
    if method is None:
        return [Problem("required key 'method' is missing", ("method",), choices=(*METHODS, SEARCH))]
    if method not in (*METHODS, SEARCH):
        return [unknown("method", method, (*METHODS, SEARCH), ("method",))]
    if method == SEARCH and metric is None:
        message = "method bayes needs the metric that it optimises, such as {name: validation/fit/elbo, goal: maximize}"
        return [Problem(message, ("metric",))]
    if method in ("random", SEARCH):
        message = f"method {method} never ends: set the number of trials with run_cap in the file or with --count"
        return [Problem(message, ("method",), repr(method))] if cap is None else []
    endless = [parameter for parameter in parameters if not parameter.is_countable]
    message = "method grid needs a finite number of values: list them, or use method random"
    problems = [Problem(message, (*each.location, "distribution"), each.distribution, COUNTABLE) for each in endless]
    size = 0 if endless else size_of(parameters)
    if size > MAX_TRIALS and cap is None:
        many = f"{size:,}" if size < 10**18 else "more than 10^18"
        message = f"{many} combinations, but at most {MAX_TRIALS:,} are possible: give fewer values, or set --count"
        problems.append(Problem(message, ("parameters",)))
    return problems
