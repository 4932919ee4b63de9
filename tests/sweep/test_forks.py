"""Jobs as forks of one process: each is as good as a new process, and none depends on the server or the driver."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmvae_bench.base.processes import FAILED
from mmvae_bench.sweep import forks, local
from mmvae_bench.sweep import rehearsal as rehearsal_module
from mmvae_bench.sweep.executor import Ended, Job
from mmvae_bench.sweep.forks import Fork, ForkServer, NotForked
from mmvae_bench.sweep.local import LocalExecutor, Slot
from mmvae_bench.sweep.rehearsal import Rehearsal
from mmvae_bench.sweep.run import _rehearsal

pytestmark = pytest.mark.skipif(not forks.available(), reason="forks of jobs need Linux")

PROGRAM = """
import ctypes, json, os, signal, subprocess, sys, threading, time
from pathlib import Path

def own():
    print(json.dumps({
        "arguments": sys.argv[1:], "session": os.getsid(0) == os.getpid(), "given": os.environ.get("GIVEN"),
        "folder": os.getcwd(), "stdin": sys.stdin.read(), "threads": threading.active_count(), "name": __name__,
        "descriptors": sorted(os.readlink(f"/proc/self/fd/{each}").split(":")[0] for each in os.listdir("/proc/self/fd")
                              if os.path.exists(f"/proc/self/fd/{each}")),
    }))
    print("talk", file=sys.stderr)

def child(path):
    print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid, flush=True)
    time.sleep(60)

def later(path, seconds):
    Path(path).write_text("began")
    time.sleep(float(seconds))
    Path(path).write_text("ended")

def rehearse(option, path, *more):
    sys.stdout.reconfigure(errors="backslashreplace")  # As the command line does.
    if path.endswith("hang"):
        print(json.dumps({"objective": "jvae", "error": "before"}), flush=True)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        Path(path).write_text(f"{os.getpid()} {child.pid}")
        time.sleep(60)
    said = f"forked: {'imported' in sys.modules}, --silent: {'--silent' in more}"
    print(json.dumps({"objective": "jvae", "error": said}))

{"rehearse": rehearse, "own": own, "exit": lambda code: sys.exit(int(code)), "say": lambda text: sys.exit(text),
 "raise": lambda: 1 / 0, "kill": lambda number: os.kill(os.getpid(), int(number)), "child": child, "later": later,
 "fall": lambda: ctypes.string_at(0)}[sys.argv[1]](*sys.argv[2:])
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Variables of a server, by which it finds ``stubbed`` and ``imported``, which stand for our program and torch."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "stubbed.py").write_text(PROGRAM)
    (folder / "imported.py").write_text("")
    for each in folder.iterdir():
        os.utime(each, (1e9, 1e9))
    return dict(os.environ) | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}


@pytest.fixture
def server(environment: dict[str, str]) -> Iterator[ForkServer]:
    """A server with little to import."""
    server = ForkServer(environment, program="stubbed", imported=["imported"])
    yield server
    server.close()
    assert server._process.wait(5) in (0, -signal.SIGKILL), "without a driver and jobs it ends"


Run = Callable[..., Fork]


@pytest.fixture
def run(server: ForkServer, tmp_path: Path) -> Run:
    """Forks a job that runs the program."""

    def run(*arguments: str, **environment: str) -> Fork:
        with (tmp_path / "log").open("ab") as log:
            return server.fork(arguments, log, environment)

    return run


