"""``mmvae-bench run`` and ``status`` as users call them."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.base.machine import package_fingerprint
from mmvae_bench.base.processes import INTERRUPTED
from mmvae_bench.cli import main
from mmvae_bench.cli.run import write_reports
from mmvae_bench.runs import store as store_module
from mmvae_bench.runs.lock import Drivers
from mmvae_bench.runs.store import RunStore, overview
from mmvae_bench.sweep import run as run_module
from mmvae_bench.sweep.driver import Driver, Outcome
from mmvae_bench.sweep.run import Request, SweepRequest, run

from .cluster import meanwhile
from .support import StubRun, no_report

Captured = pytest.CaptureFixture[str]


def everything(root: Path) -> dict[str, int]:
    """Every path under a folder with its time of change."""
    return {str(path): path.stat().st_mtime_ns for path in root.rglob("*")}


def test_dry_run_plans_and_writes_nothing(stub: StubRun, capsys: Captured) -> None:
    grid = str(stub.write_grid())
    before = everything(stub.root)
    assert main(["run", "--grid", grid, "--out", str(stub.out), "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert everything(stub.root) == before
    assert [set(trial) for trial in plan["trials"]] == [{"key", "spec", "status"}] * 3
    assert [trial["status"] for trial in plan["trials"]] == ["pending"] * 3
    assert [trial["spec"]["seed"] for trial in plan["trials"]] == [0, 1, 2]
    assert main(["run", "--grid", grid, "--out", str(stub.out), "--dry-run", "--where", "seed=1"]) == 0
    captured = capsys.readouterr()
    key = plan["trials"][1]["key"]
    assert captured.out == f"{key}  pending      10 steps  jvae mnist_a/digits/iid seed 1\n"
    assert "nothing was started" in captured.err


def test_dry_run_and_status_agree_on_what_is_there(stub: StubRun, capsys: Captured) -> None:
    stub.behaviours = {"attempts": {"1": ["raise"]}}
    stub.drive()
    stub.seeds = (0, 1, 2, 3)
    assert main(["run", "--grid", str(stub.write_grid()), "--out", str(stub.out), "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["trials"]
    assert [trial["status"] for trial in plan] == ["done", "failed", "done", "pending"]
    assert main(["status", str(stub.out), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)["trials"]
    assert [set(trial) for trial in status] == [{"key", "spec", "status", "attempts", "step", "steps", "error"}] * 3
    assert {trial["key"]: trial["status"] for trial in status} == {
        trial["key"]: trial["status"] for trial in plan if trial["status"] != "pending"
    }
    done, failed = status[0], status[1]
    assert (done["attempts"], done["step"], done["steps"], done["error"]) == (1, 10, 10, None)
    assert (failed["attempts"], failed["step"], failed["steps"], failed["error"]) == (1, 0, 10, "loss is nan at step 3")
    assert main(["status", str(stub.out)]) == 0
    text = capsys.readouterr().out
    assert "loss is nan at step 3" in text
    assert text.splitlines()[-1] == "1 failed, 2 done"


def test_a_run_prints_the_table_on_stdout_and_talks_on_stderr(stub: StubRun) -> None:
    done = stub.run()
    assert done.returncode == 0
    assert done.stdout == "a table\n"
    assert "[3/3] done jvae mnist_a/digits/iid seed" in done.stderr
    assert "resume with" not in done.stderr


def test_json_events_one_a_line(stub: StubRun) -> None:
    stub.behaviours = {"attempts": {"1": ["raise"]}}
    done = stub.run("--json", "--workers", "1")
    assert done.returncode == 1
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["run", "rehearsing", *["running", "done"], *["running", "failed"],
                                                    *["running", "done"], "end"]  # fmt: skip
    assert all(event["total"] == 3 for event in events)
    assert events[-1]["done"] == 2
    assert events[-1]["failed"] == 1
    assert events[-1]["report"] == "index.html"
    resume = shlex.split(done.stderr.splitlines()[-1])
    assert resume[-2:] == ["--retry", "failed"]
    retried = stub.run(*resume[-5:])
    assert retried.returncode == 0


def test_where_works_on_part_and_status_shows_all(stub: StubRun, capsys: Captured) -> None:
    assert stub.run("--where", "seed=1").returncode == 0
    assert stub.counts("finish") == {1: 1}
    assert stub.run().returncode == 0
    assert stub.counts("finish") == {0: 1, 1: 1, 2: 1}
    assert stub.run("--where", "seed=1").returncode == 0, "part of the folder's grid"
    assert main(["status", str(stub.out), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["trials"]) == 3


def test_more_slots_than_devices_end_with_2_and_write_nothing(
    stub: StubRun, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    grid = str(stub.write_grid())
    before = everything(stub.root)
    assert main(["run", "--grid", grid, "--out", str(stub.out), "--workers", "4"]) == 2
    error = capsys.readouterr().err
    assert "2 GPUs (0, 1)" in error
    assert "--per-device 2" in error
    assert everything(stub.root) == before


def test_more_slots_than_cores_run_with_a_remark(stub: StubRun) -> None:
    done = stub.run("--workers", "64")
    assert done.returncode == 0
    assert "64 slots of one thread share" in done.stderr
    assert "slots" not in stub.run("--workers", "1").stderr


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--executor", "rya"], ["--executor", "'rya'", "choices: local, ray, slurm"]),
        (["--executor", "slrum", "--retry", "all"], ["'slrum'", "'all'", "choices: failed"]),
        (["--workers", "0"], ["--workers", "0", "at least 1"]),
        (["--per-device", "0"], ["--per-device", "0", "at least 1"]),
        (["--together", "0"], ["--together", "0", "at least 1"]),
        (["--hang-seconds", "-1"], ["--hang-seconds", "-1", "no limit"]),
        (["--where", "seed=7"], ["seed", "7"]),
        (["--where", "objective=teblo"], ["teblo", "telbo"]),
        (["--grid", "missing.yaml"], ["missing.yaml"]),
        (["--nonsense"], ["--nonsense"]),
    ],
)
def test_bad_input_ends_with_2_and_writes_nothing(
    stub: StubRun, capsys: Captured, options: list[str], parts: list[str]
) -> None:
    grid = str(stub.write_grid())
    before = everything(stub.root)
    assert main(["run", "--grid", grid, "--out", str(stub.out), *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    for part in parts:
        assert part in captured.err
    assert everything(stub.root) == before


def test_a_folder_of_another_version_ends_with_2(stub: StubRun, capsys: Captured) -> None:
    stub.drive()
    path = stub.folders()[0] / "spec.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 0}))
    before = everything(stub.out)
    for command in (["run", "--grid", str(stub.write_grid()), "--out", str(stub.out)], ["status", str(stub.out)]):
        assert main(command) == 2
        assert "version 0" in capsys.readouterr().err
    assert everything(stub.out) == before


def test_status_of_no_run_names_those_nearby(stub: StubRun, capsys: Captured) -> None:
    stub.store()
    assert main(["status", str(stub.root / "rum")]) == 2
    error = capsys.readouterr().err
    assert "not a run folder" in error
    assert "runs in" in error
    assert "run" in error.splitlines()[-1]


def test_a_full_disk_at_the_start_is_explained(
    stub: StubRun, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(store_module, "write_text", refuse)
    assert main(["run", "--grid", str(stub.write_grid()), "--out", str(stub.out)]) == 2
    assert "No space left on device" in capsys.readouterr().err


def test_a_disk_that_fills_up_in_mid_run_stops_it_in_good_order(
    stub: StubRun, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    from mmvae_bench.sweep import outcome

    def refuse(directory: Path, status: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory))

    monkeypatch.setattr(outcome, "record_failure", refuse)
    stub.behaviours = {"attempts": {"0": ["SIGSEGV"]}}
    stub.seeds = range(6)
    request = Request(grid=stub.write_grid(), out=stub.out, workers=1)
    assert run(request, command=stub.command, report=no_report) == 1
    captured = capsys.readouterr()
    assert "No space left on device" in captured.err
    assert shlex.split(captured.err.splitlines()[-1]) == shlex.split(request.command())
    monkeypatch.undo()
    assert run(request, command=stub.command, report=no_report) == 0
    assert stub.counts("finish") == dict.fromkeys(range(6), 1)


def test_a_trial_that_finds_the_disk_full_is_the_last_one_started(stub: StubRun, capsys: Captured) -> None:
    """Its status fits, its checkpoint does not: so would those of all the others not."""
    stub.behaviours = {"attempts": {"1": ["disk full"]}}
    stub.seeds = range(6)
    request = Request(grid=stub.write_grid(), out=stub.out, workers=1)
    assert run(request, command=stub.command, report=no_report) == 1
    captured = capsys.readouterr()
    assert "no room for what trials write: no other one is started" in captured.err
    assert "No space left on device" in captured.err
    assert stub.counts("start") == {0: 1, 1: 1} | dict.fromkeys(range(2, 6), 0)
    assert captured.err.splitlines()[-1].endswith("--retry failed")
    again = replace(request, retry="failed")
    assert shlex.split(captured.err.splitlines()[-1]) == shlex.split(again.command())
    assert run(again, command=stub.command, report=no_report) == 0
    assert stub.counts("finish") == dict.fromkeys(range(6), 1)


def test_a_report_that_fails_loses_no_result(stub: StubRun, capsys: Captured) -> None:
    def broken(store: RunStore, outcome: Outcome) -> tuple[str | None, str]:
        raise RuntimeError("no fonts")

    request = Request(grid=stub.write_grid(), out=stub.out)
    assert run(request, command=stub.command, report=broken) == 1
    error = capsys.readouterr().err
    assert "RuntimeError: no fonts" in error
    assert shlex.split(error.splitlines()[-1])[-2:] == ["report", str(stub.out)]
    assert stub.counts("finish") == {0: 1, 1: 1, 2: 1}


def test_a_grid_from_a_pipe_is_read_once(stub: StubRun, capsys: Captured) -> None:
    """As the shell's ``--grid <(...)``; the command that resumes names the run's copy."""
    stub.behaviours = {"attempts": {"1": ["raise"]}}
    content = stub.write_grid().read_bytes()
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(content)
    request = Request(grid=Path(f"/dev/fd/{reader}"), out=stub.out)
    assert run(request, command=stub.command, report=no_report) == 1
    os.close(reader)
    assert (stub.out / "grid.yaml").read_bytes() == content
    resume = shlex.split(capsys.readouterr().err.splitlines()[-1])
    assert resume[3:] == ["run", "--grid", str(stub.out / "grid.yaml"), "--out", str(stub.out), "--retry", "failed"]


def test_a_sweep_from_a_pipe_is_resumed_from_the_grid(stub: StubRun) -> None:
    request = SweepRequest(grid=Path("/dev/stdin"), count=3, workers=2)
    words = shlex.split(request.again(Path("runs/stdin/grid.yaml")).command())
    assert words[3:] == ["run", "--grid", "runs/stdin/grid.yaml", "--out", "runs/stdin", "--workers", "2"]


def test_a_log_that_is_no_regular_file_stops_the_run(stub: StubRun) -> None:
    """A stranger's folder: nothing is written through a link, and nothing waits for a pipe."""
    stub.seeds, private = (0,), stub.root / "private"
    private.write_text("mine")
    store = stub.store()
    log = store.folder(min(store.keys())).log_path
    for make in (lambda: log.symlink_to(private), lambda: os.mkfifo(log)):
        make()
        with pytest.raises(ConfigError, match=r"output\.log is damaged: not a regular file\n  Remove it, then run"):
            run(Request(grid=stub.write_grid(), out=stub.out), command=stub.command, report=no_report)
        log.unlink()
    assert private.read_text() == "mine"


