"""The numbers of a run: ``results.parquet``, one row per number, and ``queries.parquet``, one row per query.

What is in the two files, and how they are read: as data frames, or as arrays for the comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..base.errors import BenchmarkError
from ..base.printable import printable
from ..runs.names import QUERIES_FILE, RESULTS_FILE
from ..runs.scores import Score
from .trials import TrialRecord

TYPES = {
    "trial": "str", "objective": "str", "objective_params": "str", "dataset": "str", "source": "str",
    "dataset_params": "str", "split": "str", "split_seed": "Int64", "backbone": "str", "backbone_params": "str",
    "training_params": "str", "seed": "Int64", "steps": "Int64", "protocol": "str", "partition": "str",
    "metric": "str", "attribute": "str", "level": "Int64", "value": "float64", "ci_low": "float64",
    "ci_high": "float64", "ceiling": "float64", "floor": "float64", "num_queries": "Int64", "num_samples": "Int64",
    "status": "str", "wall_seconds": "float64", "steps_per_second": "float64", "device": "str", "version": "str",
    "commit": "str", "dataset_fingerprint": "str", "classifier_fingerprint": "str",
    "constant": "float64", "deaf": "float64", "share": "float64", "share_low": "float64", "share_high": "float64",
    "processor_seconds": "float64",
}  # fmt: skip
"""The columns of results.parquet, in order, with their pandas types. The _params are canonical JSON.

constant, deaf: two more references, see :class:`~mmvae_bench.runs.scores.Score`. share: how far the value has come from
its floor to its ceiling, with its interval, see :func:`~mmvae_bench.runs.scores.share_of_way`. wall_seconds,
processor_seconds: of the training loop; the latter of all threads.
"""

COLUMNS = tuple(TYPES)

QUERY_TYPES = {
    "trial": "str", "protocol": "str", "partition": "str", "metric": "str", "attribute": "str", "level": "Int64",
    "query": "Int64", "value": "float64", "group": "Int64", "proposal": "str",
}  # fmt: skip
"""The columns of queries.parquet, in order: the first six name the row of results.parquet that the query is part of.

