"""The trial folders of a run, read defensively: a damaged file is reported and the other trials still count.

A record is what is known of a trial besides its numbers: settings, state, provenance, judge, training. The numbers are
in :mod:`.frames`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..base.errors import BenchmarkError
from ..base.files import read_json
from ..runs.folder import TrialFolder
from ..runs.names import LOG_FILE, MERGED_FILE, TRIALS_FOLDER
from ..runs.scores import Score
from ..runs.status import Status, read_status
from ..runs.store import RunStore
from ..specs.grid import load_grid
from ..specs.trial import SPEC_VERSION, trial_label

STATES = ("done", "running", "pending", "interrupted", "failed", "damaged")
"""The states of a trial; damaged: its files cannot be read or contradict each other."""

PROVENANCE = (
    ("package", "version"), ("commit", "commit"), ("dirty", "uncommitted changes"), ("torch", "torch"),
    ("cuda", "CUDA"), ("cudnn", "cuDNN"), ("lightning", "lightning"), ("numpy", "numpy"), ("python", "Python"),
    ("platform", "platform"), ("device", "device"), ("device_name", "device name"), ("precision", "precision"),
    ("threads", "threads"), ("cpu_instructions", "CPU instructions"), ("deterministic", "bitwise repeatable"),
    ("deterministic_algorithms", "deterministic algorithms"), ("cudnn_deterministic", "cuDNN deterministic"),
    ("cudnn_benchmark", "cuDNN benchmark"),
)  # fmt: skip
"""Keys of a result's ``provenance`` and what they are called."""

Json = Mapping[str, Any]


@dataclass(frozen=True)
class TrialRecord:
    """One trial folder.

    Attributes:
        key: The folder's name.
        directory: The folder.
        state: One of STATES.
        spec: The canonical trial spec; empty if it cannot be read.
        status: The content of ``status.json``, corrected by the other evidence.
        result: ``result.json`` without its scores; empty unless the state is done.
        partitions: The partitions with scores, sorted.
        problem: Why the trial failed or counts as damaged.
    """

    key: str
    directory: Path
    state: str
    spec: Json = field(default_factory=dict)
    status: Status = field(default_factory=Status)
    result: Json = field(default_factory=dict)
    partitions: tuple[str, ...] = ()
    problem: str | None = None

    def component(self, kind: str) -> dict[str, Any]:
        """The spec of the ``dataset``, ``backbone``, ``objective`` or ``training``; empty where unknown."""
        return dict(self.spec.get(kind) or {})

    def parameters(self, kind: str) -> dict[str, Any]:
        """:meth:`component` without its name."""
        return {key: value for key, value in self.component(kind).items() if key != "name"}

    @cached_property
    def objective(self) -> str:
        """The objective's name."""
        return str(self.component("objective").get("name", "?"))

    @cached_property
    def label(self) -> str:
        """A short human-readable name."""
        return trial_label(self.spec) if self.component("dataset") else f"trial {self.key}"

    @cached_property
    def log(self) -> Path:
        """The file with the trial's output."""
        return Path(self.status.log or self.directory / LOG_FILE)

    @cached_property
    def query_settings(self) -> str:
        """What determines the queries: two trials of one setting with equal values were scored on the same queries."""
        evaluation = self.section("evaluation")
        return json.dumps([evaluation.get(key) for key in ("seed", "query_repeats", "num_queries")])

    @cached_property
    def outdated(self) -> bool:
        """Whether the result belongs to another evaluation than the one that is requested now."""
        requested = TrialFolder(self.directory).evaluation()
        return requested is not None and "evaluation" in self.result and requested != self.result["evaluation"]

    def section(self, name: str) -> dict[str, Any]:
        """A part of the result, such as ``training`` or ``provenance``; empty unless done."""
        return dict(self.result.get(name) or {})


