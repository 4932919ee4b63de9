"""The SLURM executor: on submitit's local executor, and on a SLURM of one machine."""

from __future__ import annotations

import gc
import json
import os
import pickle
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.base.processes import LOCK_HELD
from mmvae_bench.cli import main
from mmvae_bench.runs.status import Status, read_status, write_status
from mmvae_bench.specs.grid import expand
from mmvae_bench.sweep import slurm as slurm_module
from mmvae_bench.sweep.executor import Ended, Job
from mmvae_bench.sweep.remote import Origin
from mmvae_bench.sweep.schedule import trials_of
from mmvae_bench.sweep.slurm import SlurmJob, SubmititExecutor, _Submitted, parse_parameters, slurm_executor

from .cluster import drive_with, interrupt, meanwhile, most_at_once
from .slurm import install
from .support import StubRun, until

pytestmark = pytest.mark.not_in_check

submitit = pytest.importorskip("submitit", reason="submitit is not installed (extra slurm)")
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a SLURM."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    install(tmp_path / "bin")
    monkeypatch.setenv("FAKE_SLURM", str(folder))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    submitit.SlurmJob.watcher.clear()
    submitit.SlurmJob.watcher._registered.clear()
    return folder


def command(stub: StubRun, *options: str) -> list[str]:
    """``mmvae-bench run`` on SLURM."""
    return ["run", "--grid", str(stub.write_grid()), "--out", str(stub.out), "--executor", "slurm", *options]


def test_parameters_have_their_kinds() -> None:
    valid = sorted(submitit.SlurmExecutor._valid_parameters())
    given = [
        "partition=gpu",
        "mem-per-gpu=32GB",
        "gres=gpu:a100:1",
        "time=30",
        "exclusive=true",
        "setup=a b",
        "setup=c",
    ]
    assert parse_parameters(given, valid) == {
        "partition": "gpu", "mem_per_gpu": "32GB", "gres": "gpu:a100:1", "time": 30, "exclusive": True,
        "setup": ["a b", "c"],
    }  # fmt: skip
    with pytest.raises(ConfigError) as raised:
        parse_parameters(["partion=gpu", "time=1:00:00", "gres", "array_parallelism=3", "nodes=2"], valid)
    text = str(raised.value)
    assert "nearest: partition" in text
    assert "number of minutes" in text
    assert "NAME=VALUE" in text
    assert "--workers" in text
    assert len(raised.value.problems) == 5


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--executor", "slurm", "--slurm", "partion=gpu"], "nearest: partition"),
        (["--executor", "slurm"], "no SLURM on this machine: sbatch"),
        (["--executor", "local", "--slurm", "partition=gpu"], "only valid with --executor slurm, not with 'local'"),
        (["--executor", "slurm", "--ray-address", "a:1"], "only valid with --executor ray, not with 'slurm'"),
        (["--executor", "slurm", "--per-device", "2"], "only valid with --executor local or ray, not with 'slurm'"),
        (["--executor", "slurm", "--together", "2"], "only valid with --executor local, not with 'slurm'"),
        (["--executor", "slrum"], "nearest: slurm"),
    ],
)
def test_bad_input_ends_with_2_and_writes_nothing(
    stub: StubRun, capsys: Captured, monkeypatch: pytest.MonkeyPatch, options: list[str], part: str
) -> None:
    monkeypatch.setenv("PATH", str(stub.root))
    assert main(["run", "--grid", str(stub.write_grid()), "--out", str(stub.out), *options]) == 2
    assert part in capsys.readouterr().err
    assert not stub.out.exists()


@pytest.mark.parametrize(
    "given",
    ["comment=a\n#SBATCH --uid=0", "setup=true\nrm -rf ~", "partition=gpu\r", "qos=a\x1b[2J", "srun_args=a\u2028b"],
)
def test_a_control_character_never_reaches_the_job_script(given: str, slurm: Path, stub: StubRun) -> None:
    with pytest.raises(ConfigError, match="--slurm: has a control character, such as a line break") as caught:
        slurm_executor(stub.out, parameters=[given])
    assert repr(given) in str(caught.value)
    assert not list(slurm.iterdir())


