"""A run of which only ``results.parquet`` is left: its scores and settings, without logs or images.

Intervals of single trials are those that were written. Where ``queries.parquet`` lies beside it, the scores per query
of those trials that it has are read too; the others are compared by their values and their intervals.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..base.errors import BenchmarkError
from ..base.files import open_regular, parse_json
from ..base.printable import MOST_CHARACTERS, cleaned, printable
from ..runs.names import QUERIES_FILE, RESULTS_FILE, TRIALS_FOLDER
from ..runs.scores import STORED_PRECISION, Score
from ..specs.trial import SPEC_VERSION
from .frames import QUERY_TYPES, QUESTION, TYPES, Question
from .trials import STATES, Json, RunFolders, StoredTrial, TrialRecord, labelled

MOST_ROWS = 1_000_000
MOST_QUERIES = 20_000_000
MOST_BYTES = 2**31
"""What the columns of a file may take, unpacked and with their texts in every row: far more than the rows above take in
files of this package. A long text that all rows share hardly adds to the file, and would fill the memory."""
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
        for row in _plain(_read(results, TYPES, MOST_ROWS, may_lack=_LATER)).to_pylist():
            trials.setdefault(str(row["trial"]), []).append(cleaned(row))
        records = [_record(run_dir, printable(key), found) for key, found in trials.items()]
        if not records:
            raise ValueError("has no rows")
    if os.path.lexists(queries):
        with _naming(queries):
            kept = _kept_queries(queries, at_most=sum(len(scores) for _, scores in records))
            records = [(record, _with_queries(record, scores, kept)) for record, scores in records]
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
    """The columns of a file, if they are all there and of the right types; texts as dictionaries.

    A row group is read at a time, and nothing after it is once the texts or the columns so far are too large.
    """
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
        columns = [name for name in types if name in names]
        _check_size(_unpacked_size(stored.metadata, columns))
        texts = [name for name in columns if types[name] == "str"]
        stored = pq.ParquetFile(file, metadata=stored.metadata, read_dictionary=texts)
        parts, size = [stored.schema_arrow.empty_table().select(columns)], 0
        for index in range(stored.num_row_groups):
            part = stored.read_row_group(index, columns=columns)
            size += sum(map(_size, part.columns))
            _check_size(size)
            parts.append(part)
        return pa.concat_tables(parts, promote_options="permissive").unify_dictionaries()


def _unpacked_size(metadata: pq.FileMetaData, columns: Sequence[str]) -> int:
    """What the file says that its columns take, before any of them is unpacked."""
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    each = (group.column(place) for group in groups for place in range(group.num_columns))
    return sum(chunk.total_uncompressed_size for chunk in each if chunk.path_in_schema in columns)


def _size(column: pa.ChunkedArray) -> int:
    """What a column takes with its texts in every row; ValueError for a text that is too long."""
    if not pa.types.is_dictionary(column.type) or not _fits(column.type, "str"):
        return int(column.nbytes)
    size = 0
    for chunk in column.chunks:
        if (pc.max(pc.utf8_length(chunk.dictionary)).as_py() or 0) > MOST_CHARACTERS:
            raise ValueError(f"a text of more than {MOST_CHARACTERS:,} characters")
        size += pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0
    return size + int(column.nbytes)


def _check_size(size: int) -> None:
    if size > MOST_BYTES:
        raise ValueError(f"its columns take {size / 2**30:,.1f} GiB, more than {MOST_BYTES / 2**30:g}")


def _plain(table: pa.Table) -> pa.Table:
    """A table with its texts in every row."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(field.type.value_type))
    return table


def _kept_queries(path: Path, *, at_most: int) -> _Kept:
    """The scores per query of at most so many numbers in a file; a number that has a proposal and no score per query is
    left out."""
    frame = _read(path, QUERY_TYPES, MOST_QUERIES).to_pandas()
    frame = frame[frame["query"].notna()]
    kept: _Kept = {}
    numbers = frame.groupby(["trial", *QUESTION], sort=False, dropna=False, observed=True)
    if numbers.ngroups > at_most:
        raise ValueError(f"has scores per query of {numbers.ngroups:,} numbers, and {RESULTS_FILE} has {at_most:,}")
    for head, part in numbers:
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


def _with_queries(record: TrialRecord, scores: Sequence[Json], kept: _Kept) -> list[Json]:
    """The scores of a trial with what is kept of their queries, which is taken from there.

    Raises:
        ValueError: if the mean of a number's scores per query is not the number, to the digits that are stored.
    """
    whole: list[Json] = []
    for score in scores:
        protocol, partition, metric, attribute, level = (score.get(name) for name in QUESTION)
        question = Question(protocol, str(partition), str(metric), attribute, level)
        found = kept.pop((record.key, question), None)
        if found is not None:
            known = [value for value in found["per_query"] if value is not None]
            mean = math.fsum(known) / max(len(known), 1)
            scale = max(math.fsum(map(abs, known)) / max(len(known), 1), 1.0)
            value = math.nan if score["value"] is None else score["value"]
            if known and not abs(mean - value) / scale <= STORED_PRECISION:
                raise ValueError(
                    f"the mean over queries of {record.key} {_named(question)} is {mean:.9g}, and {RESULTS_FILE} has "
                    f"{value:.9g}: the two files do not belong together"
                )
        whole.append({**score, **(found or {})})
    return whole


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