@dataclass(frozen=True)
class RunFolders:
    """The trial folders of a run, or of several that are merged; only their specs have been read so far.

    Attributes:
        directory: The run's folder, or that of the merged report.
        trials: Every trial folder, in the order of the report.
        waiting: Keys of the grid that have no folder yet.
        sources: What was merged, one line per folder; empty where nothing was.
    """

    directory: Path
    trials: tuple[TrialFolder, ...]
    waiting: frozenset[str] = frozenset()
    sources: tuple[str, ...] = ()


def find_trials(run_dir: Path) -> RunFolders:
    """Every trial of a run, in the order of its grid; without one, sorted by what was trained.

    Raises:
        BenchmarkError: ``run_dir`` does not exist, is not a run folder, or holds no trial.
    """
    store = open_run(run_dir)
    keys = store.keys()
    order = _grid_order(store.grid_path)
    folders = sorted((store.folder(key) for key in keys), key=_order)
    folders.sort(key=lambda folder: order.get(folder.key, len(order)))
    return RunFolders(run_dir, tuple(folders), frozenset(order.keys() - keys))


def open_run(run_dir: Path) -> RunStore:
    """The store of a run folder that has trials; reads none of them.

    Raises:
        BenchmarkError: ``run_dir`` does not exist, is not a run folder, or holds no trial.
    """
    store = RunStore(run_dir)
    if not run_dir.is_dir():
        made = "Run folders are made by `mmvae-bench run --out`."
        raise BenchmarkError(f"{run_dir}: no such folder\n  {made}{_hint(run_dir)}")
    if not store.trials_root.is_dir():
        merged = "\n  It holds a merged report: name the folders that it was made from."
        hint = merged if (run_dir / MERGED_FILE).is_file() else _hint(run_dir)
        raise BenchmarkError(f"{run_dir}: not a run folder: it has no folder `{TRIALS_FOLDER}`{hint}")
    if not store.keys():
        raise BenchmarkError(
            f"{run_dir}: has no trials yet\n  Start them with `mmvae-bench run --grid FILE --out {run_dir}`."
        )
    return store


def _grid_order(path: Path) -> dict[str, int]:
    """Key to position; empty if there is no grid, or where this version cannot read it."""
    if not path.is_file():
        return {}
    try:
        return {trial.key: position for position, trial in enumerate(load_grid(path).trials)}
    except (BenchmarkError, OSError):
        return {}


def _hint(run_dir: Path) -> str:
    """What the user may have meant instead."""
    path = run_dir.resolve()
    for folder in (path, *path.parents):
        if folder.name == TRIALS_FOLDER:
            return f"\n  Did you mean the run that this belongs to? {folder.parent}"
    runs = [path.parent for parent in (run_dir, run_dir.parent) for path in sorted(parent.glob(f"*/{TRIALS_FOLDER}"))]
    return f"\n  Run folders nearby: {', '.join(map(str, runs[:5]))}" if runs else ""


def _order(folder: TrialFolder) -> tuple[str, ...]:
    try:
        record = TrialRecord(folder.key, folder.directory, "", _spec(folder.spec_path))
    except _Damaged:
        record = TrialRecord(folder.key, folder.directory, "")
    parts = [json.dumps(record.component(kind), sort_keys=True) for kind in ("dataset", "backbone", "training")]
    objective = json.dumps(record.component("objective"), sort_keys=True)
    return (*parts, objective, f"{record.spec.get('seed', 0):>12}", record.key)


def read_record(folder: TrialFolder) -> tuple[TrialRecord, list[Json]]:
    """One trial, and the scores of its result as they are in the file; none unless the trial is done."""
    key, directory = folder.key, folder.directory
    spec: dict[str, Any] = {}
    try:
        spec = _spec(folder.spec_path)
        if spec.get("version") != SPEC_VERSION:
            raise _Damaged(f"{folder.spec_path}: made by version {spec.get('version')}, this is {SPEC_VERSION}")
        if folder.result_path.exists():
            result = _mapping(folder.result_path)
            scores = _scores(folder.result_path, result, key)
            partitions = tuple(sorted({score["partition"] for score in scores}))
            return TrialRecord(key, directory, "done", spec, read_status(directory), result, partitions), scores
    except _Damaged as damage:
        return TrialRecord(key, directory, "damaged", spec, problem=str(damage)), []
    status = folder.status(None)
    return TrialRecord(key, directory, status.state, spec, status, problem=_reason(status)), []