@pytest.mark.parametrize(
    ("name", "reason"), [("a\nrm -rf ~", "has a control character"), ("50%j", "SLURM replaces % in the names of files")]
)
def test_a_folder_that_the_job_script_cannot_name_is_refused(
    name: str, reason: str, slurm: Path, stub: StubRun, capsys: Captured
) -> None:
    out = stub.root / name
    assert main(["run", "--grid", str(stub.write_grid()), "--out", str(out), "--executor", "slurm"]) == 2
    said = capsys.readouterr().err
    assert f"--out: {reason}" in said
    assert repr(str(out)) in said
    assert "Choose another folder" in said
    assert not out.exists()
    assert not list(slurm.iterdir())


def test_numbers_are_ascii_and_bounded() -> None:
    valid = ["time", "mem", "cpus_per_task"]
    assert parse_parameters(["mem=٣", "cpus_per_task=12"], valid) == {"mem": "٣", "cpus_per_task": 12}
    for time in ("²", "٣", "9" * 5000, "0"):
        with pytest.raises(ConfigError, match="time must be a number of minutes, from 1 to 999999999"):
            parse_parameters([f"time={time}"], valid)


class Evil:
    """Leaves a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize(("content", "code"), [("0", 0), ("143", 143), (None, 1), ("[0", 1), ('"x"', 1), ("[[0]]", 1)])
def test_a_result_is_a_number_in_a_file_and_no_pickle_is_opened(
    stub: StubRun, slurm: Path, content: str | None, code: int
) -> None:
    mark, executor = stub.root / "mark", slurm_executor(stub.out, command=stub.command)
    folder = Path(executor.executor.folder)
    folder.mkdir(parents=True)
    queued = executor.executor.job_class(folder, "1000_0")
    queued.paths.result_pickle.write_bytes(pickle.dumps(("success", Evil(mark))))
    queued.paths.stderr.write_text("ValueError: no such node\n")
    if content is not None:
        (folder / "1000_0_code.json").write_text(content)
    job = Job("job", (), stub.root / "log")
    executor._running["job"] = submitted = _Submitted(job, queued)
    assert queued.done()
    assert executor._end(submitted).returncode == code
    assert not mark.exists()
    assert job.log.exists() == (code == 1)
    if code == 1:
        assert job.log.read_text() == "SLURM job 1000_0 ended with an error:\n  ValueError: no such node\n"


def test_a_list_from_elsewhere_names_only_jobs_below_its_own_folder(stub: StubRun, slurm: Path) -> None:
    good = {"name": "a", "job_id": "7_0", "folder": "0123456789ab"}
    bad = [good | {"name": "b", "folder": "../../x"}, good | {"name": "c", "job_id": "--user=me"}, [], {"name": "d"}]
    executor = slurm_executor(stub.out, command=stub.command)
    executor._list.parent.mkdir(parents=True)
    executor._list.write_text("".join(f"{json.dumps(line)}\n" for line in [*bad, good, {"name": "e", "job_id": "8"}]))
    jobs = executor._read_list()
    assert {name: (job.job_id, job.paths.folder) for name, job in jobs.items()} == {
        "a": ("7_0", stub.out / "slurm" / "0123456789ab"), "e": ("8", stub.out / "slurm")
    }  # fmt: skip


def test_a_copy_of_a_run_names_no_jobs_of_the_original(stub: StubRun, slurm: Path) -> None:
    """They would be waited for, and stopped with the copy's driver."""
    executor = slurm_executor(stub.out, command=stub.command)
    executor._list.parent.mkdir(parents=True)
    own = {"name": "a", "job_id": "7_0", "folder": "0123456789ab", "root": str(executor._list.parent)}
    other = own | {"name": "b", "root": str(stub.root / "other" / "slurm")}
    executor._list.write_text("".join(f"{json.dumps(line)}\n" for line in [own, other]))
    assert list(executor._read_list()) == ["a"]
    # The same folder under another name is the original.
    (stub.root / "link").symlink_to(stub.out)
    assert list(slurm_executor(stub.root / "link", command=stub.command)._read_list()) == ["a"]


