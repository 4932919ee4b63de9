"""What ``verify`` says about a trial, and that ``status`` and ``report`` say the same."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.base.files import write_json
from mmvae_bench.cli import main
from mmvae_bench.report.gather import read_run
from mmvae_bench.runs.folder import TrialFolder
from mmvae_bench.runs.store import overview
from mmvae_bench.runs.verify import verify
from mmvae_bench.specs.grid import expand, load_grid
from mmvae_bench.training.checkpoint import Checkpoint

from ..fuzz.run_folders import EARLIER, seal
from ..report.synthetic_runs import spec_of, write_trial
from ..sweep.support import StubRun


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A trial that is done, with weights and checksums."""
    folder = write_trial(tmp_path / "run", spec_of())
    seal(folder)
    return folder


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])


CHANGED = "its content is not what was written (sha256)"
CASES: dict[str, tuple[Callable[[Path], object], str, str, str]] = {
    "a changed digit": (
        lambda folder: change(folder / "result.json", "-112.25", "-111.25"),
        "result.json",
        CHANGED,
        "evaluates the trained model again",
    ),
    "a result that is cut": (
        lambda folder: (folder / "result.json").write_text('{"version": 1, "sco'),
        "result.json",
        CHANGED,
        "evaluates the trained model again",
    ),
    "no checksum of the result": (
        lambda folder: write_json(folder / "checksums.json", {}),
        "result.json",
        "checksums.json beside it does not list it",
        "evaluates the trained model again",
    ),
    "damaged checksums": (
        lambda folder: (folder / "checksums.json").write_text('{"result.json": 5}'),
        "checksums.json",
        "expected a sha256 for each file",
        "evaluates the trained model again",
    ),
    "damaged weights": (
        lambda folder: flip(folder / "last.ckpt"),
        "last.ckpt",
        CHANGED,
        "trains it from the start",
    ),
    "a damaged log": (
        lambda folder: flip(folder / "log.jsonl"),
        "log.jsonl",
        CHANGED,
        "nothing: its numbers are whole",
    ),
    "a damaged picture": (
        lambda folder: flip(folder / "samples.png"),
        "samples.png",
        CHANGED,
        "nothing: its numbers are whole; `mmvae-bench evaluate",
    ),
    "weights that are gone": (
        lambda folder: (folder / "last.ckpt").unlink(),
        "last.ckpt",
        "missing",
        "nothing: its numbers are whole",
    ),
    "a damaged status": (
        lambda folder: (folder / "status.json").write_text('{"state": "done", "step": "all"}'),
        "status.json",
        "a value of the wrong kind: step",
        "nothing: its numbers are whole",
    ),
    "no spec beside a result": (
        lambda folder: (folder / "spec.json").unlink(),
        "spec.json",
        "missing",
        "refuses the run until",
    ),
    "another spec": (
        lambda folder: change(folder / "spec.json", '"seed":0', '"seed":1'),
        "spec.json",
        "was changed: the folder's name is no longer its hash",
        "refuses the run until spec.json is restored",
    ),
}


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_and_what_a_run_would_do(case: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, file, problem, run = CASES[case]
    root = folder.parents[1]
    assert main(["verify", str(root)]) == 0
    assert "nothing wrong with it" in capsys.readouterr().out
    spoil(folder)
    assert main(["verify", str(root), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    (trial,) = document["trials"]
    assert (trial["faults"], trial["state"]) == ([{"file": file, "problem": problem}], "damaged")
    assert trial["run"].startswith(run)
    assert main(["verify", str(root)]) == 1
    text = capsys.readouterr().out
    assert f"    {file}: {problem}\n    a run: {run}" in text
    assert text.endswith("1 trial checked: 1 damaged\n")
    main(["status", str(root), "--json"])
    (row,) = json.loads(capsys.readouterr().out)["trials"]
    (record,) = read_run(root).trials
    if run.startswith("nothing"):
        assert (row["status"], record.state) == ("done", "done")
    elif file == "last.ckpt":
        assert (row["status"], record.state, record.damaged_files) == ("damaged", "done", ("last.ckpt",))
    else:
        assert row["status"] == record.state == "damaged"
        assert problem in row["error"]


def test_a_run_without_checksums_is_believed_and_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(EARLIER)]) == 0
    text = capsys.readouterr().out
    assert "1 trial was made before there were checksums: readable, but whether a number was changed" in text
    assert text.endswith("2 trials checked: nothing wrong with them\n")


def test_unfinished_and_failed_trials_are_not_damaged(tmp_path: Path) -> None:
    for seed, state in enumerate(("failed", "pending", "running")):
        write_trial(tmp_path, spec_of(seed=seed), state)
    found = verify(tmp_path)
    assert found.whole
    assert {trial.state: trial.run for trial in found.trials} == {
        "failed": "nothing, unless with --retry failed",
        "pending": "trains it from the start",
        "interrupted": "trains it from the start",
    }


def test_what_a_run_would_do_with_unfinished_trials_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder.parents[1]
    for seed, state in ((1, "pending"), (2, "pending"), (3, "failed")):
        write_trial(root, spec_of(seed=seed), state)
    assert main(["verify", str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "2 sound trials; a run: trains it from the start" in lines
    assert "1 sound trial; a run: nothing, unless with --retry failed" in lines
    assert len(lines) == 3


def counts(root: Path, capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, str], ...]:
    """The state of each trial, as the three commands have it."""
    main(["status", str(root), "--json"])
    status = {trial["key"]: trial["status"] for trial in json.loads(capsys.readouterr().out)["trials"]}
    checked = {trial.key: trial.state for trial in verify(root).trials}
    return status, checked, {trial.key: trial.state for trial in read_run(root).trials}


def test_a_folder_of_rubbish_is_damaged_to_every_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder.parents[1]
    rubbish = root / "trials" / "zzz"
    rubbish.mkdir()
    (rubbish / "result.json").write_bytes(bytes(range(256)))
    for found in counts(root, capsys):
        assert found == {folder.name: "done", "zzz": "damaged"}
    assert main(["verify", str(root)]) == 1
    text = capsys.readouterr().out
    assert "zzz  trial zzz\n    spec.json: missing\n    a run: refuses the run until " in text
    assert text.endswith("2 trials checked: 1 damaged\n")
    main(["status", str(root)])
    assert capsys.readouterr().out.endswith("1 done, 1 damaged\n")


def test_a_folder_in_which_nothing_has_run_is_no_damage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A power cut may leave an empty spec; it is written again."""
    root = folder.parents[1]
    other = write_trial(root, spec_of(seed=1), "pending")
    (other / "spec.json").write_text("")
    status, checked, report = counts(root, capsys)
    assert status == report == {folder.name: "done"}
    assert checked == {folder.name: "done", other.name: "pending"}
    assert main(["verify", str(root)]) == 0
    assert "1 sound trial; a run: trains it from the start\n" in capsys.readouterr().out


def test_only_a_run_of_its_grid_goes_on_without_a_spec(stub: StubRun) -> None:
    """It writes the spec again; a folder that is no trial of the grid is in its way."""
    store = stub.store()
    folder, sound = (store.folder(key) for key in sorted(store.keys())[:2])
    folder.spec_path.write_text("")
    (folder.directory / "output.log").write_text("step 1")
    (store.trials_root / "zzz").mkdir()
    said = {trial.key: (trial.state, trial.run) for trial in verify(store.root).trials}
    assert said[folder.key] == ("damaged", "writes its spec again, and goes on with what is there")
    assert said["zzz"][0] == "not in the grid"
    assert said["zzz"][1].endswith("zzz is removed: it is no trial of the grid")
    assert said[sound.key][0] == "pending"
    (store.trials_root / "zzz").rmdir()
    stub.store()
    assert {trial.state for trial in verify(store.root).trials} == {"pending"}


def test_an_empty_folder_that_is_not_in_the_grid_is_called_that(
    stub: StubRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing in it can be damaged; but a run refuses it, so it is not right either."""
    store = stub.store()
    for name in ("zzz", "zzy"):
        (store.trials_root / name).mkdir()
    (store.trials_root / "zzy" / "spec.json").touch()
    assert main(["verify", str(store.root)]) == 1
    text = capsys.readouterr().out
    assert (
        f"zzz  trial zzz\n    spec.json: missing: the folder is empty, and it is no trial of the grid\n"
        f"    a run: refuses the run until {store.trials_root / 'zzz'} is removed: it is no trial of the grid\n"
    ) in text
    assert "    spec.json: empty: nothing has run in this folder, and it is no trial of the grid\n" in text
    assert text.endswith(f"{len(store.keys())} trials checked: 2 not in the grid\n")
    (store.trials_root / "zzz" / "result.json").write_text("{")
    assert main(["verify", str(store.root)]) == 1
    text = capsys.readouterr().out
    assert "zzz  trial zzz\n    spec.json: missing\n" in text
    assert text.endswith("trials checked: 1 damaged, 1 not in the grid\n")
    with pytest.raises(ConfigError, match=r"zz[yz]"):
        stub.store()


def test_trials_that_differ_in_parameters_are_told_apart(tmp_path: Path) -> None:
    for alpha in (0.25, 0.5):
        write_trial(tmp_path, spec_of({"name": "jmvae", "alpha": alpha}))
    assert [trial.label.split()[-1] for trial in verify(tmp_path).trials] == ["alpha=0.25", "alpha=0.5"]


def test_a_trial_whose_spec_is_not_read_is_called_by_its_key(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "output.log").symlink_to("/dev/null")
    for command in ("status", "verify"):
        main([command, str(folder.parents[1])])
        assert f"  trial {folder.name}\n" in capsys.readouterr().out


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_nobody_is_told_to_remove_what_only_cannot_be_read(
    number: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: TrialFolder) -> str:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(TrialFolder, "spec_text", refuse)
    (trial,) = verify(folder.parents[1]).trials
    assert trial.faults[0].problem == f"cannot be read: {os.strerror(number)}"
    assert trial.run == "refuses the run until spec.json can be read: it may be whole, so remove nothing"


def test_checksums_of_an_earlier_result_do_not_condemn_new_weights(folder: Path) -> None:
    """Somebody removed the result, and the trial is under way again."""
    (folder / "result.json").unlink()
    Checkpoint(folder.name, 0, 3, {"w": torch.arange(5.0)}).save(folder / "last.ckpt")
    write_json(folder / "status.json", {"state": "interrupted", "step": 3, "steps": 10, "attempts": 2})
    (trial,) = overview(folder.parents[1])
    assert (trial.state, trial.damage) == ("interrupted", None)


@pytest.mark.parametrize("name", ["results.parquet", "queries.parquet", "grid.yaml"])
def test_files_of_no_trial_are_checked_too(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder.parents[1]
    main(["report", str(root)])
    assert verify(root).whole
    (root / name).write_text("name: [")
    assert main(["verify", str(root)]) == 1
    assert f"\n{name}: " in capsys.readouterr().out


def gone_or_changed(path: Path, how: str) -> None:
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b" ")


@pytest.mark.parametrize("how", ["gone", "changed"])
@pytest.mark.parametrize(
    "name",
    ["results.parquet", "queries.parquet", "report/index.html", "report/table.csv", "report/table.md",
     "report/table.tex", "report/figures/*.svg"],
)  # fmt: skip
def test_every_file_of_the_report_is_what_was_written(
    name: str, how: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder.parents[1]
    main(["report", str(root)])
    assert verify(root).whole
    path = next(root.glob(name))
    gone_or_changed(path, how)
    problem = {"gone": "missing", "changed": CHANGED}[how]
    (fault,) = verify(root).faults
    assert (fault.file, fault.problem) == (
        path.relative_to(root).as_posix(),
        f"{problem}; `mmvae-bench report` writes it again",
    )
    capsys.readouterr()
    assert main(["verify", str(root)]) == 1
    assert f"{fault.file}: {problem}; " in capsys.readouterr().out
    main(["report", str(root)])
    assert verify(root).whole


def test_checksums_of_a_report_lead_nowhere_else(folder: Path, tmp_path: Path) -> None:
    """A run folder may be a stranger's."""
    root = folder.parents[1]
    main(["report", str(root)])
    listed = json.loads((root / "report_checksums.json").read_text())
    names = [
        "../secret",
        "/etc/passwd",
        "report/..",
        "report/figures/../../grid.yaml",
        "trials/a",
        "report/\x1b[31m",
        "report/\0",
    ]
    write_json(root / "report_checksums.json", listed | dict.fromkeys(names, "0" * 64))
    (tmp_path / "secret").write_text("secret")
    faults = {fault.file: fault.problem for fault in verify(root).faults}
    told = "report_checksums.json lists it, and it is no file of a report; `mmvae-bench report` writes it again"
    assert faults == dict.fromkeys([*names[:-2], r"report/\x1b[31m", r"report/\x00"], told)
    for content, problem in (("[", "cannot be read: "), ('{"table.csv": 3}', "expected a sha256 for each file")):
        (root / "report_checksums.json").write_text(content)
        (fault,) = verify(root).faults
        assert fault.file == "report_checksums.json"
        assert problem in fault.problem
    (root / "report_checksums.json").unlink()
    assert verify(root).whole, "a report of an earlier version has none"


def test_links_in_a_report_are_named_and_not_followed(folder: Path, tmp_path: Path) -> None:
    root = folder.parents[1]
    main(["report", str(root)])
    (root / "report" / "figures").rename(tmp_path / "elsewhere")
    (root / "report" / "figures").symlink_to(tmp_path / "elsewhere")
    for figure in (tmp_path / "elsewhere").iterdir():
        figure.write_text("another")
    (fault,) = verify(root).faults
    assert (fault.file, fault.problem) == ("report/figures", "a link; no report is written through it")


GRID = """
name: small
datasets: [{name: mnist_a, source: digits, canvas: 32}]
backbones: [mnist_a_thin]
objectives: [telbo]
training: {steps: 10}
"""


def test_a_grid_that_does_not_list_a_trial_is_named(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "grid.yaml").write_text(GRID)
    listed = expand(load_grid(run / "grid.yaml"))
    write_trial(run, listed[0])
    assert verify(run).whole
    other = write_trial(run, spec_of(seed=77))
    (fault,) = verify(run).faults
    assert fault.file == "grid.yaml"
    assert fault.problem == (
        f"1 of the 2 trials here are not in it, so `mmvae-bench run` refuses the folder: {other.name}"
    )


def test_a_run_whose_grid_is_gone_is_not_whole(folder: Path) -> None:
    root = folder.parents[1]
    (root / "grid.yaml").unlink(missing_ok=True)
    assert verify(root).whole, "trials that were run from Python need no grid"
    (root / "drivers").touch()
    (fault,) = verify(root).faults
    assert (fault.file, fault.problem) == (
        "grid.yaml", "missing; the command that made the run writes it again"
    )  # fmt: skip


def test_nothing_is_written(folder: Path) -> None:
    root = folder.parents[1]
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    verify(root)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_a_folder_that_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_trial(tmp_path / "mine", spec_of())
    for path in (tmp_path / "mind", tmp_path / "grid.yaml"):
        (tmp_path / "grid.yaml").touch()
        assert main(["verify", str(path)]) == 2
        said = capsys.readouterr().err
        assert f"{path}: not a run folder: it has no trials\n  runs in {tmp_path}: mine\n" in said


def test_what_is_damaged_is_left_out_of_the_report_and_named(folder: Path) -> None:
    root = folder.parents[1]
    for name in ("log.jsonl", "samples.png"):
        flip(folder / name)
    assert main(["report", str(root)]) == 0
    page = (root / "report" / "index.html").read_text()
    assert f"{folder.name}/log.jsonl, {folder.name}/samples.png" in page
    assert "data:image/png" not in page
    assert not (root / "report" / "figures").exists() or not list((root / "report" / "figures").glob("*elbo-curves*"))
