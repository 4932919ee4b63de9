"""The Ray executor, on a local cluster of two nodes."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.base.processes import handlers_kept
from mmvae_bench.cli import main
from mmvae_bench.runs.lock import is_locked
from mmvae_bench.sweep.ray import RayExecutor, connect

from .cluster import drive_with, interrupt, meanwhile, most_at_once
from .support import StubRun, until

pytestmark = pytest.mark.not_in_check

SETTINGS = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_raylet_start_wait_time_s": "300",
}
NODE = {"num_cpus": 2, "num_gpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20}


class Elsewhere:
    """An actor that has nothing to do with trials."""

    def here(self) -> bool:
        """Answers once it has its place."""
        return True


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without room for trials, and a node; each has two CPU cores and a GPU that is none."""
    before = {name: os.environ.get(name) for name in SETTINGS}
    os.environ.update(SETTINGS)  # Ray reads some of them when it is imported.
    pytest.importorskip("ray", reason="Ray is not installed (extra ray)")
    from ray.cluster_utils import Cluster

    with handlers_kept():
        cluster = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 0, "num_gpus": 0})
    try:
        with handlers_kept():
            cluster.add_node(**NODE)
        yield cluster
    finally:
        import ray

        ray.shutdown()
        cluster.shutdown()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def test_a_node_that_dies_in_the_middle_costs_no_trial(cluster: Any, stub: StubRun) -> None:
    with handlers_kept():
        second = cluster.add_node(**NODE)
    gate = stub.root / "gate"
    stub.seeds, stub.behaviours = range(5), {"gate": str(gate)}

    def lose() -> None:
        cluster.remove_node(second, allow_graceful=False)
        until(lambda: sum(is_locked(folder) for folder in stub.folders().values()) == 2, seconds=400)
        gate.touch()

    before = signal.getsignal(signal.SIGTERM)
    executor = RayExecutor(connect(cluster.address), per_device=2, command=stub.command)
    assert signal.getsignal(signal.SIGTERM) is before, "Ray would have it end the process"
    assert executor.num_slots == 4
    thread = meanwhile(lambda: sum(stub.counts("start").values()) == 4, lose)
    outcome, recorder = drive_with(stub, executor)
    thread.join()
    assert outcome.exit_code == 0
    assert stub.counts("finish") == dict.fromkeys(range(5), 1)
    starts = [line for folder in stub.folders().values() for line in stub.journal(folder) if line["event"] == "start"]
    assert len({line["node"] for line in starts}) == 2, "both nodes were used"
    assert len(starts) == 7, "the two that were lost began again"
    assert most_at_once(stub) <= 4
    assert {line["threads"] for line in starts} == {os.environ.get("OMP_NUM_THREADS", "1")}
    assert not recorder.of("failed")
    until(lambda: executor.num_slots == 2, seconds=100)


def test_parts_of_gpus_are_respected(cluster: Any, stub: StubRun) -> None:
    ray = connect(cluster.address)
    with pytest.raises(ConfigError, match=r"3 CPU thread.*\n.*2 CPU, 1 GPU"):
        RayExecutor(ray, num_threads=3, command=stub.command)
    assert RayExecutor(ray, per_device=3, command=stub.command).num_slots == 2, "CPU cores are the limit"
    stub.seeds, stub.behaviours = range(3), {"seconds": 0.3, "attempts": {"2": ["SIGSEGV"]}}
    executor = RayExecutor(ray, command=stub.command)
    assert executor.num_slots == 1
    executor.num_workers = 1
    outcome, _ = drive_with(stub, executor)
    assert (outcome.done, outcome.failed) == (2, 1)
    assert most_at_once(stub) == 1
    assert {line["visible"] for folder in stub.folders().values() for line in stub.journal(folder)[:1]} == {"0"}
    assert stub.status(2)["error_type"] == "SIGSEGV"
    assert "the last words" in stub.status(2)["error"]


def test_the_first_interrupt_saves_and_the_end_of_the_grace_kills(cluster: Any, stub: StubRun) -> None:
    stub.seeds, stub.behaviours = range(3), {"attempts": {"0": ["hang"], "1": ["stubborn"]}}
    executor = RayExecutor(connect(cluster.address), per_device=2, command=stub.command)
    thread = meanwhile(lambda: stub.counts("start").get(0, 0) == stub.counts("start").get(1, 0) == 1, interrupt)
    outcome, _ = drive_with(stub, executor, grace=1.0)
    thread.join()
    assert outcome.exit_code == 130
    assert stub.states() == {0: "interrupted", 1: "interrupted", 2: "none"}
    assert stub.counts("stopped") == {0: 1, 1: 0, 2: 0}


