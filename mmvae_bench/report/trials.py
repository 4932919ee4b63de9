"""The trial folders of a run, read defensively: a damaged file is reported and the other trials still count.

A record is what is known of a trial besides its numbers: settings, state, provenance, judge, training. The numbers are
in :mod:`.frames`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..base.errors import BenchmarkError
from ..base.files import DamagedFile
from ..base.printable import printable
from ..runs.checksums import check_whole
from ..runs.folder import TrialFolder
from ..runs.lock import is_locked
from ..runs.names import (
    CHECKPOINT_FILE,
    LOG_FILE,
    MERGED_FILE,
    PLANE_FILE,
    SAMPLES_FILE,
    TRAINING_LOG,
    TRIALS_FOLDER,
)
from ..runs.stale import other_packages
from ..runs.status import Status, read_status
from ..runs.store import DAMAGED, RunStore
from ..specs.grid import GridSpec, load_grid
from ..specs.labels import trial_labels
from ..specs.trial import trial_label

STATES = ("done", "running", "pending", "interrupted", "failed", DAMAGED)
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
        telling_label: Its label among the trials it is shown with; None: the one that it has alone.
        damaged_files: Of a trial that is done, the files besides the result that are not what was written.
    """

    key: str
    directory: Path
    state: str
    spec: Json = field(default_factory=dict)
    status: Status = field(default_factory=Status)
    result: Json = field(default_factory=dict)
    partitions: tuple[str, ...] = ()
    problem: str | None = None
    telling_label: str | None = None
    damaged_files: tuple[str, ...] = ()

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
        if self.telling_label is not None:
            return self.telling_label
        return trial_label(self.spec) if self.component("dataset") else f"trial {self.key}"

    @cached_property
    def log(self) -> Path:
        """The file with the trial's output."""
        return self.directory / LOG_FILE

    def file(self, name: str) -> Path | None:
        """The path of a file of the folder, unless it is not what was written."""
        return None if name in self.damaged_files else self.directory / name

    @cached_property
    def query_settings(self) -> str:
        """What determines the queries: two trials of one setting with equal values were scored on the same queries."""
        evaluation = self.section("evaluation")
        return json.dumps([evaluation.get(key) for key in ("seed", "query_repeats", "num_queries")])

    @cached_property
    def outdated(self) -> bool:
        """Whether the result belongs to another evaluation than the one that is requested now."""
        requested, made = TrialFolder(self.directory).evaluation(), self.result.get("evaluation")
        return requested is not None and made is not None and requested != made

    def section(self, name: str) -> dict[str, Any]:
        """A part of the result, such as ``training`` or ``provenance``; empty unless done."""
        return dict(self.result.get(name) or {})


def labelled(trials: Sequence[TrialRecord]) -> tuple[TrialRecord, ...]:
    """The records, with labels that tell them apart."""
    known = [trial for trial in trials if trial.component("dataset")]
    labels = dict(zip(map(id, known), trial_labels([trial.spec for trial in known]), strict=True))
    return tuple(replace(trial, telling_label=labels.get(id(trial))) for trial in trials)


@dataclass(frozen=True)
class RunFolders:
    """The trial folders of a run, or of several that are merged; only their specs have been read so far.

    Attributes:
        directory: The run's folder, or that of the merged report.
        trials: Every trial folder, in the order of the report.
        waiting: Keys of the grid that have no folder yet, or none with a spec.
        sources: What was merged, one line per folder; empty where nothing was.
        summary: What its grid says of it; empty where it says nothing.
    """

    directory: Path
    trials: tuple[TrialFolder, ...]
    waiting: frozenset[str] = frozenset()
    sources: tuple[str, ...] = ()
    summary: str = ""


class StoredTrial(TrialFolder):
    """A trial of which there is no folder, only its rows of a ``results.parquet``; see :mod:`.stored`.

    Attributes:
        record: What they say of it.
        scores: Its scores as in a ``result.json``, without numbers per query.
    """

    __slots__ = ("record", "scores")
    record: TrialRecord
    scores: list[Json]

    def __init__(self, record: TrialRecord, scores: list[Json]) -> None:
        super().__init__(record.directory, record.key)
        object.__setattr__(self, "record", record)
        object.__setattr__(self, "scores", scores)


