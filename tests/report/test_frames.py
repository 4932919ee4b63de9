"""results.parquet and queries.parquet together hold everything that result.json says in numbers."""

from __future__ import annotations

import errno
import gc
import io
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmvae_bench.base.files import write_json
from mmvae_bench.report import gather as gathering
from mmvae_bench.report import read_queries, read_results, write_report, write_results
from mmvae_bench.report.comparison import compare
from mmvae_bench.report.frames import QUERY_TYPES, Frames, Question
from mmvae_bench.report.gather import gather, read_run
from mmvae_bench.report.trials import find_trials
from mmvae_bench.runs.scores import Score

from .synthetic_runs import scores_of, spec_of, write_trial

JOIN = ["trial", "protocol", "partition", "metric", "attribute", "level"]
GONE = math.nan


def score(metric: str = "correctness", **changes: Any) -> Score:
    given: dict[str, Any] = {"partition": "test", "protocol": "paper", "level": 4, "value": 0.5} | changes
    return Score(metric=metric, **given)


AWKWARD = [
    score(per_query=[0.25, GONE, 0.75, 0.1], groups=[7, 7, 2**40, 0]),
    score(level=3, per_query=[GONE, GONE], value=GONE, ci_low=GONE),
    score(level=None, protocol=None, per_query=[1.0]),
    score(level=0, attribute="", per_query=[0.0, 1.0], groups=[0, 0], num_queries=0, num_samples=0),
    score(level=2, attribute="digit"),
    score(level=2, partition="val", per_query=[0.1, 0.2, 0.3]),
    score("description_entropy", attribute="digit", proposal="q(z|x,y)"),
    score("description_entropy", proposal="q(z|x)", per_query=[-12345.678901, 1e-6]),
    score("description_entropy", attribute="scale", proposal="q(z|x,y)", num_samples=10),
    score("of_a_plugin", level=1, per_query=[0.5], floor=0.25, ceiling=1.0),
]
"""Gaps, no groups, large group numbers, empty names and zeros, a proposal without scores per query, two partitions."""


@pytest.fixture
def awkward(tmp_path: Path) -> Path:
    """Two trials with the same scores in another order, one without any score, and one that failed."""
    write_trial(tmp_path / "run", spec_of("telbo"), scores=AWKWARD)
    write_trial(tmp_path / "run", spec_of("jmvae"), scores=AWKWARD[::-1])
    write_trial(tmp_path / "run", spec_of("bivcca"), scores=[])
    write_trial(tmp_path / "run", spec_of("telbo", seed=1), "failed", error="no")
    return tmp_path / "run"


