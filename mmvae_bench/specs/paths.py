"""Where a setting belongs that was given in a place that does not have it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from functools import cache

from ..base.errors import Problem
from .base import Spec
from .components import backbones, datasets, objectives

Settings = tuple[tuple[str, type[Spec]], ...]
"""The parts of a trial that are no components, with their keys."""
ELSEWHERE = {
    **dict.fromkeys(
        ("accelerator", "cuda", "device", "devices", "gpu", "gpus"),
        "a trial runs on a GPU where there is one, and CUDA_VISIBLE_DEVICES says which; "
        "run --per-device lets trials share it",
    ),
    **dict.fromkeys(("num_workers", "workers"), "--workers of mmvae-bench run sets how many trials run together"),
    **dict.fromkeys(("epochs", "max_epochs", "num_epochs"), "training is counted in gradient steps: training.steps"),
    **dict.fromkeys(("optim", "optimiser", "optimizer"), "Adam throughout, as in every paper compared here"),
}
"""What other programs have as a setting and this one has not, and what to do instead."""
UNKNOWN_KEY = "unknown key "
"""How the message of such a problem begins."""


def pointed(problems: Iterable[Problem], settings: Settings) -> list[Problem]:
    """The problems; those of unknown keys with the setting that was probably meant, wherever that is."""
    return [_pointed(problem, settings) if problem.message.startswith(UNKNOWN_KEY) else problem for problem in problems]


def _pointed(problem: Problem, settings: Settings) -> Problem:
    key = str(problem.location[-1]).casefold().replace("-", "_")
    if key in ELSEWHERE:
        return replace(problem, message=f"{problem.message}: {ELSEWHERE[key]}", near=None)
    known = _paths(settings)
    path = known.get(key) or (known.get(_resembling(key, known)) if problem.near is None else None)
    here = {str(part).removesuffix("s") for part in problem.location}
    # Another objective may have the key: that is no help here.
    return problem if path is None or path.partition(".")[0] in here else replace(problem, near=path)


def _resembling(key: str, known: Iterable[str]) -> str:
    """The known key that is most like one: by its initials (``lr``), its first word, or its letters."""
    for each in known:
        words = each.split("_")
        if key in ("".join(word[:1] for word in words), words[0]) and len(words) > 1:
            return each
    return next(iter(get_close_matches(key, list(known), n=1, cutoff=0.7)), "")


@cache
def _paths(settings: Settings) -> dict[str, str]:
    """The path in a trial of every built-in setting, by its last key: the part most of whose components have it."""
    owners = list(settings)
    for kind, registry in (("objective", objectives), ("dataset", datasets), ("backbone", backbones)):
        owners[-1:-1] = [(kind, registry.get(name)) for name in sorted(registry.built_in())]
    kinds: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for kind, spec in owners:
        for key in _keys(spec):
            kinds[key][kind] += 1
    return {key: f"{counts.most_common(1)[0][0]}.{key}" for key, counts in kinds.items()}


def _keys(spec: type[Spec]) -> Iterator[str]:
    return (field.alias or name for name, field in spec.model_fields.items() if name not in ("name", "seed"))