def unreadable(path: Path, reason: object) -> str:
    """The problem of a trial whose ``result.json`` holds a score that cannot be used."""
    return f"{path}: a score cannot be read: {reason}"


def _reason(status: Status) -> str | None:
    if status.state != "failed":
        return None
    kind, error = status.error_type or "", status.error or ""
    parts = [error] if error.startswith(kind) else [kind, error]
    return ": ".join(part for part in parts if part) or "no reason was recorded"


_KNOWN = frozenset(Score.__dataclass_fields__)


class _Damaged(Exception):
    """A file that cannot be used, with the reason."""


def _mapping(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except FileNotFoundError:
        raise _Damaged(f"{path}: missing") from None
    except (OSError, ValueError) as error:
        raise _Damaged(f"{path}: cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise _Damaged(f"{path}: expected a JSON object")
    return value


_SECTIONS = ("evaluation", "dataset", "classifier", "training", "provenance", "evaluated_on", "seeds")


def _spec(path: Path) -> dict[str, Any]:
    return _with_objects(path, _mapping(path), ("dataset", "backbone", "objective", "training"))


def _with_objects(path: Path, value: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """``value``, whose members ``names`` are objects where they are given."""
    for name in names:
        if not isinstance(value.get(name) or {}, dict):
            raise _Damaged(f"{path}: {name}: expected a JSON object")
    return value


def _scores(path: Path, result: dict[str, Any], key: str) -> list[Json]:
    """Removes the scores from a result and returns them."""
    missing = [name for name in ("key", "scores", "training", "provenance") if name not in result]
    if missing:
        raise _Damaged(f"{path}: has no {', '.join(missing)}")
    if result["key"] != key:
        raise _Damaged(f"{path}: is the result of trial {result['key']}, not of {key}")
    if result.get("version") != SPEC_VERSION:
        raise _Damaged(f"{path}: made by version {result.get('version')}, this is {SPEC_VERSION}")
    _with_objects(
        path, result, ("evaluation", "dataset", "classifier", "training", "provenance", "evaluated_on", "seeds")
    )
    result.pop("spec", None)  # The folder's own spec.json counts.
    scores = result.pop("scores")
    try:
        for score in scores:
            _check_score(score)
    except (TypeError, ValueError) as error:
        raise _Damaged(unreadable(path, error)) from None
    return list(scores)


def _check_score(score: object) -> None:
    if not isinstance(score, dict):
        raise ValueError("expected a JSON object")
    for name in ("metric", "partition"):
        if not isinstance(score.get(name), str):
            raise ValueError(f"it has no {name}")
    if not isinstance(score.get("proposal"), str | None):
        raise ValueError("its proposal is not text")
    if not score.keys() <= _KNOWN:
        raise ValueError(f"unknown field {min(score.keys() - _KNOWN)}")


_JUDGED = {
    "dataset": ("fingerprint", "pixel_hash", "source"),
    "classifier": ("name", "fingerprint", "weights"),
}


def conditions(trial: TrialRecord) -> dict[str, Any]:
    """The queries, the images and the classifier: if they differ, numbers do not measure the same thing."""
    facts = {f"evaluation.{key}": value for key, value in trial.section("evaluation").items()}
    for section, keys in _JUDGED.items():
        found = trial.section(section)
        facts |= {f"{section}.{key}": found.get(key) for key in keys}
    return facts


def origin(trial: TrialRecord) -> dict[str, Any]:
    """The code and the machine that made the weights, and those of the evaluation if they differ."""
    trained, asked = trial.section("provenance"), trial.section("evaluated_on")
    facts = {label: trained.get(key) for key, label in PROVENANCE}
    elsewhere = {f"evaluated: {label}": asked[key] for key, label in PROVENANCE if key != "precision" and key in asked}
    return facts | elsewhere
