"""A leaderboard of runs of which only results.parquet is left."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.cli import main
from mmvae_bench.report import stored as stored_runs
from mmvae_bench.report.comparison import Section, compare
from mmvae_bench.report.frames import read_queries
from mmvae_bench.report.gather import load, read_run, write_results
from mmvae_bench.report.leaderboard import write_leaderboard
from mmvae_bench.report.merge import merge_runs
from mmvae_bench.report.stored import stored_trials
from mmvae_bench.report.trials import read_record
from mmvae_bench.runs.scores import Score

from .synthetic_runs import SKILL, spec_of, write_trial


def stored(run: Path, folder: Path) -> Path:
    write_results(run)
    folder.mkdir()
    shutil.copy(run / "results.parquet", folder)
    return folder


def test_the_scores_are_those_of_the_run(run_dir: Path, tmp_path: Path) -> None:
    """Values, references, settings and states; intervals over seeds do without the queries, and the page says so."""
    kept = stored(run_dir, tmp_path / "kept")
    whole = compare(read_run(run_dir))
    left = compare(load(merge_runs([kept], tmp_path / "site")))
    assert left.states == whole.states
    names = ["table", "protocol", "metric", "level", "objective", "value", "floor", "ceiling", "num_seeds"]
    one, other = (each.frame()[names].sort_values(names).reset_index(drop=True) for each in (whole, left))
    pd.testing.assert_frame_equal(one, other)
    assert [section.setting for section in left.sections] == [section.setting for section in whole.sections]
    for section, number in zip(left.sections, (2, 4), strict=True):
        assert f"Only the scores of {number} of {number} trials are left" in " ".join(section.warnings)
    assert not any("Only the scores" in text for section in whole.sections for text in section.warnings)


def test_a_single_seed_keeps_its_interval(tmp_path: Path) -> None:
    write_trial(tmp_path / "run", spec_of("telbo"))
    kept = stored(tmp_path / "run", tmp_path / "kept")
    left = compare(load(merge_runs([kept], tmp_path / "site"))).frame()
    rows = pd.read_parquet(kept / "results.parquet")
    keys = ["protocol", "metric", "level", "ci_low", "ci_high"]
    one, other = (each[keys].astype(object).sort_values(keys[:3]).reset_index(drop=True) for each in (rows, left))
    assert one.to_csv() == other.to_csv()
    assert left.ci_low.notna().sum() > 10


def test_several_seeds_keep_their_queries_in_the_interval_and_in_what_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interval over seeds is not narrower than from the scores per query, and nothing more is claimed."""
    monkeypatch.setitem(SKILL, "bivcca", 0.4)
    for seed in range(3):
        for objective in ("telbo", "jmvae", "bivcca"):
            write_trial(tmp_path / "run", spec_of(objective, seed=seed))
    kept = stored(tmp_path / "run", tmp_path / "kept")
    whole = compare(read_run(tmp_path / "run")).sections[0]
    left = compare(load(merge_runs([kept], tmp_path / "site"))).sections[0]
    claims = np.zeros(2)
    compared = 0
    for one, other in zip(whole.rows, left.rows, strict=True):
        assert not (other.better & ~one.better).any(), "told apart without the scores per query only"
        claims += one.better.sum(), other.better.sum()
        for known, rest in zip(one.cells, other.cells, strict=True):
            assert known is not None
            assert rest is not None
            if known.seeds[0].per_query is not None and math.isfinite(known.seeds[0].interval[0]):
                # Wilson's interval is no linear function of the spread: a hundredth of a point is its curvature.
                assert rest.low <= known.low + 1e-4
                assert rest.high >= known.high - 1e-4
                arms = [(each.value - each.interval[0], each.interval[1] - each.value) for each in rest.seeds]
                below, above = np.mean(arms, 0)
                assert rest.low <= rest.value - below + 1e-9
                assert rest.high >= min(rest.value + above, 1.0) - 1e-9
                compared += 1
    assert compared >= 30
    assert claims[0] > claims[1] > 0


def test_a_trial_that_is_there_too_counts_once_and_wins(run_dir: Path, tmp_path: Path) -> None:
    kept = stored(run_dir, tmp_path / "kept")
    found = merge_runs([kept, run_dir], tmp_path / "site")
    assert len(found.trials) == 8
    assert {trial.directory.parent.parent for trial in found.trials} == {run_dir}
    comparison = write_leaderboard([kept, run_dir], tmp_path / "site")
    assert comparison.states.startswith("6 of 8 trials done")