@pytest.fixture(params=[1, 3, 2**17], ids="{} rows at once".format)
def row_groups(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row groups of one number, of a few, and one for all."""
    monkeypatch.setattr(gathering, "_ROWS_AT_ONCE", request.param)


def stored(run_dir: Path, key: str) -> list[dict[str, Any]]:
    """The scores of a trial as they are in its result.json."""
    found: list[dict[str, Any]] = json.loads((run_dir / "trials" / key / "result.json").read_text())["scores"]
    return found


@pytest.mark.usefixtures("row_groups")
@pytest.mark.parametrize("written", [True, False], ids=["files", "in memory"])
def test_every_score_comes_back(awkward: Path, written: bool) -> None:
    run = gather(find_trials(awkward)) if written else read_run(awkward)
    assert (awkward / "queries.parquet").exists() == written
    for trial in run.trials:
        found = run.frames.scores(trial.key)
        expected = stored(awkward, trial.key) if trial.state == "done" else []
        assert [each.to_json() for each in found.values()] == expected, trial.label
        assert list(found) == [Question(*(each[name] for name in Question._fields)) for each in expected]
    assert len(run.frames.questions) == 2 * len(AWKWARD)


@pytest.mark.usefixtures("row_groups")
def test_queries_are_rows_that_join_to_the_results(awkward: Path) -> None:
    results = write_results(awkward)
    queries = read_queries(awkward)
    assert list(queries.columns) == list(QUERY_TYPES)
    assert [str(queries[name].dtype) for name in ("trial", "level", "query", "value", "group")] == [
        "string", "Int64", "Int64", "float64", "Int64",
    ]  # fmt: skip
    joined = queries.merge(results, on=JOIN, how="left", suffixes=("", "_of_all"), validate="many_to_one")
    assert joined.objective.notna().all()
    expected = []
    for key in dict.fromkeys(results.trial[results.metric.notna()]):
        for each in stored(awkward, key):
            names = [key, *(each[name] for name in JOIN[1:])]
            values = each["per_query"] or ([None] if each["proposal"] else [])
            groups = each["groups"] or [None] * len(values)
            numbers = range(len(values)) if each["per_query"] else [None]
            expected += [
                [*names, query, value, group, each["proposal"]]
                for query, value, group in zip(numbers, values, groups, strict=False)
            ]
    plain = queries.astype(object).where(queries.notna(), None)
    assert plain.values.tolist() == expected
    assert sum(each.proposal is not None and each.per_query is None for each in AWKWARD) == 2


def test_a_run_without_numbers_has_both_files(tmp_path: Path) -> None:
    write_trial(tmp_path, spec_of(), "pending")
    assert len(write_results(tmp_path)) == 1
    assert read_queries(tmp_path).empty
    frames = Frames.read(tmp_path / "results.parquet", tmp_path / "queries.parquet")
    assert frames.scores(spec_of().key) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"per_query": ["0.5", 0.5]},
        {"per_query": 0.5},
        {"per_query": [0.5, 0.5], "groups": [1]},
        {"per_query": [0.5], "groups": [None]},
        {"value": "much"},
        {"level": "all"},
        {"proposal": 3},
        {"partition": None},
        {"attribute": ["digit"]},
        {"novel": 1},
    ],
    ids=str,
)
def test_a_score_of_the_wrong_kind_is_damage_and_the_others_count(change: dict[str, Any], tmp_path: Path) -> None:
    write_trial(tmp_path, spec_of("telbo"))
    folder = write_trial(tmp_path, spec_of("jmvae"))
    result = json.loads((folder / "result.json").read_text())
    result["scores"][1] |= change
    write_json(folder / "result.json", result)
    text = " ".join(write_report(tmp_path, width=400, color=False).split())
    assert "1 of 2 trials done, 1 damaged" in text
    assert f"{folder / 'result.json'}: a score cannot be read: " in text
    frame = read_results(tmp_path)
    assert set(frame.status[frame.trial == folder.name]) == {"damaged"}
    assert len(frame) == 1 + len(scores_of(spec_of("telbo")))
    assert set(read_queries(tmp_path).trial) == {spec_of("telbo").key}


def test_the_comparison_reads_its_numbers_from_the_two_files(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is changed in the files after they are written, and before they are read, is what is shown."""
    key = spec_of("telbo", seed=0).key
    read = Frames.read

    def changed(results: Path, queries: Path) -> Frames:
        for path, metric, shift in ((results, "elbo", 10.0), (queries, "description_accuracy", 0.25)):
            table = pq.read_table(path)
            here = (table.to_pandas().trial == key) & (table.to_pandas().metric == metric)
            assert here.any()
            value = pa.array(table["value"].to_pandas() + shift * here.astype(float), from_pandas=True)
            pq.write_table(table.set_column(table.column_names.index("value"), "value", value), path)
        return read(results, queries)

    def shown() -> tuple[float, float]:
        comparison = compare(gather(find_trials(run_dir)))
        (section,) = [each for each in comparison.sections if each.setting.split == "iid"]
        rows = {row.metric: row for row in section.rows}
        place = [column.label for column in section.columns].index("telbo")
        cell, described = rows["elbo"].cells[place], rows["description_accuracy"]
        (difference,) = [each for each in described.differences if each is not None]
        assert cell is not None
        return cell.value, difference.value * (1 if described.best == place else -1)

    before = shown()
    monkeypatch.setattr(Frames, "read", changed)
    after = shown()
    # One of two training seeds was changed.
    assert [b - a for a, b in zip(before, after, strict=True)] == pytest.approx([10 / 2, 0.25 / 2])


def test_values_per_query_are_one_array_and_groups_are_kept_once(tmp_path: Path) -> None:
    """8 bytes per value, however many trials: what makes a report of a thousand of them small."""
    groups = list(range(48))
    for seed in range(3):
        scores = [replace(each, groups=groups) for each in scores_of(spec_of(seed=seed)) if each.protocol == "paper"]
        write_trial(tmp_path, spec_of(seed=seed), scores=scores)
    frames = read_run(tmp_path).frames
    rows = [row for found in frames.rows.values() for row in found]
    assert len({id(frames.groups(row)) for row in rows}) == 1
    arrays = [frames.per_query(row) for row in rows]
    assert len({id(None if values is None else values.base) for values in arrays}) == 1
    assert all(values is not None and values.dtype == np.float64 for values in arrays)


class FullDisk(io.BytesIO):
    """Takes so many bytes and no more."""

    def __init__(self, num_bytes: int) -> None:
        super().__init__()
        self.num_bytes = num_bytes

    def write(self, data: Any) -> int:
        self.num_bytes -= len(data)
        if self.num_bytes < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


@pytest.mark.parametrize("room", [(0, 0), (4, 0), (4, 10**6), (10**6, 4), (1000, 10**6), (10**6, 1000), (4, 4)])
def test_a_full_disk_is_one_error_and_no_second_one_later(
    room: tuple[int, int], awkward: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyarrow's writers close themselves when they are collected; what that raises is printed, traceback and all."""
    later: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", later.append)
    with pytest.raises(OSError, match="No space left on device"):
        gathering._write(find_trials(awkward), *map(FullDisk, room))
    gc.collect()
    assert not later


def test_a_score_with_more_queries_than_arrow_puts_in_a_row_group(tmp_path: Path) -> None:
    """By default a table is cut after 2**20 rows; the queries of a score must stay together."""
    values = [0.25] * 2**20 + [0.5, 0.75]
    folder = write_trial(tmp_path, spec_of("telbo"), scores=[score(per_query=values), score(level=3, per_query=[1.0])])
    frames = read_run(tmp_path).frames
    first, second = (frames.per_query(row) for row in frames.rows[folder.name])
    assert first is not None
    assert first.tolist() == values
    assert second is not None
    assert second.tolist() == [1.0]


@pytest.mark.parametrize("section", ["evaluation", "dataset", "classifier", "training", "provenance", "seeds"])
def test_a_result_with_a_section_that_is_no_object_is_damage_and_the_others_count(section: str, tmp_path: Path) -> None:
    write_trial(tmp_path, spec_of("telbo"))
    folder = write_trial(tmp_path, spec_of("jmvae"))
    result = json.loads((folder / "result.json").read_text())
    write_json(folder / "result.json", result | {section: [1]})
    text = " ".join(write_report(tmp_path, width=400, color=False).split())
    assert "1 of 2 trials done, 1 damaged" in text
    assert f"{folder / 'result.json'}: {section}: expected a JSON object" in text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"seed": "one"}, "a setting cannot be read: "),
        ({"seed": 2**70}, "a setting cannot be read: "),
        ({"dataset": {"name": "mnist_a", "source": 5}}, "a setting cannot be read: "),
        ({"objective": "jmvae"}, "objective: expected a JSON object"),
    ],
    ids=str,
)
def test_a_spec_of_the_wrong_kind_is_damage_and_the_others_count(
    change: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    write_trial(tmp_path, spec_of("telbo"))
    folder = write_trial(tmp_path, spec_of("jmvae"))
    spec = json.loads((folder / "spec.json").read_text())
    write_json(folder / "spec.json", spec | change)
    text = " ".join(write_report(tmp_path, width=400, color=False).split())
    assert "1 of 2 trials done, 1 damaged" in text
    assert f"{folder / 'spec.json'}: {reason}" in text
    frame = read_results(tmp_path)
    assert set(frame.status[frame.trial == folder.name]) == {"damaged"}
