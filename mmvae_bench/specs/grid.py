"""The grid file: lists of parts whose product is the trials, plus explicit ``include`` and ``exclude``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from ..base.canonical import canonical_json
from ..base.errors import ConfigError, Location, Problem
from .base import LARGEST, ComponentSpec, Spec, problems_of
from .components import BackboneField, DatasetField, ObjectiveField, backbones, classifiers, datasets, objectives
from .matching import KINDS, Condition, Part, conditions, matching
from .paths import pointed
from .registry import Registry
from .shipped import named_file
from .trial import SETTINGS, EvaluationSpec, TrainingSpec, TrialSpec
from .yaml_source import YamlDocument, check_kind, read_yaml

LISTS = ("datasets", "backbones", "objectives", "training", "seeds")
"""The keys of a grid that are multiplied, in the order of expansion: the last runs fastest."""
REQUIRED = ("datasets", "backbones", "objectives")


def _listed(value: object) -> object:
    return [value] if isinstance(value, Mapping | TrainingSpec) else value


OneOrMore = Field(min_length=1)
Datasets = Annotated[tuple[DatasetField, ...], OneOrMore]
Backbones = Annotated[tuple[BackboneField, ...], OneOrMore]
Objectives = Annotated[tuple[ObjectiveField, ...], OneOrMore]
Trainings = Annotated[tuple[TrainingSpec, ...], OneOrMore, BeforeValidator(_listed)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0, le=LARGEST)], ...], OneOrMore]


class IncludeSpec(Spec):
    """An additional product. A list that it omits is the grid's; a list that it gives replaces the grid's entirely."""

    datasets: Datasets | None = None
    """Names, or mappings with a name and parameters."""
    backbones: Backbones | None = None
    """Names, or mappings with a name and parameters."""
    objectives: Objectives | None = None
    """Names, or mappings with a name and parameters."""
    training: Trainings | None = None
    """One mapping, or a list of them."""
    seeds: Seeds | None = None
    """Training seeds."""
    evaluation: EvaluationSpec | None = None
    """How these trials are evaluated; null: as the grid says."""


class GridSpec(Spec):
    """The trials of a run: dataset x backbone x objective x training x seed.

    The top level is a product of its own if it has datasets, backbones and objectives; otherwise its lists only fill in
    what the products under ``include`` omit.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    """The run's name; its folder is ``runs/NAME`` by default. Letters, digits, dot, dash, underscore."""
    summary: str = ""
    """A one-line description."""
    datasets: Datasets | None = None
    """Names, or mappings with a name and parameters."""
    backbones: Backbones | None = None
    """Names, or mappings with a name and parameters."""
    objectives: Objectives | None = None
    """Names, or mappings with a name and parameters."""
    training: Trainings = (TrainingSpec(),)
    """One mapping, or a list of them."""
    seeds: Seeds = (0,)
    """Training seeds."""
    evaluation: EvaluationSpec = EvaluationSpec()
    """How every trained model is evaluated."""
    include: tuple[IncludeSpec, ...] = ()
    """Additional products."""
    exclude: tuple[Annotated[dict[str, Any], OneOrMore], ...] = ()
    """Trials to exclude: those that meet all conditions of an entry (``objective: telbo``, ``dataset.split: comp``)."""

    @model_validator(mode="wrap")
    @classmethod
    def _complete(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        # Checked before the fields, so that one reading of the file reports every problem.
        missing = _missing_lists(value) if isinstance(value, Mapping) else []
        try:
            grid = handler(value)
        except ValidationError as error:
            raise ConfigError([*missing, *problems_of(error, spec=cls)]) from None
        if missing:
            raise ConfigError(missing)
        return grid

    @classmethod
    def parse(cls, value: object, *, location: Location = ()) -> Self:
        """Validates ``value``; raises ConfigError with every problem, and where misplaced keys belong."""
        try:
            return super().parse(value, location=location)
        except ConfigError as error:
            raise ConfigError(pointed(error.problems, SETTINGS)) from None

    def __repr__(self) -> str:
        """One line. ``canonical()`` has every setting."""
        try:
            about = f"{len(self.trials):,} trials"
        except ConfigError as error:
            about = f"{len(error.problems)} problems"
        return f"{type(self).__name__}({self.name}: {about})"

    __str__ = __repr__

    @cached_property
    def trials(self) -> tuple[TrialSpec, ...]:
        """Every trial once, in the order of expansion.

        Raises:
            ConfigError: if parts are incompatible, ``exclude`` names something that is not in the grid, or excludes
                everything.
        """
        return expand_blocks(self._blocks(), self.exclude)

    def located(self, problem: Problem, trial: TrialSpec) -> Problem:
        """A problem of one of :attr:`trials`, located in the grid; unchanged if that is no trial of it."""
        for block in self._blocks():
            parts = {kind: (getattr(trial, kind), block.parts(kind)) for kind in KINDS}
            if all(part in among for part, among in parts.values()):
                return _relocated(
                    problem, block, {kind: list(among).index(part) for kind, (part, among) in parts.items()}
                )
        return problem

    def _blocks(self) -> list[Block]:
        own: dict[str, tuple[Location, Any]] = {key: ((key,), getattr(self, key)) for key in LISTS}
        blocks = [Block(own, self.evaluation)] if all(parts for _, parts in own.values()) else []
        for index, include in enumerate(self.include):
            given: dict[str, tuple[Location, Any]] = {
                key: (("include", index, key), getattr(include, key)) for key in LISTS if getattr(include, key)
            }
            if include.evaluation is None:
                blocks.append(Block(own | given, self.evaluation))
            else:
                blocks.append(Block(own | given, include.evaluation, ("include", index, "evaluation")))
        return blocks


def load_grid(path: str | Path) -> GridSpec:
    """Reads and checks a grid file, including whether the parts of its trials are compatible.

    Args:
        path: The file, or the name of a shipped grid (``quick``); a file of that name goes first.

    Raises:
        ConfigError: with every problem of the file at once, each with its line.
    """
    return read_grid(Path(path))[0]


def read_grid(path: Path) -> tuple[GridSpec, YamlDocument]:
    """:func:`load_grid`, and the file, whose text is there to the byte. It is read once, so it may be a pipe."""
    document = read_yaml(named_file(path, kind="grid"))
    if document.value is None and not document.problems:
        raise ConfigError("the file is empty: a grid needs name, datasets, backbones and objectives", document.source)
    check_kind(document, "grid")
    problems: list[Problem] = []
    try:
        grid = GridSpec.parse(document.value)
        grid.trials  # noqa: B018 - computed now, so that its problems come with lines
    except ConfigError as error:
        problems += error.problems
    if problems or document.problems:
        raise document.error(problems)
    return grid, document


def expand(grid: GridSpec, *, where: Iterable[str] = ()) -> list[TrialSpec]:
    """The trials of a grid in order: dataset, backbone, objective, training, seed, the last fastest; each once.

    Args:
        grid: What :func:`mmvae_bench.load_grid` read.
        where: Conditions such as ``objective=telbo`` or ``dataset.split=comp``. A trial has to meet all of them, but
            only one of several conditions on the same path.

    Raises:
        ConfigError: if a condition names something that the grid does not have, or no trial meets them all.
    """
    wanted = list(where)
    return matching(grid.trials, wanted) if wanted else list(grid.trials)


def _missing_lists(given: Mapping[str, Any]) -> list[Problem]:
    lacking = [key for key in REQUIRED if given.get(key) is None]
    includes = given.get("include") or ()
    if not includes:
        return [Problem(f"required key {key!r} is missing", (key,)) for key in lacking]
    return [
        Problem(f"required key {key!r} is missing, here and at the top level", ("include", index, key))
        for index, include in enumerate(includes if isinstance(includes, list | tuple) else ())
        for key in lacking
        if isinstance(include, Mapping) and include.get(key) is None
    ]


_LIST_OF = {"dataset": "datasets", "backbone": "backbones", "objective": "objectives", "seed": "seeds"}


@dataclass(frozen=True)
class Block:
    """One product: for each list, its location in the grid and its parts; and how the trials are evaluated."""

    lists: Mapping[str, tuple[Location, Sequence[Part]]]
    evaluation: EvaluationSpec
    evaluation_location: Location = ("evaluation",)

    def parts(self, kind: str) -> Sequence[Part]:
        """The parts of a kind (``dataset``, ``seed``, ...)."""
        return self.lists[_LIST_OF.get(kind, kind)][1]

    def location(self, kind: str, index: int) -> Location:
        """The location of a part in the grid."""
        return (*self.lists[_LIST_OF.get(kind, kind)][0], index)


def expand_blocks(blocks: Sequence[Block], exclude: Sequence[Mapping[str, object]]) -> tuple[TrialSpec, ...]:
    """The trials of all blocks, each once, in order; without those that meet all conditions of an ``exclude``.

    A trial that is in two blocks is evaluated as the first of them says.

    The parts are validated already. Whether they are compatible is checked once per combination without its seed, so
    that 100,000 trials take seconds.

    Raises:
        ConfigError: with every problem, located in the grid.
    """
    everything = {kind: [part for block in blocks for part in block.parts(kind)] for kind in KINDS}
    rules: list[tuple[Condition, ...]] = []
    problems: list[Problem] = []
    for index, rule in enumerate(exclude):
        try:
            rules.append(conditions(rule, everything, location=("exclude", index)))
        except ConfigError as error:
            problems += error.problems
    trials: dict[tuple[object, ...], TrialSpec] = {}
    num_combinations = 0
    for block in blocks:
        masks = {kind: [_mask(part, kind, rules) for part in block.parts(kind)] for kind in KINDS}
        texts = {kind: [_text(part) for part in block.parts(kind)] for kind in KINDS}
        for indices in product(*(range(len(block.parts(kind))) for kind in KINDS[:-1])):
            chosen = dict(zip(KINDS, indices, strict=False))
            left_out = -1
            for kind, index in chosen.items():
                left_out &= masks[kind][index]
            kept = [seed for seed, mask in zip(block.parts("seed"), masks["seed"], strict=True) if not left_out & mask]
            num_combinations += len(masks["seed"])
            if not kept:
                continue
            try:
                first = _trial(block, chosen)
            except ConfigError as error:
                problems += (_relocated(problem, block, chosen) for problem in error.problems)
                continue
            key = tuple(texts[kind][index] for kind, index in chosen.items())
            for seed in kept:
                if (*key, seed) not in trials:
                    trials[(*key, seed)] = first.model_copy(update={"seed": seed})
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    if not trials:
        message = f"the grid has no trials: exclude leaves out all {num_combinations} of them"
        raise ConfigError([Problem(message, ("exclude",))])
    return tuple(trials.values())


def _trial(block: Block, chosen: Mapping[str, int]) -> TrialSpec:
    parts: dict[str, Any] = {kind: block.parts(kind)[index] for kind, index in chosen.items()}
    return TrialSpec.parse({**parts, "evaluation": block.evaluation})


def _mask(part: Part, kind: str, rules: Iterable[Sequence[Condition]]) -> int:
    """Bit i is set if ``part`` meets rule i for its kind; a bit that all parts have in common leaves the trial out."""
    bits = (all(item.holds(part) for item in rule if item.kind == kind) << i for i, rule in enumerate(rules))
    return sum(bits)


def _text(part: Part) -> object:
    return canonical_json(part.canonical()) if isinstance(part, Spec) else part


def _relocated(problem: Problem, block: Block, chosen: Mapping[str, int]) -> Problem:
    """A problem of a trial, located in the grid."""
    head, *rest = problem.location or ("backbone",)
    if head == "evaluation":
        return replace(problem, location=(*block.evaluation_location, *rest))
    if isinstance(head, str) and head in chosen:
        return replace(problem, location=(*block.location(head, chosen[head]), *rest))
    return problem


DIALECT = "https://json-schema.org/draft/2020-12/schema"


def grid_schema() -> dict[str, Any]:
    """The JSON schema of a grid file, with all registered parts except those of broken packages."""
    schema = GridSpec.model_json_schema(by_alias=True)
    definitions: dict[str, Any] = schema["$defs"]
    registries: tuple[Registry[Any], ...] = (datasets, backbones, objectives, classifiers)
    for registry in registries:
        names, _ = registry.usable()
        for name in names:
            definitions |= _component(f"{registry.kind}.{name}", registry.get(name))
        # A part is written as its bare name, or as a mapping with the name.
        definitions[registry.base.__name__] = {
            "anyOf": [{"enum": names}, *({"$ref": f"#/$defs/{registry.kind}.{name}"} for name in names)]
        }
    for owner in (schema, definitions["IncludeSpec"]):
        owner["properties"]["training"] = _one_or_more(owner["properties"]["training"])
    return {"$schema": DIALECT, **schema}


def _component(key: str, spec: type[ComponentSpec]) -> dict[str, Any]:
    """The definition, under ``key``, of a part's mapping, which must have its name; and those that it refers to."""
    own = spec.model_json_schema(by_alias=True)
    definitions: dict[str, Any] = own.pop("$defs", {})
    own["required"] = sorted({"name", *own.get("required", ())})
    return {**definitions, key: own}


def _one_or_more(training: dict[str, Any]) -> dict[str, Any]:
    keys = ("default", "description")
    described: dict[str, Any] = {key: training.pop(key) for key in keys if key in training}
    return {**described, "anyOf": [{"$ref": "#/$defs/TrainingSpec"}, training]}