def text(path: Path, *, within: float = 10.0) -> str:
    """What is in a file, as soon as there is anything."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if path.exists() and (content := path.read_text()):
            return content
        time.sleep(0.01)
    raise AssertionError(f"{path} stays empty")


def gone(pid: int, *, within: float = 5.0) -> bool:
    """Whether a process ends in time; a dead one that nobody has asked about counts."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize(
    "arguments",
    [("own",), ("exit", "0"), ("exit", "75"), ("say", "no"), ("raise",), ("kill", "9"), ("kill", "15"), ("fall",)],
    ids=" ".join,
)
def test_a_fork_ends_as_a_new_process_does(
    arguments: tuple[str, ...], environment: dict[str, str], run: Run, tmp_path: Path
) -> None:
    code = run(*arguments, GIVEN="a=b\n").wait()
    found = (tmp_path / "log").read_text()
    new = subprocess.run(
        [sys.executable, "-P", "-m", "stubbed", *arguments],
        env=environment | {"GIVEN": "a=b\n"}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True, text=True,
    )  # fmt: skip
    assert code == new.returncode
    if arguments == ("own",):
        mine, theirs = (
            json.loads(next(line for line in each.splitlines() if "{" in line)) for each in (found, new.stdout)
        )
        # Its log and nothing else of the server's: neither its channel nor the descriptors of other jobs.
        assert [each for each in mine.pop("descriptors") if each in ("socket", "pipe", "anon_inode")] == []
        theirs.pop("descriptors")
        assert mine == theirs
        assert mine["session"]
        assert mine["given"] == "a=b\n"
    elif arguments == ("raise",):
        assert found.splitlines()[-1] == new.stdout.splitlines()[-1] == "ZeroDivisionError: division by zero"
    else:
        assert found == new.stdout


def test_many_at_once_each_with_its_own_end(run: Run) -> None:
    jobs = [run("exit", str(code)) for code in range(20)]
    assert [job.wait() for job in reversed(jobs)] == list(range(20))[::-1]
    assert len({job.pid for job in jobs}) == 20


def test_kill_reaches_the_children_and_terminate_the_process(run: Run, tmp_path: Path) -> None:
    job = run("child", "")
    child = int(text(tmp_path / "log"))
    job.send(signal.SIGKILL, group=True)
    assert job.wait() == -signal.SIGKILL
    assert gone(child)
    job.send(signal.SIGKILL, group=True)  # It has ended: nobody else is hit.

    job = run("later", str(tmp_path / "later"), "60")
    text(tmp_path / "later")
    job.send(signal.SIGTERM)
    assert job.wait() == -signal.SIGTERM
    assert (tmp_path / "later").read_text() == "began"


def test_a_signal_before_there_is_a_process(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "modules" / "slow.py").write_text("import time; time.sleep(0.5)")
    os.utime(tmp_path / "modules" / "slow.py", (1e9, 1e9))
    server = ForkServer(environment, program="stubbed", imported=["slow"])
    with (tmp_path / "log").open("ab") as log:
        job = server.fork(["later", str(tmp_path / "later"), "5"], log, {})
    assert job.pid is None
    job.send(signal.SIGTERM)
    assert job.wait() == -signal.SIGTERM
    server.close()


def test_a_server_that_is_killed_takes_no_job_with_it(server: ForkServer, run: Run, tmp_path: Path) -> None:
    job = run("later", str(tmp_path / "later"), "1")
    text(tmp_path / "later")
    server._process.kill()
    assert job.wait() == -signal.SIGKILL, "how it ended nobody was told"
    assert (tmp_path / "later").read_text() == "ended", "it was waited for"
    with pytest.raises(NotForked):
        run("exit", "0").wait()