def test_the_command_that_goes_on_survives_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = ("objective=telbo", "seed=1")
    request = Request(
        grid=tmp_path / "my grid; rm.yaml", out=Path("run's"), where=where, workers=2, per_device=3, together=5,
        hang_seconds=60, retry="failed",
    )  # fmt: skip
    words = shlex.split(request.command())
    assert words[:3] == [sys.executable, "-m", "mmvae_bench"]
    assert words[3:] == ["run", "--grid", str(request.grid), "--out", "run's", "--where", "objective=telbo",
                         "--where", "seed=1", "--workers", "2", "--per-device", "3", "--together", "5",
                         "--hang-seconds", "60", "--retry", "failed"]  # fmt: skip
    program = tmp_path / "bin" / "mmvae-bench"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    assert shlex.split(request.command())[0] == str(program)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    assert shlex.split(request.command())[0] == "mmvae-bench"


def test_the_default_folder_is_named_by_the_grid(
    stub: StubRun, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(stub.root)
    assert run(Request(grid=stub.write_grid()), command=stub.command, report=no_report) == 0
    assert (stub.root / "runs" / "stub" / "grid.yaml").exists()


@pytest.mark.parametrize(
    ("outcome", "written"),
    [
        (Outcome(3, 2, 1, stopped=False), "report"),
        (Outcome(3, 2, 0, stopped=True), "results"),
        (Outcome(3, 0, 3, stopped=False), "results"),
    ],
    ids=["done", "stopped", "nothing done"],
)
def test_the_report_is_written_if_the_run_ended_with_something_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: Outcome, written: str
) -> None:
    calls: list[tuple[str, Path]] = []
    monkeypatch.setattr("mmvae_bench.report.write_report", lambda root: calls.append(("report", root)) or "a table \n")
    monkeypatch.setattr("mmvae_bench.report.write_results", lambda root: calls.append(("results", root)))
    page = tmp_path / "report" / "index.html"
    expected = (str(page), f"a table\n{page}\n") if written == "report" else (None, "")
    assert write_reports(RunStore(tmp_path), outcome) == expected
    assert calls == [(written, tmp_path)]


