"""Several run folders as one: nothing counts twice, every contradiction is reported, the folders are not changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mmvae_bench import cli
from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.base.files import write_json
from mmvae_bench.report import read_results, write_merged_report, write_results
from mmvae_bench.report.gather import load
from mmvae_bench.report.merge import merge_runs, merged_folder

from .synthetic_runs import scores_of, spec_of, write_trial
from .test_trials import GRID


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders, each with a trial of its own, and one trial that both have with the same result."""
    one, two = tmp_path / "one", tmp_path / "two"
    write_trial(one, spec_of("telbo"))
    write_trial(one, spec_of("jmvae"))
    write_trial(two, spec_of("jmvae"))
    write_trial(two, spec_of("bivcca", seed=1))
    return one, two


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def change(run_dir: Path, objective: str, **changes: Any) -> Path:
    path = run_dir / "trials" / spec_of(objective).key / "result.json"
    result = json.loads(path.read_text())
    for key, value in changes.items():
        result[key] |= value
    write_json(path, result)
    return path


def test_the_merged_table_is_that_of_one_folder(machines: tuple[Path, Path], tmp_path: Path) -> None:
    """Number by number: as if every trial had been made in one place."""
    single = tmp_path / "single"
    for spec in (spec_of("telbo"), spec_of("jmvae"), spec_of("bivcca", seed=1)):
        write_trial(single, spec)
    before = [contents(folder) for folder in machines]
    write_merged_report(machines, tmp_path / "out", color=False)
    assert [contents(folder) for folder in machines] == before
    order = ["trial", "protocol", "metric", "level"]
    frames = [read_results(tmp_path / "out"), write_results(single)]
    merged, alone = (frame.sort_values(order).reset_index(drop=True) for frame in frames)
    pd.testing.assert_frame_equal(merged, alone)