def find_trials(run_dir: Path) -> RunFolders:
    """Every trial of a run, in the order of its grid; without one, sorted by what was trained.

    Raises:
        BenchmarkError: ``run_dir`` does not exist, is not a run folder, or holds no trial.
    """
    store = open_run(run_dir)
    # One whose spec was never completely written waits like those that have no folder yet.
    found = map(store.folder, store.keys())
    keys = {folder.key for folder in found if not folder.is_blank()}
    if not keys:
        raise _no_trials(run_dir)
    grid = _grid(store.grid_path)
    order = {} if grid is None else {trial.key: position for position, trial in enumerate(grid.trials)}
    folders = sorted((store.folder(key) for key in keys), key=_order)
    folders.sort(key=lambda folder: order.get(folder.key, len(order)))
    summary = "" if grid is None else printable(grid.summary)
    return RunFolders(run_dir, tuple(folders), frozenset(order.keys() - keys), summary=summary)


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
        raise _no_trials(run_dir)
    return store


def _no_trials(run_dir: Path) -> BenchmarkError:
    return BenchmarkError(
        f"{run_dir}: has no trials yet\n  Start them with `mmvae-bench run --grid FILE --out {run_dir}`."
    )


def _grid(path: Path) -> GridSpec | None:
    """The grid; None if there is none, or where this version cannot read it."""
    if not path.is_file() or path.is_symlink():
        return None
    try:
        grid = load_grid(path)
        return grid if grid.trials else None
    except (BenchmarkError, OSError):
        return None


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
        record = TrialRecord(folder.key, folder.directory, "", folder.spec())
    except DamagedFile:
        record = TrialRecord(folder.key, folder.directory, "")
    parts = [json.dumps(record.component(kind), sort_keys=True) for kind in ("dataset", "backbone", "training")]
    objective = json.dumps(record.component("objective"), sort_keys=True)
    return (*parts, objective, f"{record.spec.get('seed', 0):>12}", record.key)


def read_record(folder: TrialFolder) -> tuple[TrialRecord, list[Json]]:
    """One trial, and the scores of its result as they are in the file; none unless the trial is done."""
    if isinstance(folder, StoredTrial):
        return folder.record, folder.scores
    key, directory = printable(folder.key), folder.directory
    spec: dict[str, Any] = {}
    try:
        spec = folder.spec()
        result = folder.result()
    except DamagedFile as damage:
        if not is_locked(directory):
            return TrialRecord(key, directory, DAMAGED, spec, problem=_problem(damage)), []
        result = None  # It is being made again.
    if result is not None:
        result.pop("spec", None)  # The folder's own spec.json counts.
        scores: list[Json] = result.pop("scores")
        partitions = tuple(sorted({score["partition"] for score in scores}))
        status, damaged = read_status(directory), tuple(_damaged_files(folder))
        return TrialRecord(key, directory, "done", spec, status, result, partitions, damaged_files=damaged), scores
    status = folder.status(None)
    return TrialRecord(key, directory, status.state, spec, status, problem=_reason(status)), []


def _damaged_files(folder: TrialFolder) -> Iterator[str]:
    """The files that the report shows parts of, and the weights if they were written to since."""
    for name in (TRAINING_LOG, SAMPLES_FILE, PLANE_FILE):
        try:
            check_whole(folder.directory / name)
        except DamagedFile:
            yield name
        except OSError:
            continue
    if folder.weights_damage() is not None:
        yield CHECKPOINT_FILE


def _problem(damage: DamagedFile) -> str:
    return printable(f"{damage.path}: {damage.reason}")


def unreadable(path: Path, reason: object) -> str:
    """The problem of a trial whose ``result.json`` holds a score that cannot be used."""
    return f"{path}: a score cannot be read: {reason}"


def _reason(status: Status) -> str | None:
    if status.state != "failed":
        return None
    kind, error = status.error_type or "", status.error or ""
    parts = [error] if error.startswith(kind) else [kind, error]
    return ": ".join(part for part in parts if part) or "no reason was recorded"


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
    return facts | elsewhere | {"other packages": other_packages(trial.result)}
