"""``results.parquet``: every number of a run as a tidy row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from ..base.errors import BenchmarkError
from ..base.files import atomic_path
from ..base.hashing import canonical_json
from ..runs.scores import Score
from .trials import TrialRecord, read_run

TYPES = {
    "trial": "str", "objective": "str", "objective_params": "str", "dataset": "str", "source": "str",
    "dataset_params": "str", "split": "str", "split_seed": "Int64", "backbone": "str", "backbone_params": "str",
    "training_params": "str", "seed": "Int64", "steps": "Int64", "protocol": "str", "partition": "str",
    "metric": "str", "attribute": "str", "level": "Int64", "value": "float64", "ci_low": "float64",
    "ci_high": "float64", "ceiling": "float64", "floor": "float64", "num_queries": "Int64", "num_samples": "Int64",
    "status": "str", "wall_seconds": "float64", "steps_per_second": "float64", "device": "str", "version": "str",
    "commit": "str", "dataset_fingerprint": "str", "classifier_fingerprint": "str",
}  # fmt: skip
"""The columns of the file, in order, with their pandas types. The _params are canonical JSON."""

COLUMNS = tuple(TYPES)


def results_frame(trials: Iterable[TrialRecord]) -> pd.DataFrame:
    """One row a number; a trial without numbers has one row, with metric and value null and its status."""
    rows = [row for trial in trials for row in _rows(trial)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS), dtype="object")
    # Through object, so that a null stays a null: astype("str") would keep it only for pandas' own string type.
    types = {name: "string" if kind == "str" else kind for name, kind in TYPES.items()}
    return frame.where(frame.notna(), None).astype(types)


def write_results(run_dir: Path) -> pd.DataFrame:
    """Gathers the trials of a run into ``results.parquet``, atomically.

    Raises:
        BenchmarkError: ``run_dir`` is no run folder or holds no trial.
    """
    frame = results_frame(read_run(run_dir).trials)
    with atomic_path(run_dir / "results.parquet") as temporary:
        frame.to_parquet(temporary, index=False)
    return frame


def read_results(run_dir: Path) -> pd.DataFrame:
    """The rows of ``results.parquet``, with the types of TYPES.

    Raises:
        BenchmarkError: the file is not there, cannot be read, or has other columns.
    """
    path = run_dir / "results.parquet"
    advice = f"\n  Write it again with `mmvae-bench report {run_dir}`."
    if not path.is_file():
        raise BenchmarkError(f"{path}: no such file{advice}")
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"{path}: cannot be read: {error}{advice}") from None
    if tuple(frame.columns) != COLUMNS:
        raise BenchmarkError(f"{path}: has other columns than this version writes{advice}")
    return frame.astype({name: "string" if kind == "str" else kind for name, kind in TYPES.items()})


def _rows(trial: TrialRecord) -> Iterator[dict[str, Any]]:
    shared = _shared(trial)
    for score in trial.scores:
        yield shared | {name: getattr(score, name) for name in _SCORE_COLUMNS}
    if not trial.scores:
        yield shared


_SCORE_COLUMNS = tuple(name for name in COLUMNS if name in Score.__dataclass_fields__)


def _shared(trial: TrialRecord) -> dict[str, Any]:
    """The columns that all rows of a trial have in common."""
    dataset, training, provenance = trial.component("dataset"), trial.section("training"), trial.section("provenance")
    row: dict[str, Any] = {"trial": trial.key, "status": trial.state, "seed": trial.spec.get("seed")}
    if trial.spec:
        for kind in ("objective", "dataset", "backbone", "training"):
            row[f"{kind}_params"] = canonical_json(trial.parameters(kind))
    return row | {
        "objective": trial.component("objective").get("name"),
        "dataset": dataset.get("name"),
        "backbone": trial.component("backbone").get("name"),
        "source": dataset.get("source"),
        "split": dataset.get("split"),
        "split_seed": dataset.get("split_seed"),
        "steps": training.get("steps", trial.status.step),
        "wall_seconds": training.get("wall_seconds"),
        "steps_per_second": training.get("steps_per_second", trial.status.steps_per_second),
        "device": provenance.get("device"),
        "version": provenance.get("package"),
        "commit": provenance.get("commit"),
        "dataset_fingerprint": trial.section("dataset").get("fingerprint"),
        "classifier_fingerprint": trial.section("classifier").get("fingerprint"),
    }
