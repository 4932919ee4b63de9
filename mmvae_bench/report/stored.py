"""A run of which only ``results.parquet`` is left: its scores and settings, without numbers per query, logs or images.

So intervals of single trials are those that were written, and several seeds are compared by their values alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..base.errors import BenchmarkError
from ..base.files import open_regular, parse_json
from ..base.printable import cleaned, printable
from ..runs.names import RESULTS_FILE, TRIALS_FOLDER
from ..runs.scores import Score
from ..specs.trial import SPEC_VERSION
from .frames import QUESTION, TYPES
from .trials import STATES, Json, RunFolders, StoredTrial, TrialRecord, labelled

MOST_ROWS = 1_000_000
_LATER = frozenset({"constant", "deaf", "share", "share_low", "share_high", "processor_seconds"})
"""Columns that files of earlier versions lack."""
_SCORE = (*QUESTION, "value", "ci_low", "ci_high", "ceiling", "floor", "constant", "deaf", "num_queries", "num_samples")
_PARTS = ("dataset", "backbone", "objective", "training")


def is_stored(run_dir: Path) -> bool:
    """Whether a folder holds the scores of a run, and none of its trials."""
    return (run_dir / RESULTS_FILE).is_file() and not (run_dir / TRIALS_FOLDER).exists()


def stored_trials(run_dir: Path) -> RunFolders:
    """The trials in the ``results.parquet`` of a folder.

    Raises:
        BenchmarkError: it cannot be read, is too large, has other columns, or holds what no version of this package
            has written.
    """
    path = run_dir / RESULTS_FILE
    try:
        with open_regular(path) as file:
            stored = pq.ParquetFile(file)
            if stored.metadata.num_rows > MOST_ROWS:
                raise ValueError(f"has {stored.metadata.num_rows:,} rows, more than {MOST_ROWS:,}")
            missing = [name for name in TYPES if name not in stored.schema_arrow.names and name not in _LATER]
            if missing:
                raise ValueError(f"has no column {', '.join(missing)}")
            for field in stored.schema_arrow:
                if field.name in TYPES and not _fits(field.type, TYPES[field.name]):
                    raise ValueError(f"column {field.name} is of type {field.type}, expected {TYPES[field.name]}")
            rows = stored.read(columns=[name for name in TYPES if name in stored.schema_arrow.names]).to_pylist()
        trials: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            trials.setdefault(str(row["trial"]), []).append(cleaned(row))
        records = [_record(run_dir, printable(key), found) for key, found in trials.items()]
    except (OSError, ValueError, TypeError, KeyError, NotImplementedError, MemoryError) as error:
        raise BenchmarkError(f"{path}: cannot be read: {printable(str(error))}") from None
    if not records:
        raise BenchmarkError(f"{path}: has no rows")
    labels = labelled([record for record, _ in records])
    found = tuple(StoredTrial(record, scores) for record, (_, scores) in zip(labels, records, strict=True))
    return RunFolders(run_dir, found)


def _fits(found: pa.DataType, wanted: str) -> bool:
    """Whether a column of a file can be one of pandas type ``wanted``."""
    fitting = {"str": (pa.types.is_string, pa.types.is_large_string), "Int64": (pa.types.is_integer,),
               "float64": (pa.types.is_floating,)}  # fmt: skip
    return any(kind(found) for kind in (*fitting[wanted], pa.types.is_null))


def _record(run_dir: Path, key: str, rows: list[dict[str, Any]]) -> tuple[TrialRecord, list[Json]]:
    """A trial from its rows."""
    first = rows[0]
    # It names a folder below, and must not lead out of it.
    if not re.fullmatch("[0-9a-f]+", key):
        raise ValueError(f"{key} is no key of a trial")
    if first["seed"] is None:
        raise ValueError(f"trial {key} has no seed")
    if first["status"] not in STATES:
        raise ValueError(f"trial {key} has the state {first['status']}, expected one of {', '.join(STATES)}")
    spec: dict[str, Any] = {"version": SPEC_VERSION, "seed": first["seed"]}
    for part in _PARTS:
        params = parse_json(first[f"{part}_params"] or "{}")
        if not isinstance(params, Mapping):
            raise ValueError(f"{part}_params of trial {key} is no mapping")
        spec[part] = {**({} if part == "training" else {"name": first[part]}), **params}
    state = first["status"]
    result = {
        "training": _known(first, steps="steps", wall_seconds="wall_seconds", steps_per_second="steps_per_second",
                           processor_seconds="processor_seconds"),
        "provenance": _known(first, package="version", commit="commit", device="device"),
        "dataset": _known(first, fingerprint="dataset_fingerprint"),
        "classifier": {},
    }  # fmt: skip
    scores = [_score(row) for row in rows if row["metric"] is not None]
    accuracy = {score["attribute"]: score["value"] for score in scores if score["metric"] == "classifier_accuracy"}
    if first["classifier_fingerprint"] is not None and None in accuracy:
        mean = accuracy.pop(None)
        result["classifier"] = {"name": "classifier", "fingerprint": first["classifier_fingerprint"],
                                "accuracy": accuracy, "mean_accuracy": mean}  # fmt: skip
    partitions = tuple(sorted({str(score["partition"]) for score in scores}))
    done = state == "done"
    record = TrialRecord(key, run_dir / TRIALS_FOLDER / key, state, spec, result=result if done else {},
                         partitions=partitions if done else ())  # fmt: skip
    return record, scores if done else []


def _known(row: Mapping[str, Any], **names: str) -> dict[str, Any]:
    return {name: row[column] for name, column in names.items() if row.get(column) is not None}


def _score(row: Mapping[str, Any]) -> Json:
    """A score as in ``result.json``."""
    plain = {name: row[name] for name in _SCORE if row.get(name) is not None}
    numbers = {name: value for name, value in plain.items() if not (isinstance(value, float) and math.isnan(value))}
    return Score(**({"value": math.nan} | numbers)).to_json()
