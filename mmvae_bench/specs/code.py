"""The code of a trial's parts: which package and version, and a hash of each source file that a part is made of.

A trial's key holds its settings, not its code. What made its weights and its scores is recorded with them in the form
below and compared before the trial is used again. All of it is read from files and from the packages' metadata, without
importing an implementation, once per part and process.

What counts for a part is its implementation and its spec, and every definition of this package that they lead to in the
rooms that compute numbers (:mod:`mmvae_bench.base.source` says how, and why). In a package of its own that is all of
each module that is imported on the way, since a plugin is small and finds its helpers in more ways. Left out are the
training loop, progress, checkpoints, where images are stored, and the specs' machinery: they change in nearly every
commit, and the recorded traces watch what they do to numbers. The version of another package counts by itself, because
a package can contain more than Python; that of this one does not, so a release does not make old trials stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import packages_distributions
from typing import Any

from ..base.canonical import canonical_json
from ..base.machine import package_version
from ..base.source import is_unparsed, source_files
from ..metrics.protocols import PROTOCOL_RULES
from .base import ComponentSpec
from .components import backbones, classifiers, datasets, objectives, questions
from .registry import Registry

OWN = "mmvae-bench"
BATCHES = {
    "augmentation": "mmvae_bench.data.augmentation:AugmentedBatches",
    "supervision": "mmvae_bench.data.supervision:SupervisedLoader",
    "missing_images": "mmvae_bench.data.missing:MissingImagesLoader",
}
"""The parts that choose or change training images, by the key of their settings."""
Code = dict[str, Any]
"""By part, such as ``objective`` or ``question exact_match``: its ``name``, ``package``, ``version`` and ``files``."""

_PACKAGE = "mmvae_bench"
_ROOMS = (
    "backbones", "base.randomness", "base.seeds", "base.statistics", "concepts", "data", "distributions", "evaluation",
    "metrics", "objectives", "specs.built_in", "worlds",
)  # fmt: skip
"""Where definitions are followed."""
_STORAGE = ("data.cache", "data.shards")
"""Where images are kept: what they are is in their own fingerprint and in the hash of their pixels."""
_REGISTRIES: dict[str, Registry[Any]] = {
    "dataset": datasets, "backbone": backbones, "objective": objectives, "classifier": classifiers,
    "question": questions,
}  # fmt: skip


def training_code(spec: Mapping[str, Any]) -> Code:
    """The code that a trial's weights depend on.

    Args:
        spec: The trial's canonical spec; a part that it does not name, or that is not installed, is left out.
    """
    names = {kind: (spec.get(kind) or {}).get("name") for kind in ("dataset", "backbone", "objective")}
    training = spec.get("training") or {}
    names |= {kind: kind for kind in BATCHES if training.get(kind) is not None}
    return {kind: part for kind, name in names.items() if (part := part_code(kind, str(name))) is not None}


def evaluation_code(evaluation: Mapping[str, Any], classifier: str | None, *, dataset: str | None = None) -> Code:
    """The code that a trial's scores depend on besides its weights.

    Args:
        evaluation: The canonical evaluation settings.
        classifier: The name of the observation classifier; None of what has none, and questions of its own.
        dataset: The name of the dataset, which tells what has no classifier apart: graphs and papers.
    """
    about = "built-in"
    if classifier is None:
        found = datasets.find(dataset) if dataset is not None else None
        about = "of papers" if found is not None and found.domain == "papers" else "of graphs"
    wanted = [("questions", about)]
    wanted += [] if classifier is None else [("classifier", classifier)]
    wanted += [("question", str(name)) for name in evaluation.get("questions") or {}]
    wanted += [("protocol", str(name)) for name in evaluation.get("protocols") or ()]
    parts = ((kind, name, part_code(kind, name)) for kind, name in wanted)
    return {kind if kind in ("questions", "classifier") else f"{kind} {name}": part
            for kind, name, part in parts if part is not None}  # fmt: skip


@cache
def part_code(kind: str, name: str) -> dict[str, Any] | None:
    """The code of one part; None if no usable package has it, or its source cannot be found.

    Args:
        kind: ``dataset``, ``backbone``, ``objective``, ``classifier`` or ``question``; ``protocol``: one of another
            package; ``questions``: the built-in ones that are not asked on request only, together; one of
            ``BATCHES``.
        name: The part's name; of questions ``of graphs`` or ``of papers``, or any other name for those about images.
    """
    if kind == "questions":
        built_in = map(questions.get, questions.built_in())
        domain = {"of graphs": "graph", "of papers": "papers"}.get(name, "images")
        asked = [each for each in built_in if not each.on_request and each.domain == domain]
        paths = [path for each in asked for path in _paths(each)]
        return _described(name, (OWN, package_version()), source_files(paths, follow=_followed))
    if kind in BATCHES:
        return _described(name, (OWN, package_version()), source_files([BATCHES[kind]], follow=_followed))
    if kind == "protocol":
        origin = PROTOCOL_RULES.origin(name)
        return None if origin is None else _described(name, origin[:2], _files([origin[2]], origin))
    spec = _REGISTRIES[kind].find(name)
    if spec is None:
        return None
    origin = _REGISTRIES[kind].origin(name)
    if origin is None and _top(spec.__module__) != _PACKAGE:
        origin = (_top(spec.__module__), None, spec.__module__)  # Registered by a program, not by an entry point.
    files = _files(_paths(spec), origin)
    return _described(name, origin[:2] if origin is not None else (OWN, package_version()), files)


def differences(made: object, now: Mapping[str, Any]) -> list[str]:
    """What differs between the code that was recorded and the code that is installed, in words; empty if nothing does.

    A part that either side does not know is not compared.

    Args:
        made: As it was recorded; it may come from a damaged file.
        now: The same parts as they are installed, or as they were recorded later.
    """
    found = []
    for kind, part in now.items():
        recorded = made.get(kind) if isinstance(made, Mapping) else None
        if isinstance(recorded, Mapping) and isinstance(part, Mapping) and (reasons := _reasons(recorded, part)):
            title = f"{kind} {part.get('name')!r}" if kind in _REGISTRIES else kind
            found.append(f"{title}: {', '.join(reasons)}")
    return found


def identity(part: Mapping[str, Any]) -> str:
    """What counts of the code of a part, as text: two parts are equal if these texts are."""
    package = part.get("package")
    version = None if package == OWN else part.get("version")
    return canonical_json({"package": package, "version": version, "files": part.get("files")})


def _reasons(made: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    reasons = []
    was, is_now = ((part.get("package"), part.get("version")) for part in (made, now))
    if was[0] != is_now[0] or (was != is_now and is_now[0] != OWN):
        reasons.append(f"{was[0]} {was[1]} then, {is_now[0]} {is_now[1]} now")
    old, new = (files if isinstance(files := part.get("files"), Mapping) else {} for part in (made, now))
    changed = [name for name in new if name in old and old[name] != new[name]]
    if unparsed := [name for name in sorted(map(str, old.keys() - new.keys())) if is_unparsed(name)]:
        # What only such a file leads to is out of sight too, and has not changed for all that.
        reasons.append(f"{', '.join(unparsed)} cannot be parsed (SyntaxError)")
    elif not changed:
        changed = sorted(old.keys() ^ new.keys())
    if changed:
        shown = ", ".join(map(str, changed[:3])) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        reasons.append(f"{shown} {'has' if len(changed) == 1 else 'have'} changed")
    return reasons


def _described(name: str, package: tuple[str, str | None], files: dict[str, str]) -> dict[str, Any] | None:
    return {"name": name, "package": package[0], "version": package[1], "files": files} if files else None


def _paths(spec: type[ComponentSpec]) -> list[str]:
    return [spec.implementation, *spec.further_implementations, f"{spec.__module__}:{spec.__qualname__}"]


def _files(paths: Sequence[str], origin: tuple[str, str | None, str] | None) -> dict[str, str]:
    """The files of a part, whose package is known by the entry point that it has in ``origin``."""
    own: set[str] = set()
    if origin is not None:
        entry = _top(origin[2])
        own = {entry} | {top for top in map(_top, paths) if top != entry and _same_package(top, origin[0])}
    own.discard(_PACKAGE)

    def whole(module: str) -> bool:
        return _top(module) in own

    return source_files(paths, follow=lambda module: whole(module) or _followed(module), whole=whole)


def _same_package(top: str, package: str) -> bool:
    return package in packages_distributions().get(top, ())


def _top(path: str) -> str:
    return path.partition(":")[0].partition(".")[0]


def _followed(module: str) -> bool:
    top, _, rest = module.partition(".")
    return top == _PACKAGE and _in(rest, _ROOMS) and not _in(rest, _STORAGE)


def _in(module: str, rooms: Iterable[str]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)
