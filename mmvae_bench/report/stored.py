"""A run of which only ``results.parquet`` is left: its scores and settings, without logs or images.

Intervals of single trials are those that were written. Where ``queries.parquet`` lies beside it, the scores per query
of those trials that it has are read too; the others are compared by their values and their intervals.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..base.errors import BenchmarkError
from ..base.files import open_regular, parse_json
from ..base.printable import cleaned, printable
from ..runs.names import QUERIES_FILE, RESULTS_FILE, TRIALS_FOLDER
from ..runs.scores import Score
from ..specs.trial import SPEC_VERSION
from .frames import QUERY_TYPES, QUESTION, TYPES, Question
from .trials import KEPT_QUERIES, STATES, Json, RunFolders, StoredTrial, TrialRecord, labelled

MOST_ROWS = 1_000_000
MOST_QUERIES = 20_000_000
_LATER = frozenset({"constant", "deaf", "share", "share_low", "share_high", "processor_seconds"})
"""Columns that files of earlier versions lack."""
_SCORE = (*QUESTION, "value", "ci_low", "ci_high", "ceiling", "floor", "constant", "deaf", "num_queries", "num_samples")
_PARTS = ("dataset", "backbone", "objective", "training")
_Kept = dict[tuple[str, Question], Json]
"""``per_query``, ``groups`` and ``proposal``, by the key of a trial and what the number is about."""


def is_stored(run_dir: Path) -> bool:
    """Whether a folder holds the scores of a run, and none of its trials."""
    return (run_dir / RESULTS_FILE).is_file() and not (run_dir / TRIALS_FOLDER).exists()


def stored_trials(run_dir: Path) -> RunFolders:
    """The trials in the ``results.parquet`` of a folder, with the scores in its ``queries.parquet`` if there is one.

    Raises:
        BenchmarkError: a file cannot be read, is too large, has other columns, or holds what no version of this
            package has written; or the scores per query are not those of the numbers.
    """
    results, queries = run_dir / RESULTS_FILE, run_dir / QUERIES_FILE
    with _naming(results):
        trials: dict[str, list[dict[str, Any]]] = {}
        for row in _read(results, TYPES, MOST_ROWS, may_lack=_LATER).to_pylist():
            trials.setdefault(str(row["trial"]), []).append(cleaned(row))
        records = [_record(run_dir, printable(key), found) for key, found in trials.items()]
        if not records:
            raise ValueError("has no rows")
    if os.path.lexists(queries):
        with _naming(queries):
            kept = _kept_queries(queries)
            records = [_with_queries(record, scores, kept) for record, scores in records]
            for key, question in kept:
                raise ValueError(f"{RESULTS_FILE} has no such number: {key} {_named(question)}")
    labels = labelled([record for record, _ in records])
    found = tuple(StoredTrial(record, scores) for record, (_, scores) in zip(labels, records, strict=True))
    return RunFolders(run_dir, found)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Whatever is wrong with a file, its path is named."""
    try:
        yield
    except (
        OSError, ValueError, TypeError, KeyError, NotImplementedError, MemoryError, ArithmeticError, pa.ArrowException,
    ) as error:  # fmt: skip
        raise BenchmarkError(f"{path}: cannot be read: {printable(str(error))}") from None


def _read(path: Path, types: Mapping[str, str], most: int, *, may_lack: Collection[str] = ()) -> pa.Table:
    """The columns of a file, if they are all there and of the right types."""
    with open_regular(path) as file:
        stored = pq.ParquetFile(file)
        if stored.metadata.num_rows > most:
            raise ValueError(f"has {stored.metadata.num_rows:,} rows, more than {most:,}")
        names = stored.schema_arrow.names
        if missing := [name for name in types if name not in names and name not in may_lack]:
            raise ValueError(f"has no column {', '.join(missing)}")
        for field in stored.schema_arrow:
            if field.name in types and not _fits(field.type, types[field.name]):
                raise ValueError(f"column {field.name} is of type {field.type}, expected {types[field.name]}")
        return stored.read(columns=[name for name in types if name in names])


def _kept_queries(path: Path) -> _Kept:
    """The scores per query in a file; a number that has a proposal and no score per query is left out."""
    table = _read(path, QUERY_TYPES, MOST_QUERIES)
    frame = table.to_pandas(categories=[name for name, kind in QUERY_TYPES.items() if kind == "str"])
    frame = frame[frame["query"].notna()]
    kept: _Kept = {}
    for head, part in frame.groupby(["trial", *QUESTION], sort=False, dropna=False, observed=True):
        key, protocol, partition, metric, attribute, level = (None if pd.isna(each) else each for each in head)
        question = Question(protocol, str(partition), str(metric), attribute, None if level is None else int(level))
        if not np.array_equal(part["query"], np.arange(len(part))):
            raise ValueError(f"the queries of {key} {_named(question)} are not numbered from 0 on")
        groups, proposal = part["group"], part["proposal"].iloc[0]
        kept[str(key), question] = {
            "per_query": [None if math.isnan(value) else value for value in part["value"].tolist()],
            "groups": None if groups.isna().all() else [int(group) for group in groups],
            "proposal": None if pd.isna(proposal) else proposal,
        }
    return kept


def _with_queries(record: TrialRecord, scores: list[Json], kept: _Kept) -> tuple[TrialRecord, list[Json]]:
    """A trial with what is kept of its queries, which is taken from there.

    Raises:
        ValueError: if the mean of a number's scores per query is not the number.
    """
    whole: list[Json] = []
    for score in scores:
        protocol, partition, metric, attribute, level = (score.get(name) for name in QUESTION)
        question = Question(protocol, str(partition), str(metric), attribute, level)
        found = kept.pop((record.key, question), None)
        if found is not None:
            known = [value for value in found["per_query"] if value is not None]
            mean = math.fsum(known) / max(len(known), 1)
            if known and not math.isclose(mean, score["value"], rel_tol=1e-3, abs_tol=1e-4):
                raise ValueError(
                    f"the mean over queries of {record.key} {_named(question)} is {mean:g}, and {RESULTS_FILE} has "
                    f"{score['value']:g}: the two files do not belong together"
                )
        whole.append({**score, **(found or {})})
    if any(score.get("per_query") for score in whole):
        record = replace(record, result={**record.result, KEPT_QUERIES: True})
    return record, whole


def _named(question: Question) -> str:
    return printable(" ".join(str(part) for part in question if part is not None))


def _fits(found: pa.DataType, wanted: str) -> bool:
    """Whether a column of a file can be one of pandas type ``wanted``."""
    fitting = {"str": (pa.types.is_string, pa.types.is_large_string), "Int64": (pa.types.is_integer,),
               "float64": (pa.types.is_floating,)}  # fmt: skip
    found = found.value_type if pa.types.is_dictionary(found) else found
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