def test_of_a_trial_that_was_asked_different_questions_the_one_with_more_numbers_counts(
    run_dir: Path, tmp_path: Path
) -> None:
    kept, fewer = stored(run_dir, tmp_path / "kept"), tmp_path / "fewer"
    fewer.mkdir()
    frame = pd.read_parquet(kept / "results.parquet")
    less = frame[frame.protocol == "paper"]
    less.to_parquet(fewer / "results.parquet")
    for order in ([kept, fewer], [fewer, kept]):
        found = merge_runs(order, tmp_path / "site")
        assert {trial.directory.parent.parent for trial in found.trials if trial.record.state == "done"} == {kept}
    less.assign(value=less.value + (less.metric == "coverage").astype(float)).to_parquet(fewer / "results.parquet")
    with pytest.raises(BenchmarkError, match=r"paper test coverage \d"):
        merge_runs([kept, fewer], tmp_path / "site")


@pytest.mark.parametrize("what", ["text", "columns", "rows", "params", "key", "seed", "state", "type"])
def test_what_no_version_wrote_is_refused(
    what: str, run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = stored(run_dir, tmp_path / "kept")
    path = kept / "results.parquet"
    frame = pd.read_parquet(path)
    if what == "text":
        path.write_text("no parquet")
    elif what == "columns":
        frame.drop(columns="objective").to_parquet(path)
    elif what == "rows":
        frame.iloc[:0].to_parquet(path)
    else:
        changed: dict[str, Any] = {
            "params": {"objective_params": '["gamma"]'}, "key": {"trial": "../../elsewhere"}, "seed": {"seed": None},
            "state": {"status": "gone"}, "type": {"metric": 1.5},
        }[what]  # fmt: skip
        frame.assign(**changed).to_parquet(path)
    assert main(["leaderboard", str(kept), "--out", str(tmp_path / "site")]) == 2
    words = {"text": "cannot be read", "columns": "has no column objective", "rows": "has no rows",
             "params": "objective_params of trial", "key": "../../elsewhere is no key", "seed": "has no seed",
             "state": "has the state gone", "type": "column metric is of type double"}  # fmt: skip
    assert f"{path}: " in (error := capsys.readouterr().err)
    assert words[what] in error
    assert not (tmp_path / "site").exists()


def test_nothing_is_said_to_be_on_the_same_queries_where_nothing_is(run_dir: Path, tmp_path: Path) -> None:
    """The choice of two objectives is for those that can be paired."""
    for name, expected in (("whole", True), ("kept", False)):
        folder = run_dir if expected else stored(run_dir, tmp_path / name)
        write_leaderboard([folder], tmp_path / f"{name}-site")
        page = (tmp_path / f"{name}-site" / "index.html").read_text(encoding="utf-8")
        assert ("data-pairs=" in page) is expected


def with_queries(run: Path, folder: Path, keep: Callable[[pd.DataFrame], pd.Series] | None = None) -> Path:
    """As :func:`stored`, with those rows of ``queries.parquet`` that are to be kept."""
    stored(run, folder)
    table = pq.read_table(run / "queries.parquet")
    chosen = [True] * len(table) if keep is None else keep(table.to_pandas()).tolist()
    pq.write_table(table.filter(pa.array(chosen)), folder / "queries.parquet")
    return folder


def section(folder: Path, site: Path) -> Section:
    return compare(load(merge_runs([folder], site))).sections[0]


@pytest.fixture
def three_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three objectives, three seeds; what is hard for one is hard for all."""
    monkeypatch.setitem(SKILL, "bivcca", 0.56)
    for seed in range(3):
        for objective in ("telbo", "jmvae", "bivcca"):
            write_trial(tmp_path / "run", spec_of(objective, seed=seed))
    return tmp_path / "run"


def test_with_scores_per_query_a_leaderboard_says_what_the_run_says(three_seeds: Path, tmp_path: Path) -> None:
    """Intervals, differences on the same queries and what is told apart, to the last bit."""
    whole = compare(read_run(three_seeds)).sections[0]
    left = section(with_queries(three_seeds, tmp_path / "kept"), tmp_path / "site")
    assert left.rows == whole.rows
    for one, other in zip(whole.rows, left.rows, strict=True):
        assert (one.better == other.better).all()
    assert not any("Only the scores" in text for text in left.warnings)


def test_with_scores_per_query_of_some_seeds_differences_are_paired_by_those(three_seeds: Path, tmp_path: Path) -> None:
    """Between all of them and none: what is hard for all cancels, so more is told apart than without any."""
    first = {spec_of(name).key for name in ("telbo", "jmvae", "bivcca")}
    some = with_queries(three_seeds, tmp_path / "some", lambda rows: ~rows.trial.isin(first))
    found = [
        compare(read_run(three_seeds)).sections[0],
        section(some, tmp_path / "some-site"),
        section(stored(three_seeds, tmp_path / "none"), tmp_path / "none-site"),
    ]
    told = [sum(int(row.better.sum()) for row in each.rows) for each in found]
    assert told[0] >= told[1] > told[2]
    for rows in zip(*(each.rows for each in found), strict=True):
        assert not (rows[1].better & ~rows[0].better).any()
    assert "Only the scores of 3 of 9 trials are left" in " ".join(found[1].warnings)


def test_of_a_trial_that_is_there_twice_the_one_with_scores_per_query_counts(three_seeds: Path, tmp_path: Path) -> None:
    whole = with_queries(three_seeds, tmp_path / "whole")
    bare = stored(three_seeds, tmp_path / "bare")
    for place, order in enumerate(([whole, bare], [bare, whole])):
        found = merge_runs(order, tmp_path / f"site{place}")
        assert {trial.directory.parent.parent for trial in found.trials} == {whole}


def changed(frame: pd.DataFrame, what: str) -> pd.DataFrame:
    match what:
        case "another run":
            return frame.assign(value=frame.value / 2)
        case "another trial":
            return frame.assign(trial=frame.trial.where(frame.trial != frame.trial[0], "abc"))
        case "huge":
            return frame.assign(value=1.7e308)
        case "cut":
            return frame.iloc[1:]
        case "columns":
            return frame.drop(columns="group")
        case "type":
            return frame.assign(value="much")
    raise AssertionError(what)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("another run", "the two files do not belong together"),
        ("another trial", "results.parquet has no such number: abc paper test correctness 4"),
        ("cut", "are not numbered from 0 on"),
        ("columns", "has no column group"),
        ("type", "column value is of type"),
        ("huge", "cannot be read"),
        ("text", "cannot be read"),
        ("link", "is damaged"),
    ],
)
def test_scores_per_query_that_do_not_belong_to_the_numbers_are_refused(
    what: str, message: str, three_seeds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = with_queries(three_seeds, tmp_path / "kept")
    path = kept / "queries.parquet"
    if what == "text":
        path.write_text("no parquet")
    elif what == "link":
        path.unlink()
        path.symlink_to(three_seeds / "queries.parquet")
    else:
        changed(read_queries(kept), what).to_parquet(path, index=False)
    assert main(["leaderboard", str(kept), "--out", str(tmp_path / "site")]) == 2
    assert f"{path}: " in (error := capsys.readouterr().err) or what == "link"
    assert message in error
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("shifted", [None, "elbo", "joint_divergence"])
def test_a_mean_over_queries_is_the_number_to_the_digits_that_are_stored(shifted: str | None, tmp_path: Path) -> None:
    """Each score per query loses up to half a millionth; a hundredth of a nat in thousands is of another run."""
    asked = {"elbo": np.full(20, -4012.3456784999), "joint_divergence": np.full(20, 0.0000034999)}
    scores = [
        Score(metric=name, partition="test", value=float(values.mean()), per_query=values.tolist())
        for name, values in asked.items()
    ]
    write_trial(tmp_path / "run", spec_of("telbo"), scores=scores)
    kept = with_queries(tmp_path / "run", tmp_path / "kept")
    queries = read_queries(kept)
    assert not any((queries.value == values[0]).any() for values in asked.values()), "rounded, all to one side"
    away = {"elbo": 0.01, "joint_divergence": 2e-6}.get(shifted or "", 0.0)
    shift = np.where(queries.metric.isin([shifted]), away, 0.0)
    queries.assign(value=queries.value + shift).to_parquet(kept / "queries.parquet")
    if shifted is None:
        assert all(score["per_query"] for trial in stored_trials(kept).trials for score in read_record(trial)[1])
    else:
        with pytest.raises(BenchmarkError, match=rf"{shifted} is .*the two files do not belong together"):
            stored_trials(kept)


def test_numbers_that_lack_scores_per_query_are_named_where_others_of_their_trials_have_them(
    three_seeds: Path, tmp_path: Path
) -> None:
    first = {spec_of(name).key for name in ("telbo", "jmvae", "bivcca")}
    few = with_queries(
        three_seeds, tmp_path / "few", lambda rows: (rows.metric == "correctness") & (rows.protocol == "paper")
    )
    found = " ".join(section(few, tmp_path / "few-site").warnings)
    assert "Only the scores" not in found
    assert (
        "Some numbers of 9 of 9 trials have no scores per query, and are not paired: coverage (paper, official), "
        "correctness (official), description." in found
    )
    fewer = with_queries(
        three_seeds,
        tmp_path / "fewer",
        lambda rows: ~rows.trial.isin(first) & ((rows.metric != "coverage") | (rows.level != 2)),
    )
    found = " ".join(section(fewer, tmp_path / "fewer-site").warnings)
    assert "Only the scores of 3 of 9 trials are left" in found
    assert "Some numbers of 6 of 9 trials" in found
    assert "not paired: coverage (paper, official)." in found


ROWS = 250_000


def swollen(path: Path, what: str) -> None:
    """A file of a few hundred KB, or little more, whose texts or numbers would take gigabytes or hours."""
    table = pq.read_table(path)
    column = "commit" if path.name == "results.parquet" else "proposal"
    if what == "numbers":
        table = table.take(pa.array(np.zeros(ROWS, dtype=int)))
        table = table.set_column(table.schema.get_field_index("level"), "level", pa.array(range(ROWS), pa.int64()))
    else:
        length, rows = (20_000, 100) if what == "text" else (9_999, ROWS)
        table = table.take(pa.array(np.zeros(rows, dtype=int)))
        once = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * length]))
        table = table.set_column(table.schema.get_field_index(column), column, once)
    pq.write_table(table, path)
    assert path.stat().st_size < 2_000_000


@pytest.mark.parametrize(
    ("name", "what", "message"),
    [
        ("results.parquet", "text", "a text of more than 10,000 characters"),
        ("results.parquet", "texts", "GiB, more than 2"),
        ("queries.parquet", "text", "a text of more than 10,000 characters"),
        ("queries.parquet", "texts", "GiB, more than 2"),
        ("queries.parquet", "numbers", "has scores per query of 250,000 numbers, and results.parquet has 144"),
    ],
)
def test_a_small_file_that_would_fill_the_memory_or_take_hours_is_refused(
    name: str, what: str, message: str, three_seeds: Path, tmp_path: Path
) -> None:
    kept = with_queries(three_seeds, tmp_path / "kept")
    swollen(kept / name, what)
    usual, pool = pa.default_memory_pool(), pa.system_memory_pool()
    pa.set_memory_pool(pool)
    try:
        with pytest.raises(BenchmarkError, match=f"{name}: cannot be read: .*{message}"):
            stored_trials(kept)
    finally:
        pa.set_memory_pool(usual)
    assert pool.max_memory() < 2**29


@pytest.mark.parametrize("name", ["results.parquet", "queries.parquet"])
def test_a_file_that_says_itself_that_it_is_too_large_is_not_unpacked(
    name: str, three_seeds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = with_queries(three_seeds, tmp_path / "kept")
    table = pq.read_table(kept / name)
    column = "commit" if name == "results.parquet" else "proposal"
    texts = pa.array([f"{place:09d}" * 1000 for place in range(len(table))])
    table = table.set_column(table.schema.get_field_index(column), column, texts)
    pq.write_table(table, kept / name, compression="zstd", use_dictionary=False)
    monkeypatch.setattr(stored_runs, "MOST_BYTES", 2**20)
    whole = pq.ParquetFile.read_row_group

    def read_row_group(file: pq.ParquetFile, *given: Any, **named: Any) -> pa.Table:
        assert file.metadata.num_columns != table.num_columns, "unpacked all the same"
        return whole(file, *given, **named)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", read_row_group)
    with pytest.raises(BenchmarkError, match=rf"{name}: cannot be read: its columns take \d.*GiB, more than"):
        stored_trials(kept)


def test_files_that_other_programs_wrote_again_are_read(three_seeds: Path, tmp_path: Path) -> None:
    """Plain texts, columns in another order, in several row groups, and with nothing but nulls."""
    kept = with_queries(three_seeds, tmp_path / "kept")
    before = section(kept, tmp_path / "before")
    for name in ("results.parquet", "queries.parquet"):
        frame = pd.read_parquet(kept / name, dtype_backend="numpy_nullable").astype({"protocol": object})
        assert "proposal" not in frame or frame.proposal.isna().all()
        frame = frame.assign(proposal=None) if "proposal" in frame else frame
        frame[frame.columns[::-1]].to_parquet(kept / name, row_group_size=500)
    assert section(kept, tmp_path / "after").rows == before.rows
