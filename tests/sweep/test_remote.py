"""A job on another machine, without another machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from mmvae_bench.sweep.executor import Job
from mmvae_bench.sweep.remote import Origin, Runner, look_afresh

from .support import until


def job(folder: Path, program: str) -> Job:
    """A Python program as a job."""
    return Job("job", ("-c", program), folder / "log", {"OF_THE_JOB": "1"})


def runner() -> Runner:
    """One whose command is Python."""
    return Runner(Origin.here((sys.executable,)))


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("", 0),
        ("raise SystemExit(75)", 75),
        ("import os; os.kill(os.getpid(), 9)", -9),
        ("import os; os.kill(os.getpid(), 11)", -11),
        ("import os; os.kill(os.getpid(), 15)", -15),
    ],
)
def test_the_exit_code_is_the_processes(tmp_path: Path, program: str, code: int) -> None:
    assert runner().run(job(tmp_path, program)) == code


def test_environment_folder_and_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMVAE_BENCH_DATA", "/data")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.chdir(tmp_path)
    origin = replace(Origin.here(("/elsewhere/python",)), python="/elsewhere/python")
    # The node's own: a cluster sets its own number of threads, and Lightning would take SLURM's variables for orders.
    monkeypatch.setenv("MMVAE_BENCH_DATA", "/not/there")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setenv("OF_THE_NODE", "1")
    monkeypatch.chdir("/")
    program = "import json, os, sys; print(json.dumps([dict(os.environ), os.getcwd(), sys.executable]))"
    assert Runner(origin).run(job(tmp_path, program)) == 0
    environment, folder, python = json.loads((tmp_path / "log").read_text())
    names = ("MMVAE_BENCH_DATA", "OMP_NUM_THREADS", "OF_THE_JOB", "OF_THE_NODE", "SLURM_NTASKS")
    assert [environment.get(name) for name in names] == ["/data", "3", "1", "1", None]
    assert (folder, python) == (str(tmp_path), sys.executable)


def test_a_job_that_is_stopped_before_it_begins_never_does(tmp_path: Path) -> None:
    early = runner()
    early.stop()
    assert early.run(job(tmp_path, "raise SystemExit(7)")) == -signal.SIGTERM
    assert not early.started


@pytest.mark.not_in_check
def test_a_job_that_does_not_save_in_time_is_killed(tmp_path: Path) -> None:
    slow = runner()
    program = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    thread = threading.Thread(target=slow.run, args=(job(tmp_path, program),))
    thread.start()
    until(lambda: (tmp_path / "log").exists() and (tmp_path / "log").read_text() == "1\n")
    slow.stop(signal.SIGTERM)
    assert slow.join(0.1) == -signal.SIGKILL
    thread.join()


@pytest.mark.not_in_check
def test_a_job_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    quick = runner()
    program = "import os, signal, time; signal.signal(15, signal.SIG_IGN); print(os.getpid(), flush=True)\n"
    thread = threading.Thread(target=quick.run, args=(job(tmp_path, f"{program}time.sleep(60)"),))
    thread.start()
    until(lambda: (tmp_path / "log").exists() and (tmp_path / "log").read_text().endswith("\n"))
    quick.stop(signal.SIGKILL)
    assert quick.join() == -signal.SIGKILL
    thread.join()
    until(lambda: not Path(f"/proc/{(tmp_path / 'log').read_text().strip()}/fd").exists())


def test_a_command_that_is_not_there_says_so(tmp_path: Path) -> None:
    assert Runner(Origin.here(("/nonexistent/python",))).run(job(tmp_path, "")) == 127
    assert (tmp_path / "log").read_text() == "/nonexistent/python: No such file or directory\n"


def test_signals_for_the_worker_do_not_end_the_job(tmp_path: Path) -> None:
    program = "import os, signal; [os.kill(os.getpid(), number) for number in (signal.SIGUSR1, signal.SIGUSR2)]"
    assert runner().run(job(tmp_path, program)) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
@pytest.mark.parametrize("with_children", [False, True], ids=["worker", "worker and its children"])
def test_a_job_saves_and_ends_when_its_worker_is_killed(tmp_path: Path, with_children: bool) -> None:
    """Ray kills the children of a worker that ends; nobody else does."""
    child = (
        "import signal, sys, time; from pathlib import Path; saved = Path('saved')\n"
        "signal.signal(15, lambda *_: (saved.touch(), sys.exit(143))); Path('begun').touch(); time.sleep(60)"
    )
    worker = (
        "import sys; from pathlib import Path; from mmvae_bench.sweep.executor import Job\n"
        "from mmvae_bench.sweep.remote import Origin, Runner\n"
        f"Runner(Origin.here((sys.executable,))).run(Job('job', ('-c', {child!r}), Path('log')))"
    )
    here = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": here}
    process = subprocess.Popen([sys.executable, "-c", worker], cwd=tmp_path, env=environment)
    until(lambda: (tmp_path / "begun").exists())
    if with_children:
        for number in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(number), signal.SIGKILL)
    process.kill()
    process.wait()
    until(lambda: (tmp_path / "saved").exists())


def test_looking_afresh_changes_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    look_afresh(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o750
    look_afresh(tmp_path / "missing")
