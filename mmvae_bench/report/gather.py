"""Gathers the trial folders into ``results.parquet`` and ``queries.parquet``.

The files are written trial by trial: a run of a thousand trials never has all its results in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..base.canonical import canonical_json
from ..base.files import atomic_path
from ..base.printable import printable
from ..runs.folder import TrialFolder
from ..runs.names import QUERIES_FILE, RESULTS_FILE
from ..runs.scores import shares_of_score
from .frames import QUERY_TYPES, SCORE_COLUMNS, TYPES, Frames, RunRecord, pandas_types, read_results, texts_of
from .trials import Json, RunFolders, TrialRecord, find_trials, labelled, read_record, unreadable

_RESULTS = pa.Schema.from_pandas(pd.DataFrame(columns=list(TYPES)).astype(pandas_types(TYPES)), preserve_index=False)
"""With the pandas types, so that ``pandas.read_parquet`` gives them back."""
_ARROW = {"str": pa.dictionary(pa.int32(), pa.string()), "Int64": pa.int64(), "float64": pa.float64()}
_QUERIES = pa.schema([(name, _ARROW[kind]) for name, kind in QUERY_TYPES.items()])
_ROWS_AT_ONCE = 2**17
"""A row group is written when it has about this many queries ..."""
_TRIALS_AT_ONCE = 100
"""... or this many trials."""


def read_run(run_dir: Path) -> RunRecord:
    """A run with its numbers, read from the trial folders; nothing is written.

    Raises:
        BenchmarkError: ``run_dir`` does not exist, is not a run folder, or holds no trial.
    """
    return load(find_trials(run_dir))


def load(run: RunFolders) -> RunRecord:
    """The records and the numbers of the trials; nothing is written."""
    sinks = pa.BufferOutputStream(), pa.BufferOutputStream()
    records = _write(run, *sinks)
    frames = Frames.read(*(pa.BufferReader(sink.getvalue()) for sink in sinks))
    return RunRecord(run.directory, records, frames, run.waiting, run.sources, run.summary)


def gather(run: RunFolders) -> RunRecord:
    """Writes ``results.parquet`` and ``queries.parquet`` into the run's directory, and reads the numbers from them."""
    records = write_frames(run)
    frames = Frames.read(run.directory / RESULTS_FILE, run.directory / QUERIES_FILE)
    return RunRecord(run.directory, records, frames, run.waiting, run.sources, run.summary)


def write_frames(run: RunFolders) -> tuple[TrialRecord, ...]:
    """Writes ``results.parquet`` and ``queries.parquet`` into the run's directory, atomically; returns the records."""
    with ExitStack() as stack:
        paths = [stack.enter_context(atomic_path(run.directory / name)) for name in (QUERIES_FILE, RESULTS_FILE)]
        return _write(run, *reversed(paths))


def write_results(run_dir: Path) -> pd.DataFrame:
    """Gathers the numbers of a run in ``results.parquet`` and ``queries.parquet``; returns the rows of the first.

    Raises:
        BenchmarkError: ``run_dir`` is not a run folder or holds no trial.
    """
    write_frames(find_trials(run_dir))
    return read_results(run_dir)


@dataclass(frozen=True)
class TrialNumbers:
    """One trial, read: its record, its scores as in ``result.json``, and what it adds to the two files.

    Attributes:
        rows: Of results.parquet; one, with metric and value null, where the trial has no numbers.
        queries: For each score the scores per query and the groups, Arrow arrays of one length; None if it has none.
    """

    record: TrialRecord
    scores: Sequence[Json]
    rows: pa.RecordBatch
    queries: Sequence[tuple[pa.Array, pa.Array] | None]


def read_trial(folder: TrialFolder) -> TrialNumbers:
    """Reads a trial; one whose scores are of the wrong type or length counts as damaged."""
    record, scores = read_record(folder)
    try:
        return TrialNumbers(record, scores, _result_rows(record, scores), [_per_query(score) for score in scores])
    except (TypeError, ValueError, OverflowError) as error:
        problem = printable(unreadable(folder.result_path, error))
        record = TrialRecord(record.key, record.directory, "damaged", record.spec, problem=problem)
    try:
        return TrialNumbers(record, (), _result_rows(record, ()), ())
    except (TypeError, ValueError, OverflowError) as error:
        problem = printable(f"{folder.spec_path}: a setting cannot be read: {error}")
        record = TrialRecord(record.key, record.directory, "damaged", problem=problem)
        return TrialNumbers(record, (), _result_rows(record, ()), ())


def _result_rows(trial: TrialRecord, scores: Sequence[Json]) -> pa.RecordBatch:
    shared = _shared(trial)
    scores = [{**score, **shares_of_score(score)} for score in scores]
    columns = [
        pa.array([score.get(field.name) for score in scores] or [None], field.type, from_pandas=True)
        if field.name in SCORE_COLUMNS
        else pa.repeat(pa.scalar(shared[field.name], field.type), max(len(scores), 1))
        for field in _RESULTS
    ]
    return pa.record_batch(columns, schema=_RESULTS)


