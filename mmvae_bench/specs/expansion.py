"""From lists of parts to trials: the product, what is left out, and whether the parts go together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from ..base.errors import ConfigError, Location, Problem
from ..base.hashing import canonical_json
from .base import Spec
from .matching import KINDS, Condition, Part, conditions
from .trial import EvaluationSpec, TrialSpec

_LIST_OF = {"dataset": "datasets", "backbone": "backbones", "objective": "objectives", "seed": "seeds"}


@dataclass(frozen=True)
class Block:
    """One product: for each list of a grid, where in it that stands and its parts; and what its trials are asked."""

    lists: Mapping[str, tuple[Location, Sequence[Part]]]
    evaluation: EvaluationSpec
    evaluation_location: Location = ("evaluation",)

    def parts(self, kind: str) -> Sequence[Part]:
        """The parts of a kind (``dataset``, ``seed``, ...)."""
        return self.lists[_LIST_OF.get(kind, kind)][1]

    def location(self, kind: str, index: int) -> Location:
        """Where in the grid a part stands."""
        return (*self.lists[_LIST_OF.get(kind, kind)][0], index)


def expand_blocks(blocks: Sequence[Block], exclude: Sequence[Mapping[str, object]]) -> tuple[TrialSpec, ...]:
    """The trials of all blocks, each once, in order; without those that fulfil every condition of an ``exclude``.

    A trial that two blocks have is asked what the first of them asks.

    The parts are validated already. That they go together is checked once for each combination without its seed, so
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
        message = f"the grid expands to nothing: exclude leaves out all of its {num_combinations} trials"
        raise ConfigError([Problem(message, ("exclude",))])
    return tuple(trials.values())


def _trial(block: Block, chosen: Mapping[str, int]) -> TrialSpec:
    parts: dict[str, Any] = {kind: block.parts(kind)[index] for kind, index in chosen.items()}
    return TrialSpec.parse({**parts, "evaluation": block.evaluation})


def _mask(part: Part, kind: str, rules: Iterable[Sequence[Condition]]) -> int:
    """Bit i is set where ``part`` fulfils what rule i says about its kind; bits in common leave a trial out."""
    bits = (all(item.holds(part) for item in rule if item.kind == kind) << i for i, rule in enumerate(rules))
    return sum(bits)


def _text(part: Part) -> object:
    return canonical_json(part.canonical()) if isinstance(part, Spec) else part


def _relocated(problem: Problem, block: Block, chosen: Mapping[str, int]) -> Problem:
    """A problem of a trial, located in the grid that the trial came from."""
    head, *rest = problem.location or ("backbone",)
    if head == "evaluation":
        return replace(problem, location=(*block.evaluation_location, *rest))
    if isinstance(head, str) and head in chosen:
        return replace(problem, location=(*block.location(head, chosen[head]), *rest))
    return problem