def test_the_command(machines: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "three" / "all"
    assert cli.main(["report", *map(str, machines), "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "all: 3 of 3 trials done" in shown
    assert f"from {machines[0]}: 2 trials\n" in shown
    assert "2 trials, 1 of them taken from another folder" in " ".join(shown.split())
    assert shown.splitlines()[-1] == str(out / "report" / "index.html")
    for name in ("table.md", "table.tex", "table.csv", "index.html"):
        assert (out / "report" / name).is_file()
    assert str(machines[1]) in (out / "report" / "index.html").read_text()
    written = json.loads((out / "merged.json").read_text())
    assert written["runs"] == [str(folder.resolve()) for folder in machines]
    assert written["trials"][spec_of("jmvae").key] == str(machines[0].resolve() / "trials" / spec_of("jmvae").key)


def test_without_out_it_is_written_next_to_the_first_and_can_be_made_again(machines: tuple[Path, Path]) -> None:
    assert merged_folder(machines) == machines[0].parent / "one-merged"
    for _ in range(2):
        assert cli.main(["report", *map(str, machines)]) == 0
    assert (machines[0].parent / "one-merged" / "results.parquet").is_file()


def test_one_run_to_another_place(machines: tuple[Path, Path], tmp_path: Path) -> None:
    before = contents(machines[0])
    assert cli.main(["report", str(machines[0]), "--out", str(tmp_path / "out")]) == 0
    assert contents(machines[0]) == before
    assert len(read_results(tmp_path / "out")) == 2 * len(scores_of(spec_of()))


def test_machine_and_time_are_no_contradiction(machines: tuple[Path, Path], tmp_path: Path) -> None:
    change(machines[1], "jmvae", provenance={"device": "cuda", "commit": "other"}, training={"wall_seconds": 1.0})
    assert len(load(merge_runs(machines, tmp_path / "out")).trials) == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"evaluation": {"num_samples": 50}}, "evaluation.num_samples 100 and 50"),
        ({"dataset": {"pixel_hash": "f" * 12}}, "dataset.pixel_hash eeeeeeeeeeee and ffffffffffff"),
        ({"classifier": {"fingerprint": "f" * 12}}, "classifier.fingerprint cccccccccccc and ffffffffffff"),
    ],
)
def test_contradictions_are_named(
    changes: dict[str, Any], words: str, machines: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = change(machines[1], "jmvae", **changes)
    before = [contents(folder) for folder in machines]
    out = tmp_path / "out"
    assert cli.main(["report", *map(str, machines), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert str(path.parent) in error
    assert str(machines[0] / "trials" / spec_of("jmvae").key) in error
    assert not out.exists(), "nothing was written"
    assert [contents(folder) for folder in machines] == before


def test_another_number_is_a_contradiction(machines: tuple[Path, Path], tmp_path: Path) -> None:
    path = machines[1] / "trials" / spec_of("jmvae").key / "result.json"
    result = json.loads(path.read_text())
    result["scores"][0]["value"] += 0.25
    write_json(path, result)
    with pytest.raises(BenchmarkError, match=r"paper test correctness 4 0\.\d+ and 0\.\d+\n"):
        merge_runs(machines, tmp_path / "out")
    result["scores"].pop()
    write_json(path, result)
    with pytest.raises(BenchmarkError, match=r"18 and 17 numbers|\d+ and \d+ numbers"):
        merge_runs(machines, tmp_path / "out")


def test_done_counts_before_anything_else(tmp_path: Path) -> None:
    states = {"telbo": ("failed", "done"), "jmvae": ("done", "damaged"), "bivcca": ("pending", "failed")}
    for objective, pair in states.items():
        for folder, state in zip(("one", "two"), pair, strict=True):
            if state == "damaged":
                path = write_trial(tmp_path / folder, spec_of(objective))
                (path / "result.json").write_text("{")
            else:
                write_trial(tmp_path / folder, spec_of(objective), state)
    run = load(merge_runs([tmp_path / "one", tmp_path / "two"], tmp_path / "out"))
    assert {trial.objective: trial.state for trial in run.trials} == {
        "telbo": "done", "jmvae": "done", "bivcca": "failed"
    }  # fmt: skip


def test_other_grids_merge(tmp_path: Path) -> None:
    """A trial that no folder has is counted once, and one that another folder has is not missing."""
    grids = {"one": GRID, "two": GRID.replace("[telbo, jmvae, bivcca]", "[jmvae]")}
    for name, text in grids.items():
        write_trial(tmp_path / name, spec_of("telbo" if name == "one" else "jmvae"))
        (tmp_path / name / "grid.yaml").write_text(text)
    run = load(merge_runs([tmp_path / "one", tmp_path / "two"], tmp_path / "out"))
    assert run.unstarted == 10
    assert len(run.trials) == 2


def test_unsuitable_folders(machines: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = map(str, machines)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    (tmp_path / "file").write_text("")
    write_merged_report(machines, tmp_path / "merged", color=False)
    half = shutil.copytree(machines[0], tmp_path / "half")
    shutil.rmtree(half / "trials")
    for arguments, words in (
        ([one, one], "given twice"),
        ([one, f"{two}/../one"], "given twice"),
        ([one, str(tmp_path / "nowhere")], "no such folder"),
        ([one, str(half)], "not a run folder"),
        ([one, str(tmp_path / "merged")], "It holds a merged report: name the folders that it was made from"),
        ([one, two, "--out", one], "belongs to the run"),
        ([one, two, "--out", f"{two}/report"], "belongs to the run"),
        ([one, two, "--out", str(tmp_path / "mine")], "contains other files"),
        ([one, two, "--out", str(tmp_path / "file")], "is a file"),
    ):
        assert cli.main(["report", *arguments]) == 2, arguments
        assert words in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_another_version_is_named_and_not_mixed_in(machines: tuple[Path, Path], tmp_path: Path) -> None:
    folder = machines[1] / "trials" / spec_of("bivcca", seed=1).key
    spec = (folder / "spec.json").read_text()
    (folder / "spec.json").write_text(spec.replace('"version":1', '"version":0'))
    shown = write_merged_report(machines, tmp_path / "out", color=False)
    assert "2 of 3 trials done, 1 damaged" in shown
    assert "made by version 0, this is 1" in " ".join(shown.split())


def test_a_users_files_around_a_report_are_left_alone(machines: tuple[Path, Path], tmp_path: Path) -> None:
    """Whatever their names; in a report, and in a folder of merged ones, what a killed process left is removed."""
    one, two = machines
    left, out = ".index.html.0_a1b2c3.html", tmp_path / "out"
    for folder in (out, out / "report", one / "report"):
        folder.mkdir()
        (folder / left).touch()
    assert cli.main(["report", str(one), str(two), "--out", str(out)]) == 2
    assert (out / left).exists()
    assert (out / "report" / left).exists()
    trial = next((one / "trials").iterdir())
    assert cli.main(["report", str(trial), "--out", str(out)]) == 0
    assert (out / left).exists()
    assert not (out / "report" / left).exists()
    assert cli.main(["report", str(one)]) == 0
    assert not (one / "report" / left).exists()
    (tmp_path / "merged" / "report").mkdir(parents=True)
    (tmp_path / "merged" / "merged.json").write_text("{}")
    (tmp_path / "merged" / left).touch()
    assert cli.main(["report", str(one), str(two), "--out", str(tmp_path / "merged")]) == 0
    assert not (tmp_path / "merged" / left).exists()
