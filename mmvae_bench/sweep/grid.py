"""From a grid to its trials, all of them or those that ``--where`` asks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..base.errors import ConfigError, Problem, nearest
from ..specs.conditions import KINDS, Condition, Part, condition, values
from ..specs.grid import GridSpec
from ..specs.overrides import parse_assignment
from ..specs.trial import TrialSpec


def expand(grid: GridSpec, *, where: Iterable[str] = ()) -> list[TrialSpec]:
    """The trials of a grid in order: dataset, backbone, objective, training, seed, the last fastest; each once.

    Args:
        grid: What :func:`mmvae_bench.load_grid` read.
        where: Conditions such as ``objective=telbo`` or ``dataset.split=comp``. A trial is kept that fulfils all of
            them; of several for one path, one is enough.

    Raises:
        ConfigError: where a condition names what the grid does not have, or no trial fulfils them all.
    """
    wanted = list(where)
    return matching(grid.trials, wanted) if wanted else list(grid.trials)


def matching(trials: Sequence[TrialSpec], where: Sequence[str], *, whole: str = "the grid") -> list[TrialSpec]:
    """Those of some trials that fulfil the conditions; see :func:`expand`.

    Args:
        trials: At least one.
        where: Conditions.
        whole: What the trials are all of, for messages.
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
        asked = " and ".join(where)
        raise ConfigError(f"none of {whole}'s {len(trials)} trials has {asked} ({there})", "--where")
    return kept


def _alternatives(wanted: Iterable[str], parts: dict[str, list[Part]], whole: str) -> dict[str, list[Condition]]:
    """The conditions by path, each of them one that some trial of the grid fulfils."""
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