query: its position among the queries of that row, from 0. value: null where the query has no score. group: the number
of the full concept behind the query; null where each query is its own group. proposal: of a likelihood, what its z were
drawn from. A number that has a proposal and no score per query has one row, with query and value null.
"""


class Question(NamedTuple):
    """What a number is about; together with its trial it identifies a row of results.parquet."""

    protocol: str | None
    partition: str
    metric: str
    attribute: str | None
    level: int | None


QUESTION = Question._fields
_NUMBERS = ("value", "ci_low", "ci_high", "ceiling", "floor", "constant", "deaf")
_COUNTS = ("num_queries", "num_samples")
SHARES = ("share", "share_low", "share_high")
SCORE_COLUMNS = (*QUESTION, *_NUMBERS, *_COUNTS, *SHARES)
"""The columns of results.parquet that belong to a single number; the others belong to its trial."""


@dataclass(frozen=True)
class Frames:
    """The numbers of a run in arrays, one entry per row of results.parquet that has a number.

    Attributes:
        rows: The rows of each trial that has any, by its key.
        questions: What each number is about.
        value: Float[row], a fraction or nats; nan if there is none. The other arrays likewise.
        num_queries: Int[row]; -1 where unknown. ``num_samples`` likewise.
        proposal: What the z of a likelihood were drawn from; None for other numbers.
    """

    rows: Mapping[str, range]
    questions: Sequence[Question]
    value: NDArray[np.float64]
    ci_low: NDArray[np.float64]
    ci_high: NDArray[np.float64]
    ceiling: NDArray[np.float64]
    floor: NDArray[np.float64]
    constant: NDArray[np.float64]
    deaf: NDArray[np.float64]
    num_queries: NDArray[np.int64]
    num_samples: NDArray[np.int64]
    proposal: Sequence[str | None]
    _per_query: Sequence[NDArray[np.float64] | None]
    _groups: Sequence[NDArray[np.int64] | None]

    def per_query(self, row: int) -> NDArray[np.float64] | None:
        """Float[query], nan where a query has no score; None if no score per query is stored."""
        return self._per_query[row]

    def groups(self, row: int) -> NDArray[np.int64] | None:
        """Int[query], the number of the full concept behind each query; None where each is its own group."""
        return self._groups[row]

    def scores(self, trial: str) -> dict[Question, Score]:
        """The numbers of a trial by what they are about, as they were in ``result.json``."""
        return {self.questions[row]: self._score(row) for row in self.rows.get(trial, ())}

    def _score(self, row: int) -> Score:
        plain: dict[str, Any] = {name: float(getattr(self, name)[row]) for name in _NUMBERS}
        for name in _COUNTS:
            count = int(getattr(self, name)[row])
            plain[name] = None if count < 0 else count
        for name, values in (("per_query", self._per_query[row]), ("groups", self._groups[row])):
            plain[name] = None if values is None else values.tolist()
        return Score(**self.questions[row]._asdict(), **plain, proposal=self.proposal[row])

    @classmethod
    def read(cls, results: Any, queries: Any) -> Self:
        """Reads both files, given as paths or as readable Arrow files; they must have been written together."""
        columns = ["trial", *QUESTION, *_NUMBERS, *_COUNTS]
        table = pq.read_table(results, columns=columns, read_dictionary=texts_of(TYPES))
        table = table.filter(pc.is_valid(table["metric"]))
        trials = _texts(table["trial"])
        distinct: dict[tuple[Any, ...], Question] = {}
        texts = (table[name].to_pylist() if name == "level" else _texts(table[name]) for name in QUESTION)
        questions = [distinct.setdefault(each, Question(*each)) for each in zip(*texts, strict=True)]
        rows: dict[str, range] = {}
        for row, key in enumerate(trials):
            rows[key] = range(rows[key].start if key in rows else row, row + 1)
        return cls(
            rows,
            questions,
            *(table[name].to_numpy() for name in _NUMBERS),
            *(table[name].combine_chunks().fill_null(-1).to_numpy() for name in _COUNTS),
            *_read_queries(queries, trials, questions),
        )


def _read_queries(source: Any, trials: Sequence[str], questions: Sequence[Question]) -> tuple[list[Any], ...]:
    """For each row of results.parquet its proposal, its scores per query, and the groups of the queries."""
    file = pq.ParquetFile(source, read_dictionary=texts_of(QUERY_TYPES))
    values = np.empty(file.metadata.num_rows)
    proposals, per_query, groups = found = tuple[list[Any], ...]([None] * len(trials) for _ in range(3))
    same_groups: dict[bytes, Any] = {}  # Mostly the same in every trial of a run: kept once.
    end, row = 0, -1
    for index in range(file.num_row_groups):
        table = file.read_row_group(index).combine_chunks()
        begin, end = end, end + len(table)
        values[begin:end] = table["value"].to_numpy()
        group, grouped = table["group"].fill_null(0).to_numpy(), table["group"].is_valid().to_numpy()
        query = table["query"].fill_null(-1).to_numpy()
        starts = np.flatnonzero(query <= 0)  # Both files are in the same order, so the first of each row are enough.
        heads = table.take(pa.array(starts))
        columns = [heads[name].to_pylist() if name == "level" else _texts(heads[name]) for name in QUESTION]
        for start, stop, trial, question, proposal in zip(
            starts.tolist(), [*starts[1:].tolist(), len(table)], _texts(heads["trial"]), zip(*columns, strict=True),
            _texts(heads["proposal"]), strict=True,
        ):  # fmt: skip
            row += 1
            while trials[row] != trial or questions[row] != question:
                row += 1
            proposals[row] = proposal
            if query[start] == 0:
                per_query[row] = values[begin + start : begin + stop]
                if grouped[start]:
                    groups[row] = same_groups.setdefault(group[start:stop].tobytes(), group[start:stop])
    return found


def _texts(column: pa.ChunkedArray) -> list[Any]:
    """The texts of a dictionary-encoded column, None where null."""
    found: list[str | None] = []
    for chunk in column.chunks:
        names = [*chunk.dictionary.to_pylist(), None]
        found += map(names.__getitem__, chunk.indices.fill_null(-1).to_pylist())
    return found


def texts_of(types: Mapping[str, str]) -> list[str]:
    """The columns that hold text."""
    return [name for name, kind in types.items() if kind == "str"]


@dataclass(frozen=True)
class RunRecord:
    """A run folder, or several merged into one.

    Attributes:
        directory: The run's folder, or that of the merged report.
        trials: Every trial, in the order of the report.
        frames: Their numbers.
        waiting: Keys of the grid that have no folder yet.
        sources: What was merged, one line per folder; empty where nothing was.
        summary: What its grid says of it; empty where it says nothing.
    """

    directory: Path
    trials: tuple[TrialRecord, ...]
    frames: Frames
    waiting: frozenset[str] = frozenset()
    sources: tuple[str, ...] = ()
    summary: str = ""

    @property
    def unstarted(self) -> int:
        """How many trials of the grid have no folder yet."""
        return len(self.waiting)

    @property
    def name(self) -> str:
        """The folder's name."""
        return printable(self.directory.resolve().name)


def read_results(run_dir: Path) -> pd.DataFrame:
    """The rows of ``results.parquet``, with the types of TYPES.

    Raises:
        BenchmarkError: the file does not exist, cannot be read, or has other columns.
    """
    return _read(run_dir, RESULTS_FILE, TYPES)


def read_queries(run_dir: Path) -> pd.DataFrame:
    """The rows of ``queries.parquet``, with the types of QUERY_TYPES; raises as :func:`read_results`."""
    return _read(run_dir, QUERIES_FILE, QUERY_TYPES)


def _read(run_dir: Path, name: str, types: Mapping[str, str]) -> pd.DataFrame:
    path = run_dir / name
    advice = f"\n  Write it again with `mmvae-bench report {run_dir}`."
    if not path.is_file():
        raise BenchmarkError(f"{path}: no such file{advice}")
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError, NotImplementedError, MemoryError) as error:
        raise BenchmarkError(f"{path}: cannot be read: {error}{advice}") from None
    if tuple(frame.columns) != tuple(types):
        raise BenchmarkError(f"{path}: its columns are not those that this version writes{advice}")
    return frame.astype(pandas_types(types))


def pandas_types(types: Mapping[str, str]) -> dict[str, Any]:
    """The types as ``DataFrame.astype`` takes them."""
    return {name: "string" if kind == "str" else kind for name, kind in types.items()}