def test_a_hung_trial_is_ended(cluster: Any, stub: StubRun) -> None:
    stub.seeds, stub.behaviours = (0, 1), {"attempts": {"0": ["stubborn"]}}
    executor = RayExecutor(connect(cluster.address), per_device=2, command=stub.command)
    outcome, recorder = drive_with(stub, executor, hang_seconds=8.0, grace=0.5)
    assert (outcome.done, outcome.failed) == (1, 1)
    assert (stub.status(0)["error_type"], stub.status(0)["attempts"]) == ("Hang", 1)
    assert len(recorder.of("hung")) == 1


def test_what_waits_for_a_place_neither_hangs_nor_has_begun(cluster: Any, stub: StubRun) -> None:
    """Somebody else's work has the cluster."""
    ray = connect(cluster.address)
    other = ray.remote(num_cpus=2, num_gpus=1)(Elsewhere).remote()
    ray.get(other.here.remote())
    executor = RayExecutor(ray, num_workers=2, per_device=2, command=stub.command)
    looked = time.monotonic() + 3.0
    thread = meanwhile(lambda: len(executor._running) == 2 and time.monotonic() > looked, interrupt)
    outcome, recorder = drive_with(stub, executor, hang_seconds=1.0)
    thread.join()
    ray.kill(other)
    assert outcome.exit_code == 130
    assert recorder.of("hung") == []
    assert set(stub.states().values()) == {"none"}


def test_a_driver_that_is_killed_takes_its_trials_with_it_which_save_first(cluster: Any, stub: StubRun) -> None:
    stub.seeds, stub.behaviours = (0, 1), {"attempts": {"0": ["hang"], "1": ["hang"]}}
    driver = stub.start("--executor", "ray", "--ray-address", cluster.address, "--per-device", "2")
    until(lambda: stub.counts("start") == {0: 1, 1: 1}, seconds=400)
    driver.kill()
    driver.communicate()
    until(lambda: not any(is_locked(folder) for folder in stub.folders().values()), seconds=400)
    assert stub.counts("stopped") == {0: 1, 1: 1}
    assert set(stub.states().values()) == {"interrupted"}


def test_a_run_through_the_command_line(cluster: Any, stub: StubRun) -> None:
    done = stub.run("--executor", "ray", "--ray-address", cluster.address, "--json")
    assert done.returncode == 0, done.stderr
    assert all(line.startswith('{"event"') for line in done.stdout.splitlines()), "Ray keeps out of the results"
    assert stub.counts("finish") == {0: 1, 1: 1, 2: 1}


@pytest.mark.parametrize(
    ("option", "listens"),
    [("--ray-address", "nobody"), ("RAY_ADDRESS", "nobody"), ("--ray-address", "mute"), ("--ray-address", "web")],
)
def test_an_address_that_does_not_answer_is_named_at_once(
    stub: StubRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, option: str, listens: str
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (extra ray)")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        if listens != "nobody":
            listener.listen()
        if listens == "web":
            threading.Thread(target=lambda: listener.accept()[0].sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")).start()
        if option == "RAY_ADDRESS":
            monkeypatch.setenv(option, address)
        words = ["--ray-address", address] if option == "--ray-address" else []
        began = time.monotonic()
        command = ["run", "--grid", str(stub.write_grid()), "--out", str(stub.out), "--executor", "ray", *words]
        assert main(command) == 2
        assert time.monotonic() - began < 30
    error = capsys.readouterr().err
    assert option in error
    assert address in error
    assert not stub.out.exists()


@pytest.mark.parametrize(
    "address",
    ["head", "ray://127.0.0.1:6379", "127.0.0.1:²", "127.0.0.1:٣٣٣٣", "127.0.0.1:0", "127.0.0.1:65536",
     "127.0.0.1:" + "9" * 5000, "127.0.0.1:-1", "127.0.0.1: 1"],
    ids=lambda address: ascii(address[:20]),
)  # fmt: skip
def test_an_address_that_is_none(stub: StubRun, capsys: pytest.CaptureFixture[str], address: str) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (extra ray)")
    command = ["run", "--grid", str(stub.write_grid()), "--out", str(stub.out), "--executor", "ray"]
    assert main([*command, "--ray-address", address]) == 2
    assert "HOST:PORT" in capsys.readouterr().err


def test_a_host_that_is_no_name(stub: StubRun, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (extra ray)")
    command = ["run", "--grid", str(stub.write_grid()), "--out", str(stub.out), "--executor", "ray"]
    assert main([*command, "--ray-address", f"{'a' * 64}.org:6379"]) == 2
    assert "--ray-address: no response from the Ray address" in capsys.readouterr().err


def test_without_ray_the_error_is_the_install_command(
    stub: StubRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["run", "--grid", str(stub.write_grid()), "--out", str(stub.out), "--executor", "ray"]) == 2
    assert "pip install 'mmvae-bench[ray]'" in capsys.readouterr().err
