"""A leaderboard of runs of which only results.parquet is left."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.cli import main
from mmvae_bench.report.comparison import compare
from mmvae_bench.report.gather import load, read_run, write_results
from mmvae_bench.report.leaderboard import write_leaderboard
from mmvae_bench.report.merge import merge_runs

from .synthetic_runs import spec_of, write_trial


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