@pytest.mark.parametrize("words", [["run", "--grid"], ["sweep", "--local"]], ids=" ".join)
def test_the_commands_hand_the_report_to_the_sweep(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[Any] = []

    def stand_in(request: Request, *, report: object, values: object = None) -> int:
        assert callable(values) == (words[0] == "sweep"), "method bayes needs the numbers of finished trials"
        reports.append(report)
        return 7

    monkeypatch.setattr("mmvae_bench.sweep.run.run", stand_in)
    assert main([*words, "any.yaml"]) == 7
    (report,) = reports
    if words[0] == "run":
        assert report is write_reports
    else:  # A sweep adds a line about the best trial, where one is done.
        asked: list[object] = []
        monkeypatch.setattr(
            "mmvae_bench.cli.sweep.write_reports", lambda *given: asked.append(given) or ("page", "text")
        )
        nothing = SimpleNamespace(done=0, stopped=False)
        assert report("store", nothing) == ("page", "text")
        assert asked == [("store", nothing)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_stopped_while_it_reports_says_how_to_go_on(
    number: signal.Signals, stub: StubRun, capsys: Captured
) -> None:
    def stopped(store: RunStore, outcome: Outcome) -> tuple[str | None, str]:
        signal.raise_signal(number)
        raise AssertionError("not stopped")

    request = Request(grid=stub.write_grid(), out=stub.out, workers=1, rehearsal=False)
    # The tests may run in the background or under nohup, where these two are ignored.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        assert run(request, command=stub.command, report=stopped) == INTERRUPTED
    finally:
        for each, handler in zip((signal.SIGINT, signal.SIGHUP), inherited, strict=True):
            signal.signal(each, handler)
    said = capsys.readouterr().err
    assert said.endswith(f"interrupted; resume with:\n{request.command()}\n")
    assert [trial.state for trial in overview(stub.out)] == ["done"] * 3


@pytest.mark.parametrize("end", ["renamed", "removed", "replaced"])
def test_a_folder_that_goes_away_stops_the_run_with_one_message(end: str, stub: StubRun, capsys: Captured) -> None:
    stub.seeds, stub.behaviours = range(6), {"attempts": {str(seed): ["hang"] for seed in range(6)}}
    moved, request = stub.root / "moved", Request(grid=stub.write_grid(), out=stub.out, workers=2, rehearsal=False)

    def away() -> None:
        if end == "removed":
            shutil.rmtree(stub.out)
        else:
            stub.out.rename(moved)
        if end == "replaced":
            stub.out.mkdir()

    thread = meanwhile(lambda: sum(stub.counts("start").values()) == 2, away)
    assert run(request, command=stub.command, report=refused_report) == 1
    thread.join()
    said = capsys.readouterr().err
    assert said.count("the run folder was renamed or removed while the run was at work") == 1
    assert "Move it back and run the same command again" in said
    assert "Traceback" not in said
    assert "report" not in said
    assert not list(stub.out.rglob("*")), "nothing is made again"
    assert stub.out.exists() == (end == "replaced")
    if end == "removed":
        return
    if end == "replaced":
        stub.out.rmdir()
    moved.rename(stub.out)
    stub.behaviours = {}
    assert run(request, command=stub.command, report=no_report) == 0, capsys.readouterr().err
    assert stub.counts("finish") == dict.fromkeys(range(6), 1)


def refused_report(store: RunStore, outcome: Outcome) -> tuple[str | None, str]:
    """Where there is nothing to report on."""
    raise AssertionError


@pytest.mark.parametrize("as_json", [False, True])
def test_drivers_of_other_code_are_warned_of_once(as_json: bool, stub: StubRun, capsys: Captured) -> None:
    stub.seeds = (0,)
    request = Request(grid=stub.write_grid(), out=stub.out, as_json=as_json, rehearsal=False)
    with Drivers(stub.out, code="0a1b2c3d") as other, Drivers(stub.out, code=package_fingerprint()) as same:
        for drivers in (other, same):
            stub.store(drivers)
        assert (other.others, len(same.others)) == ((), 1)
        assert run(request, command=stub.command, report=no_report) == 0
    captured = capsys.readouterr()
    said = f"drivers with other code work here too, or have while another one did: 0a1b2c3d process {os.getpid()} on "
    assert captured.err.count(said) == 1
    assert f"; this one is {package_fingerprint()}\n" in captured.err
    if as_json:
        events = [json.loads(line) for line in captured.out.splitlines()]
        assert [event["event"] for event in events][:2] == ["other_code", "run"]
        assert said in events[0]["message"]
    # They are gone: the next one is alone, whatever code they had.
    assert run(request, command=stub.command, report=no_report) == 0
    assert "other code" not in capsys.readouterr().err


def test_the_grace_of_the_command_is_the_drivers(stub: StubRun, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    def driver(*arguments: Any, grace: float, **options: Any) -> Driver:
        given.append(grace)
        return Driver(*arguments, grace=grace, **options)

    monkeypatch.setattr(run_module, "Driver", driver)
    stub.drive()
    request = Request(grid=stub.write_grid(), out=stub.out)
    for each in (request, replace(request, grace=120.0)):
        assert run(each, command=stub.command, report=no_report) == 0
    assert given == [30.0, 120.0]
    assert shlex.split(replace(request, grace=120.0).command())[-2:] == ["--grace", "120"]
    assert "--grace" not in request.command()
