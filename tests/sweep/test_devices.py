"""Slots: a GPU each where there are GPUs, else CPU cores; and what a process in a slot is given."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.base.machine import num_cpus
from mmvae_bench.sweep import local
from mmvae_bench.sweep.executor import Ended, ExecutorError, Job
from mmvae_bench.sweep.local import LocalExecutor, Slot, crowding, local_slots, visible_gpus

from .support import StubRun


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0,1", ["0", "1"]), ("", []), ("-1", []), (" 2 ,GPU-ab", ["2", "GPU-ab"]), ("0,-1,1", ["0"]), ("NoDevFiles", [])],
)
def test_visible_devices_as_cuda_reads_them(value: str, expected: list[str]) -> None:
    assert visible_gpus({local.VISIBLE: value}) == expected


def test_so_many_slots_a_gpu_dealt_out_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(local.VISIBLE, "4,7")

    def dealt(workers: int | None = None, *, per_device: int = 1) -> list[str]:
        return [slot.environment[local.VISIBLE] for slot in local_slots(workers, per_device=per_device)]

    assert dealt() == ["4", "7"]
    assert dealt(1) == ["4"]
    assert dealt(per_device=2) == ["4", "7", "4", "7"]
    assert dealt(3, per_device=2) == ["4", "7", "4"], "--workers is the maximum overall"
    assert crowding(local_slots(per_device=99)) is None, "GPUs, not cores"


def test_more_slots_than_the_gpus_have_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(local.VISIBLE, "4,7")
    with pytest.raises(ConfigError) as caught:
        local_slots(5, per_device=2)
    for part in ("--workers", "5", "2 GPUs (4, 7)", "--per-device 2 make 4", "--per-device 3"):
        assert part in str(caught.value)


def test_more_slots_than_cores_is_a_remark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(local.VISIBLE, "")
    monkeypatch.setattr(local, "num_cpus", lambda: 4)
    assert crowding(local_slots(4)) is None
    assert crowding(local_slots(1, num_threads=9), num_threads=9) is None, "one trial cannot be split"
    said = crowding(local_slots(3, num_threads=2), num_threads=2)
    assert said is not None
    for part in ("3 slots of 2 threads", "4 CPU cores", "--workers 2"):
        assert part in said


def test_one_slot_for_so_many_cores_as_a_trial_has_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(local.VISIBLE, "")
    monkeypatch.setattr(local, "num_cpus", lambda: 8)
    assert len(local_slots()) == 8
    assert len(local_slots(num_threads=3)) == 2
    assert len(local_slots(num_threads=99)) == 1
    assert len(local_slots(5, num_threads=3)) == 5
    assert len(local_slots(per_device=3, num_threads=3)) == 6
    assert len(local_slots(5, per_device=3)) == 5
    assert local_slots()[0].environment == {}


def test_there_is_a_core() -> None:
    assert num_cpus() >= 1


def run(executor: LocalExecutor, job: Job) -> Ended:
    """One job, to its end."""
    executor.submit(job)
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        for ended in executor.wait(0.1):
            return ended
    raise AssertionError("the job does not end")


def test_the_environment_of_a_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "3")
    names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    show = f"import os; print(*(os.environ.get(name) for name in {names}))"
    executor = LocalExecutor([Slot("gpu 5", {"CUDA_VISIBLE_DEVICES": "5"})], command=(sys.executable, "-c"))
    assert run(executor, Job("a", (show,), tmp_path / "logs" / "a.log")).returncode == 0
    assert (tmp_path / "logs" / "a.log").read_text() == "5 1 3\n", "what the user has set stays"
    assert executor.num_free == executor.num_slots == 1


def test_output_is_appended_and_a_process_leads_a_session(tmp_path: Path) -> None:
    executor = LocalExecutor([Slot("cpu")], command=(sys.executable, "-c"))
    code = "import os, sys; print(os.getsid(0) == os.getpid(), flush=True); print('talk', file=sys.stderr); sys.exit(4)"
    for _ in range(2):
        assert run(executor, Job("a", (code,), tmp_path / "a.log")).returncode == 4
    assert (tmp_path / "a.log").read_text() == "True\ntalk\n" * 2


def test_a_command_that_cannot_start_frees_its_slot(tmp_path: Path) -> None:
    executor = LocalExecutor([Slot("cpu")], command=("/nonexistent/python",))
    with pytest.raises(ExecutorError, match="cannot start a process"):
        executor.submit(Job("a", (), tmp_path / "a.log"))
    assert executor.num_free == 1


@pytest.mark.parametrize(
    ("returncode", "kind"), [(-9, "SIGKILL"), (137, "SIGKILL"), (-11, "SIGSEGV"), (1, "exit 1"), (-99, "signal 99")]
)
def test_ends_are_described(returncode: int, kind: str) -> None:
    found, sentence = Ended(Job("a", (), Path("a.log")), returncode).describe()
    assert found == kind
    assert ("memory" in sentence) == (kind == "SIGKILL")


def test_trials_are_told_their_device(stub: StubRun, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmvae_bench.specs.grid import expand
    from mmvae_bench.sweep.driver import Driver
    from mmvae_bench.sweep.schedule import trials_of

    from .support import Recorder

    stub.behaviours = {"seconds": 0.3}
    monkeypatch.setenv(local.VISIBLE, "0,1,2")
    store = stub.store()
    executor = LocalExecutor(local_slots(), command=stub.command)
    assert Driver(store, trials_of(expand(stub.grid()), store), executor, Recorder()).run().exit_code == 0
    starts = [stub.journal(folder)[0] for folder in stub.folders().values()]
    assert {start["visible"] for start in starts} == {"0", "1", "2"}