def test_the_list_says_where_it_was_written(stub: StubRun, slurm: Path) -> None:
    stub.seeds = (0,)
    executor = slurm_executor(stub.out, command=stub.command)
    executor.poll_seconds = 0.1
    drive_with(stub, executor)
    lines = [json.loads(line) for line in executor._list.read_text().splitlines()]
    assert [line["root"] for line in lines] == [str(stub.out / "slurm")]


@pytest.mark.parametrize(("given", "refused"), [(["time=1"], True), (["time=2"], True), (["time=3"], False),
                                                (["time=1", "signal_delay_s=59"], False)])  # fmt: skip
def test_a_signal_to_save_before_the_beginning_is_refused(
    given: list[str], refused: bool, stub: StubRun, slurm: Path
) -> None:
    if not refused:
        slurm_executor(stub.out, parameters=given, command=stub.command)
        return
    with pytest.raises(
        ConfigError, match=r"signal_delay_s=120 seconds .* is before the beginning: no trial could save"
    ):
        slurm_executor(stub.out, parameters=given, command=stub.command)


def test_a_file_in_the_working_folder_is_not_imported_on_a_node(
    stub: StubRun, slurm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = stub.root / "own"
    own.mkdir()
    for name in ("submitit", "cloudpickle", "typing_extensions"):
        (own / f"{name}.py").write_text(f"open({str(own / 'mark')!r}, 'w').close()\n")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    stub.seeds = (0,)
    executor = slurm_executor(stub.out, command=stub.command)
    executor.poll_seconds = 0.1
    monkeypatch.chdir(own)
    outcome, _ = drive_with(stub, executor)
    assert (outcome.exit_code, stub.counts("finish")) == (0, {0: 1})
    assert not (own / "mark").exists()


def test_without_submitit_the_error_is_the_install_command(
    stub: StubRun, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert main(command(stub)) == 2
    assert "pip install 'mmvae-bench[slurm]'" in capsys.readouterr().err


def test_submitits_local_executor_runs_a_grid(stub: StubRun) -> None:
    stub.behaviours = {"attempts": {"1": ["raise"], "2": ["hang"]}}
    executor = SubmititExecutor(
        submitit.LocalExecutor(stub.out / "slurm"), num_workers=2, arrays=False, command=stub.command
    )
    thread = meanwhile(lambda: stub.counts("start").get(2) == 1 and stub.status(1).get("state") == "failed", interrupt)
    outcome, _ = drive_with(stub, executor)
    thread.join()
    assert outcome.exit_code == 130
    assert stub.states() == {0: "done", 1: "failed", 2: "interrupted"}
    assert stub.counts("stopped") == {0: 0, 1: 0, 2: 1}
    assert stub.status(1)["error"] == "loss is nan at step 3"


def test_one_array_throttled_requeued_and_continued(stub: StubRun, slurm: Path) -> None:
    """A time limit comes near for one of the trials: it saves, goes to the end of the queue, and goes on there."""
    stub.seeds, stub.behaviours = range(4), {"seconds": 0.2, "attempts": {"0": ["hang"]}}
    executor = slurm_executor(
        stub.out,
        parameters=["partition=gpu", "time=30", "gres=gpu:1", "signal_delay_s=60"],
        num_workers=2,
        command=stub.command,
    )
    executor.poll_seconds = 0.2

    def warn() -> None:
        entries = map(json.loads, (stub.out / "slurm" / "jobs.jsonl").read_text().splitlines())
        (name,) = [entry["job_id"] for entry in entries if entry["name"] == stub.folders()[0].name]
        os.kill(int((slurm / f"{name}.pid").read_text()), signal.SIGUSR2)

    # The one that hangs has a place until it is warned; the others go through the second one meanwhile.
    thread = meanwhile(lambda: sum(stub.counts("start").values()) == 4, warn)
    outcome, recorder = drive_with(stub, executor)
    thread.join()
    assert outcome.exit_code == 0, [event.error for event in recorder.of("failed")]
    assert stub.counts("finish") == dict.fromkeys(range(4), 1)
    assert stub.counts("stopped")[0] == 1
    assert stub.status(0)["attempts"] == 2
    assert most_at_once(stub) == 2
    # One array: the preparation of what the trials share, and the trials.
    (script,) = slurm.glob("*.sh")
    directives = {line.removeprefix("#SBATCH --") for line in script.read_text().splitlines() if "#SBATCH" in line}
    assert directives >= {
        "array=0-4%2", "partition=gpu", "time=30", "gres=gpu:1", "signal=USR2@60", "requeue", "open-mode=append",
        "job-name=mmvae-run", "cpus-per-task=1",
    }  # fmt: skip
    assert not recorder.of("retry"), "SLURM put it back, not the driver"


def test_a_driver_that_comes_back_finds_what_lies_in_the_queue(stub: StubRun, slurm: Path) -> None:
    gate = stub.root / "gate"
    stub.behaviours = {"gate": str(gate)}
    first = stub.start("--executor", "slurm", "--workers", "1", "--slurm", "partition=gpu")
    until(lambda: sum(stub.counts("start").values()) == 1, seconds=60)
    first.kill()
    first.communicate()
    (stub.root / "slurm" / "hold").touch()  # One runs, two wait.
    second = stub.start("--executor", "slurm", "--workers", "1", "--slurm", "partition=gpu")
    assert second.stderr is not None
    while "waiting for another driver" not in second.stderr.readline():
        assert second.poll() is None
    gate.touch()
    until(lambda: sum(stub.counts("finish").values()) == 1, seconds=60)
    (stub.root / "slurm" / "hold").unlink()
    _, stderr = second.communicate(timeout=120)
    assert second.returncode == 0, stderr
    assert stub.counts("start") == stub.counts("finish") == dict.fromkeys(range(3), 1)
    assert len(list(slurm.glob("*.sh"))) == 1, "nothing was submitted a second time"
    assert len((stub.out / "slurm" / "jobs.jsonl").read_text().splitlines()) == 3


def test_only_jobs_of_ones_own_or_of_a_driver_that_is_gone_are_withdrawn(stub: StubRun, slurm: Path) -> None:
    (slurm / "hold").touch()
    job = Job("job", ("train",), stub.root / "log")

    def waiting() -> SubmititExecutor:
        executor = slurm_executor(stub.out, command=stub.command)
        executor.submit(job)
        return executor

    def state() -> str:
        (path,) = slurm.glob("*.state")
        return path.read_text()

    first = waiting()
    assert first.wait(0) == []
    second = waiting()
    second.withdraw(["job"])
    second.kill()
    second.terminate()
    assert state() == "PENDING", "the first driver still waits for it"
    assert second.wait(0) == [Ended(job, LOCK_HELD, began=False)]
    assert first.under_way() == []
    del first
    gc.collect()
    waiting().terminate()
    assert state() == "CANCELLED by 0"
    (slurm / "hold").unlink()


def test_an_interrupt_takes_back_what_waits_and_saves_what_runs(stub: StubRun, slurm: Path) -> None:
    stub.behaviours = {"attempts": {str(seed): ["hang"] for seed in range(3)}}
    executor = slurm_executor(stub.out, num_workers=1, command=stub.command)
    executor.poll_seconds = 0.2
    submitit.SlurmJob.watcher._delay_s = 1
    thread = meanwhile(lambda: sum(stub.counts("start").values()) == 1, interrupt)
    outcome, _ = drive_with(stub, executor)
    thread.join()
    assert outcome.exit_code == 130
    assert sorted(stub.states().values()) == ["interrupted", "none", "none"]
    assert sum(stub.counts("stopped").values()) == 1
    assert sorted(path.read_text() for path in slurm.glob("*.state"))[:2] == ["CANCELLED by 0"] * 2


def test_what_waits_in_the_queue_is_taken_back_when_its_objective_has_a_bug(stub: StubRun, slurm: Path) -> None:
    stub.seeds = range(8)
    stub.behaviours = {"attempts": {str(seed): ["bug 7"] for seed in stub.seeds}}
    executor = slurm_executor(stub.out, num_workers=1, command=stub.command)
    executor.poll_seconds = 0.1
    submitit.SlurmJob.watcher._delay_s = 1
    outcome, recorder = drive_with(stub, executor)
    assert outcome.exit_code == 1
    # Some more may begin before SLURM is told; what had not begun never does.
    assert outcome.failed + outcome.held == 8
    assert 2 <= outcome.failed < 8
    assert sum(stub.counts("start").values()) == outcome.failed
    assert sum(event.held or 0 for event in recorder.of("held")) == outcome.held
    assert not recorder.of("retry")
    cancelled = [path for path in slurm.glob("*.state") if path.read_text().startswith("CANCELLED")]
    assert len(cancelled) == outcome.held


def test_a_hung_trial_is_ended_and_one_that_waits_in_the_queue_is_not(stub: StubRun, slurm: Path) -> None:
    stub.seeds, stub.behaviours = (0, 1), {"attempts": {"0": ["hang"]}}
    executor = slurm_executor(stub.out, num_workers=1, command=stub.command)
    executor.poll_seconds = 0.2
    submitit.SlurmJob.watcher._delay_s = 1
    outcome, recorder = drive_with(stub, executor, hang_seconds=12.0, grace=60.0)
    assert (outcome.done, outcome.failed) == (1, 1)
    assert (stub.status(0)["error_type"], stub.status(0)["attempts"]) == ("Hang", 1)
    assert stub.counts("stopped") == {0: 1, 1: 0}, "it was asked to save"
    assert [event.key for event in recorder.of("hung")] == [stub.folders()[0].name]
    first, second = (stub.journal(stub.folders()[seed]) for seed in (0, 1))
    assert second[0]["time"] > first[-1]["time"], "it waited for its turn all the while"


def test_a_trial_that_went_back_into_the_queue_is_not_hung(
    stub: StubRun, slurm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SLURM's last word was that it runs, and that word is old: it is asked before anything is ended."""
    stub.seeds, stub.behaviours = (0,), {"attempts": {"0": ["hang"]}}
    executor = slurm_executor(stub.out, num_workers=1, command=stub.command)
    executor.poll_seconds = 0.2
    folder = stub.store().folder(stub.folders()[0].name)
    looks: list[tuple[bool, str]] = []
    end, watcher = executor.end, submitit.SlurmJob.watcher
    listen = watcher.update_if_long_enough

    def ending(name: str, *, force: bool) -> bool:
        ended = end(name, force=force)
        looks.append((ended, (slurm / "1000.state").read_text()))
        (slurm / "hold").unlink(missing_ok=True)
        if ended:  # Wrongly; the driver must learn of it, or it would wait for ever.
            monkeypatch.setattr(watcher, "update_if_long_enough", listen)
        return ended

    monkeypatch.setattr(executor, "end", ending)

    def requeue() -> None:
        until(lambda: folder.key in executor.under_way(), seconds=100)
        monkeypatch.setattr(watcher, "update_if_long_enough", lambda mode: None)
        (slurm / "hold").touch()
        os.kill(int((slurm / "1000.pid").read_text()), signal.SIGUSR2)

    thread = meanwhile(lambda: stub.counts("start").get(0) == 1, requeue)
    outcome, recorder = drive_with(stub, executor, hang_seconds=15.0, grace=60.0)
    thread.join()
    assert looks == [(False, "PENDING")]
    assert outcome.exit_code == 0, [event.error for event in recorder.of("failed")]
    assert recorder.of("hung") == []
    assert (stub.counts("start"), stub.counts("finish")) == ({0: 2}, {0: 1})


def test_a_list_of_the_queue_that_cannot_be_written_stops_the_run_and_takes_the_jobs_back(
    stub: StubRun, slurm: Path
) -> None:
    (slurm / "hold").touch()
    executor = slurm_executor(stub.out, num_workers=1, command=stub.command)
    executor.poll_seconds = 0.2
    executor._list = stub.out / "nowhere" / "jobs.jsonl"
    submitit.SlurmJob.watcher._delay_s = 1
    outcome, recorder = drive_with(stub, executor)
    assert outcome.exit_code == 1
    assert "jobs.jsonl: cannot record the submitted SLURM jobs" in str(outcome.error)
    assert len(recorder.of("stopping")) == 1
    assert {path.read_text() for path in slurm.glob("*.state")} == {"CANCELLED by 0"}
    assert set(stub.states().values()) == {"none"}
    (slurm / "hold").unlink()


class Turn:
    """In place of a runner: a process that is asked to save at once, and leaves what ``said`` says."""

    started, said = True, Status()

    def __init__(self, origin: Origin) -> None:
        pass

    def run(self, job: Job) -> int:
        if job.pulse is not None:
            write_status(job.pulse.parent, self.said)
        return 143

    def stop(self, number: int) -> None:
        pass

    def join(self, timeout: float) -> int:
        return 143


@pytest.fixture
def turns(stub: StubRun, slurm: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SlurmJob | None]:
    """A turn of a job on its node, to the time limit; the job's next turn, if it has one."""
    monkeypatch.setattr(slurm_module, "Runner", Turn)
    folder = stub.root / "node"
    folder.mkdir()
    for name, value in {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "7", "SUBMITIT_FOLDER": str(folder)}.items():
        monkeypatch.setenv(name, value)

    def turn(job: SlurmJob, status: Status) -> SlurmJob | None:
        monkeypatch.setattr(Turn, "said", status)
        job._run()
        again = job.checkpoint()
        return None if again is None else again.function

    return turn


def on_node(stub: StubRun, **options: float) -> SlurmJob:
    """The job of a trial, as it is submitted."""
    job = trials_of(expand(stub.grid()), stub.store())[0].train_job()
    return SlurmJob(job, Origin.here(stub.command), save_seconds=1.0, **options)


def test_an_evaluation_that_does_not_fit_into_a_turn_fails_after_three(
    stub: StubRun, turns: Callable[..., SlurmJob | None]
) -> None:
    job: SlurmJob | None = on_node(stub)
    status = Status("running", "evaluate", step=10, steps=10, saved=10)
    statuses = [replace(status, phase="train", step=4, saved=4), *[status] * 4]
    for attempts, said in enumerate(statuses, start=1):
        assert job is not None, (
            "each of these turns has added to the checkpoint, or is one of the first two that has not"
        )
        job = turns(job, replace(said, attempts=attempts))
    assert job is None
    failed = read_status(on_node(stub).job.log.parent)
    assert (failed.state, failed.error_type, failed.attempts) == ("failed", "TimeLimit", 5)
    assert "the evaluation does not fit into SLURM's time limit: 3 turns in a row ended at step 10 of 10" in (
        failed.error or ""
    )
    assert "--slurm time=MINUTES" in (failed.error or "")
    assert json.loads((stub.root / "node" / "7_code.json").read_text()) == 1


@pytest.mark.parametrize(
    ("status", "turn_seconds"),
    [
        (Status("running", "prepare", saved=4), 0.0),
        (Status("running", "evaluate", saved=4), 3600.0),
    ],
    ids=["data in preparation", "preempted long before the limit"],
)
def test_other_turns_without_a_step_are_not_counted(
    status: Status, turn_seconds: float, stub: StubRun, turns: Callable[..., SlurmJob | None]
) -> None:
    job: SlurmJob | None = on_node(stub, turn_seconds=turn_seconds)
    for attempts in range(1, 8):
        assert job is not None
        job = turns(job, replace(status, attempts=attempts))
    assert job is not None


def test_turns_of_a_preparation_are_not_counted(stub: StubRun, turns: Callable[..., SlurmJob | None]) -> None:
    trial = trials_of(expand(stub.grid()), stub.store())[0]
    job: SlurmJob | None = SlurmJob(trial.prepare_job(stub.store()), Origin.here(stub.command), save_seconds=1.0)
    assert job is not None
    job.job = replace(job.job, pulse=None)
    for _ in range(7):
        assert job is not None
        job = turns(job, Status())
    assert job is not None


def test_what_sbatch_says_is_shown(stub: StubRun, slurm: Path, capsys: Captured) -> None:
    (slurm / "refuse").touch()
    stub.store()
    process = stub.run("--executor", "slurm", "--slurm", "partition=nowhere", "--json")
    assert process.returncode == 2, "bad input, and nothing was started"
    assert "invalid partition specified: nowhere" in process.stderr
    assert stub.states() == {0: "none", 1: "none", 2: "none"}
    assert [json.loads(line)["event"] for line in process.stdout.splitlines()][-1] == "end"