def _per_query(score: Json) -> tuple[pa.Array, pa.Array] | None:
    if not score.get("per_query"):
        return None
    values = pa.array(score["per_query"], pa.float64(), from_pandas=True)
    groups = score.get("groups")
    found = pa.nulls(len(values), pa.int64()) if groups is None else pa.array(groups, pa.int64())
    if len(found) != len(values) or (groups is not None and found.null_count):
        raise ValueError(f"expected a group for each of the {len(values)} scores per query, got {len(found)}")
    return values, found


def _shared(trial: TrialRecord) -> dict[str, Any]:
    """The columns that all rows of a trial have in common."""
    dataset, training, provenance = trial.component("dataset"), trial.section("training"), trial.section("provenance")
    row: dict[str, Any] = {f"{kind}_params": None for kind in ("objective", "dataset", "backbone", "training")}
    if trial.spec:
        row = {name: canonical_json(trial.parameters(name.removesuffix("_params"))) for name in row}
    return row | {
        "trial": trial.key,
        "status": trial.state,
        "seed": trial.spec.get("seed"),
        "objective": trial.component("objective").get("name"),
        "dataset": dataset.get("name"),
        "backbone": trial.component("backbone").get("name"),
        "source": dataset.get("source"),
        "split": dataset.get("split"),
        "split_seed": dataset.get("split_seed"),
        "steps": training.get("steps", trial.status.step),
        "wall_seconds": training.get("wall_seconds"),
        "processor_seconds": training.get("processor_seconds"),
        "steps_per_second": training.get("steps_per_second", trial.status.steps_per_second),
        "device": provenance.get("device"),
        "version": provenance.get("package"),
        "commit": provenance.get("commit"),
        "dataset_fingerprint": trial.section("dataset").get("fingerprint"),
        "classifier_fingerprint": trial.section("classifier").get("fingerprint"),
    }


def _write(run: RunFolders, results: Any, queries: Any) -> tuple[TrialRecord, ...]:
    """Writes the rows of each trial in turn, and keeps only the records."""
    records = []
    with _Writer(results, queries) as writer:
        for folder in run.trials:
            numbers = read_trial(folder)
            writer.add(numbers)
            records.append(numbers.record)
    return labelled(records)


class _Writer:
    """Collects the rows of trials, and writes a row group whenever there are enough."""

    def __init__(self, results: Any, queries: Any) -> None:
        self._results = pq.ParquetWriter(results, _RESULTS)
        repeated = [*texts_of(QUERY_TYPES), "level", "group"]
        encoding = {"query": "DELTA_BINARY_PACKED"}
        try:
            self._queries = pq.ParquetWriter(queries, _QUERIES, use_dictionary=repeated, column_encoding=encoding)
        except BaseException:
            self._results.is_open = False  # As in __exit__.
            raise
        self._rows: list[pa.RecordBatch] = []
        self._heads: list[Json] = []
        self._values: list[tuple[pa.Array, pa.Array]] = []
        self._num_queries = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        writers = self._results, self._queries
        try:
            if kind is None:
                self._flush()
                for writer in writers:
                    writer.close()
        finally:
            # On a full disk a writer that could not write its end would try again when it is collected, and print why.
            for writer in writers:
                writer.is_open = False

    def add(self, trial: TrialNumbers) -> None:
        """The rows of one trial."""
        self._rows.append(trial.rows)
        for score, values in zip(trial.scores, trial.queries, strict=True):
            if values is not None or score.get("proposal") is not None:
                head = {name: score.get(name) for name in _HEAD} | {"trial": trial.record.key}
                self._heads.append(head)
                self._values.append(_NO_QUERY if values is None else values)
                self._num_queries += len(self._values[-1][0])
        if self._num_queries >= _ROWS_AT_ONCE or len(self._rows) >= _TRIALS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._results.write_table(pa.Table.from_batches(self._rows, _RESULTS))
        if self._heads:
            lengths = np.array([len(values) for values, _ in self._values])
            score = np.repeat(np.arange(len(lengths)), lengths)
            position = np.arange(len(score)) - (np.cumsum(lengths) - lengths)[score]
            absent = np.array([values is _NO_QUERY for values in self._values])[score]
            columns = {
                "query": pa.array(position, mask=absent),
                "value": pa.concat_arrays([values for values, _ in self._values]),
                "group": pa.concat_arrays([groups for _, groups in self._values]),
            }
            for name in _HEAD:
                each = pa.array([head[name] for head in self._heads], _QUERIES.field(name).type)
                columns[name] = each.take(pa.array(score))
            table = pa.table([columns[name] for name in QUERY_TYPES], schema=_QUERIES)
            # One row group, however long, because a score is read from the row group that it starts in.
            self._queries.write_table(table, row_group_size=len(table))
        self._rows, self._heads, self._values, self._num_queries = [], [], [], 0


_HEAD = tuple(name for name in QUERY_TYPES if name not in ("query", "value", "group"))
_NO_QUERY = (pa.nulls(1, pa.float64()), pa.nulls(1, pa.int64()))
"""The one row of a number that has a proposal and no scores per query."""