def test_a_driver_without_a_free_descriptor_still_learns_of_the_end(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = forks.socket.recv_fds

    def without(*arguments: int) -> tuple[bytes, list[int], int, None]:
        content, descriptors, flags, _ = received(*arguments)
        for each in descriptors:
            os.close(each)
        return content, [], flags, None

    assert run("exit", "0").wait() == 0  # From here on the listener looks the function up anew.
    monkeypatch.setattr(forks.socket, "recv_fds", without)
    first = run("exit", "3")  # Its answer may still be received as before.
    assert first.wait() == 3
    job = run("later", str(tmp_path / "later"), "60")
    text(tmp_path / "later")
    assert job._decided.wait(30), "the job may be faster than the answer about it"
    assert job.pid is not None
    assert job._descriptor is None
    job.send(signal.SIGTERM)
    assert job.wait() == -signal.SIGTERM


def test_jobs_outlive_a_driver_that_is_killed(environment: dict[str, str], tmp_path: Path) -> None:
    program = (
        "import os, sys, time; from mmvae_bench.sweep.forks import ForkServer\n"
        "server = ForkServer(os.environ, program='stubbed', imported=['imported'])\n"
        f"job = server.fork(['later', {str(tmp_path / 'later')!r}, '1'], open({str(tmp_path / 'log')!r}, 'wb'), {{}})\n"
        "print(server._process.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout is not None
        server = int(driver.stdout.readline())
        text(tmp_path / "later")
        driver.kill()
    deadline = time.monotonic() + 10
    while (tmp_path / "later").read_text() != "ended" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (tmp_path / "later").read_text() == "ended"
    assert gone(server), "and the server ends with the last of them"


@pytest.mark.parametrize("what", ["changed", "removed", "changed while it was imported", "a thread"])
def test_where_a_fork_would_not_be_the_same(what: str, environment: dict[str, str], tmp_path: Path) -> None:
    module = tmp_path / "modules" / "imported.py"
    if what == "changed while it was imported":
        os.utime(module, (time.time() + 60,) * 2)
    if what == "a thread":
        module.write_text(
            "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
        )
        os.utime(module, (1e9, 1e9))
    server = ForkServer(environment, program="stubbed", imported=["imported"])
    with (tmp_path / "log").open("ab") as log:
        if what in ("changed", "removed"):
            assert server.fork(["exit", "3"], log, {}).wait() == 3
            module.unlink() if what == "removed" else module.write_text("")
        with pytest.raises(NotForked):
            server.fork(["exit", "3"], log, {}).wait()
    server.close()


def test_an_import_that_fails(environment: dict[str, str], tmp_path: Path) -> None:
    server = ForkServer(environment, program="stubbed", imported=["nowhere"])
    with (tmp_path / "log").open("ab") as log, pytest.raises(NotForked):
        server.fork(["exit", "3"], log, {}).wait()


def ends(executor: LocalExecutor, *jobs: Job) -> list[Ended]:
    """Submits jobs to slots of their own and waits for them."""
    for job in jobs:
        executor.submit(job)
    ended: list[Ended] = []
    deadline = time.monotonic() + 20
    while len(ended) < len(jobs) and time.monotonic() < deadline:
        ended += executor.wait(0.1)
    return sorted(ended, key=lambda each: each.job.name)


@pytest.fixture
def executor(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> LocalExecutor:
    """An executor of two slots that forks the stub, or starts it anew."""
    monkeypatch.setenv("PYTHONPATH", environment["PYTHONPATH"])
    monkeypatch.setattr(local, "ForkServer", lambda given: ForkServer(given, program="stubbed", imported=["imported"]))
    command = (sys.executable, "-P", "-m", "stubbed")
    return LocalExecutor([Slot("a"), Slot("b")], command=command, forks=True)


def test_the_executor_forks_and_starts_anew_what_cannot_be_forked(executor: LocalExecutor, tmp_path: Path) -> None:
    jobs = [Job(name, ("exit", name), tmp_path / name) for name in ("3", "4")]
    assert [end.returncode for end in ends(executor, *jobs)] == [3, 4]
    assert executor._server is not None
    assert executor._server._number == 2
    (tmp_path / "modules" / "imported.py").write_text("print()")
    assert [end.returncode for end in ends(executor, *jobs)] == [3, 4]
    assert [end.returncode for end in ends(executor, *jobs)] == [3, 4]
    assert executor._server._number <= 4, "the server is not asked again"
    assert executor.num_free == 2


def test_what_can_be_started_neither_way_has_failed(executor: LocalExecutor, tmp_path: Path) -> None:
    executor.command = ("/nonexistent/python",)
    job = Job("a", ("exit", "3"), tmp_path / "a.log")
    assert ends(executor, job)[0].returncode == 3
    (tmp_path / "modules" / "imported.py").write_text("print()")
    assert ends(executor, job)[0].returncode == FAILED
    assert "cannot start a process" in (tmp_path / "a.log").read_text()
    assert executor.num_free == 2


def test_a_rehearsal_is_a_fork_where_trials_are(
    executor: LocalExecutor, environment: dict[str, str], tmp_path: Path
) -> None:
    """Otherwise it imports torch by itself, before the server does, and the first step comes four seconds later."""
    spec = SimpleNamespace(group=("jvae",), folder=SimpleNamespace(spec_path=tmp_path / "spec.json"))
    new = Rehearsal(executor.command)
    forked = Rehearsal(("/no/such/program",), executor.beside)
    found = {"jvae": "forked: True, --silent: True"}
    assert forked([spec], lambda: False) == found
    assert executor.num_free == 2, "it takes no trial's place"
    (tmp_path / "modules" / "imported.py").write_text("print()")
    assert forked([spec], lambda: False) == {}, "the server refuses, and there is no program"
    found = {"jvae": "forked: False, --silent: True"}
    assert Rehearsal(executor.command, executor.beside)([spec], lambda: False) == found == new([spec], lambda: False)


@pytest.mark.parametrize("why", ["time", "stop"])
def test_a_forked_rehearsal_that_does_not_end_is_killed(
    why: str, executor: LocalExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = SimpleNamespace(group=("jvae",), folder=SimpleNamespace(spec_path=tmp_path / "hang"))
    monkeypatch.setattr(rehearsal_module, "SECONDS", 3.0 if why == "time" else 60.0)
    began = time.monotonic()
    told = tmp_path / "hang"
    answers = Rehearsal(executor.command, executor.beside)([spec], lambda: why == "stop" and told.exists())
    assert time.monotonic() - began < 20
    assert answers == {"jvae": "before"}
    assert all(gone(int(pid)) for pid in told.read_text().split()), "its child too"


def test_a_rehearsal_stopped_while_its_server_imports_does_not_wait_for_it(
    executor: LocalExecutor, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the first seconds of a run: torch is being imported, and there is no process to be killed."""
    module = tmp_path / "modules" / "imported.py"
    module.write_text("import time; time.sleep(4)")
    os.utime(module, (1e9, 1e9))
    spec = SimpleNamespace(group=("jvae",), folder=SimpleNamespace(spec_path=tmp_path / "hang"))
    began = time.monotonic()
    assert Rehearsal(executor.command, executor.beside)([spec], lambda: True) == {}
    assert time.monotonic() - began < 2
    # Nor is it begun later, by a server whose driver may be gone.
    assert executor._server is not None
    executor._server.close()
    assert executor._server._process.wait(20) == 0
    assert not (tmp_path / "hang").exists()


def test_a_job_whose_output_nobody_can_read_is_not_begun(server: ForkServer, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with open(writing, "wb") as output:
        first = server.fork(["say", "read"], output, {})
        assert first.wait() == 1
        os.close(reading)
        with pytest.raises(NotForked):
            server.fork(["later", str(tmp_path / "later"), "0"], output, {}).wait()
    assert not (tmp_path / "later").exists()


def test_where_a_run_forks_its_rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = LocalExecutor([Slot("cpu")])
    assert _rehearsal(executor, local.COMMAND).fork == executor.beside
    assert LocalExecutor([Slot("gpu 0", {"CUDA_VISIBLE_DEVICES": "0"})]).beside([], sys.stdout.buffer, {}) is None
    monkeypatch.setenv(forks.SWITCH, "0")
    assert LocalExecutor([Slot("cpu")]).beside([], sys.stdout.buffer, {}) is None


@pytest.mark.parametrize("force", [False, True])
def test_the_executor_ends_forks(executor: LocalExecutor, tmp_path: Path, *, force: bool) -> None:
    executor.submit(Job("a", ("later", str(tmp_path / "later"), "60"), tmp_path / "a.log"))
    text(tmp_path / "later")
    executor.kill() if force else executor.terminate()
    deadline = time.monotonic() + 5
    while not (ended := executor.wait(0.1)) and time.monotonic() < deadline:
        pass
    assert ended[0].returncode == -(signal.SIGKILL if force else signal.SIGTERM)


def test_when_jobs_are_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    def forked(*slots: Slot, command: tuple[str, ...] = local.COMMAND) -> bool:
        return LocalExecutor(slots, command=command)._forks

    assert forked(Slot("cpu"))
    assert not forked(Slot("gpu 0", {"CUDA_VISIBLE_DEVICES": "0"})), "a fork may be unable to use it"
    assert not forked(Slot("cpu"), command=("stub",))
    monkeypatch.setenv(forks.SWITCH, "0")
    assert not forked(Slot("cpu"))


def test_what_trials_import_lets_them_be_forks(tmp_path: Path) -> None:
    """An import that starts a thread, such as pyarrow, makes every trial a new process without a word."""
    with open(tmp_path / "output", "wb") as output:
        fork = LocalExecutor([Slot("cpu")]).beside(("list", "objectives"), output, {})
        assert fork is not None
        assert fork.wait() == 0, "raises NotForked where the server refuses"
    assert "jmvae" in (tmp_path / "output").read_text()
