"""Drills: signals to the driver, drivers that are killed, several drivers on one folder."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys

import pytest

from mmvae_bench.report import write_results
from mmvae_bench.runs.lock import is_locked
from mmvae_bench.sweep.events import describe

from .support import StubRun, until

pytestmark = pytest.mark.not_in_check


def test_sigint_lets_trials_save_and_says_how_to_go_on(stub: StubRun) -> None:
    stub.behaviours = {"attempts": {"0": ["hang"], "1": ["hang"]}}
    process = stub.start("--workers", "2")
    until(lambda: stub.counts("start").get(0) == stub.counts("start").get(1) == 1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert stub.states() == {0: "interrupted", 1: "interrupted", 2: "none"}
    assert stub.counts("stopped") == {0: 1, 1: 1, 2: 0}
    resume = shlex.split(stderr.splitlines()[-1])
    assert resume[-7:] == ["run", "--grid", str(stub.root / "grid.yaml"), "--out", str(stub.out), "--workers", "2"]
    again = stub.run(*resume[-4:])
    assert again.returncode == 0, again.stderr
    assert stub.counts("finish") == {0: 1, 1: 1, 2: 1}
    assert stub.status(0)["attempts"] == 2


def test_sigterm_is_an_interruption_too(stub: StubRun) -> None:
    stub.behaviours = {"attempts": {"0": ["hang"]}}
    process = stub.start("--workers", "1", "--json")
    until(lambda: stub.counts("start").get(0) == 1)
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    events = [json.loads(line) for line in stdout.splitlines()]
    assert [event["event"] for event in events] == [
        "run", "rehearsing", "running", "stopping", "interrupted", "end",
    ]  # fmt: skip
    assert events[-1]["resume"] == stderr.splitlines()[-1]


def test_a_second_signal_ends_at_once_what_does_not_save(stub: StubRun) -> None:
    stub.behaviours = {"attempts": {"0": ["stubborn"]}}
    process = stub.start("--workers", "1")
    until(lambda: stub.counts("start").get(0) == 1)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "asked to stop" not in process.stderr.readline():
        assert process.poll() is None
    assert is_locked(stub.folders()[0])
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=25)  # Sooner than the grace would end it.
    assert process.returncode == 130
    assert stub.status(0)["state"] == "interrupted"
    assert not is_locked(stub.folders()[0])


def test_after_the_grace_what_does_not_save_is_ended(stub: StubRun) -> None:
    import os
    import threading

    stub.seeds, stub.behaviours = (0,), {"attempts": {"0": ["stubborn"]}}
    stub.store()

    def interrupt() -> None:
        until(lambda: stub.counts("start").get(0) == 1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    outcome, recorder = stub.drive(grace=0.5)
    assert outcome.exit_code == 130
    assert len(recorder.of("stopping")) == 1
    (killed,) = recorder.of("killed")
    assert describe(killed) == ["1 process had not ended after 0.5 s: killed; trials go on from their last checkpoint"]
    assert stub.status(0)["state"] == "interrupted"


def test_a_killed_driver_leaves_its_trials_to_end_and_the_next_one_waits(stub: StubRun) -> None:
    gate = stub.root / "gate"
    stub.behaviours = {"gate": str(gate)}
    first = stub.start("--workers", "2")
    until(lambda: sum(stub.counts("start").values()) == 2)
    first.kill()
    first.communicate()
    assert sum(is_locked(folder) for folder in stub.folders().values()) == 2
    second = stub.start("--workers", "2")
    assert second.stderr is not None
    for _ in range(2):
        while "waiting for another driver" not in second.stderr.readline():
            assert second.poll() is None
    gate.touch()
    second.communicate(timeout=120)
    assert second.returncode == 0
    assert stub.counts("start") == stub.counts("finish") == {0: 1, 1: 1, 2: 1}


def test_two_drivers_run_no_trial_twice(stub: StubRun) -> None:
    stub.seeds, stub.behaviours = range(8), {"seconds": 0.1}
    drivers = [stub.start("--workers", "2"), stub.start("--workers", "2")]
    for driver in drivers:
        _, stderr = driver.communicate(timeout=240)
        assert driver.returncode == 0, stderr
    assert stub.counts("start") == stub.counts("finish") == dict.fromkeys(range(8), 1)


def test_a_trial_that_fails_elsewhere_is_not_tried_here(stub: StubRun) -> None:
    stub.seeds, stub.behaviours = range(4), {"seconds": 0.3, "attempts": {"1": ["raise", "raise"]}}
    drivers = [stub.start("--workers", "2"), stub.start("--workers", "2")]
    for driver in drivers:
        driver.communicate(timeout=240)
        assert driver.returncode == 1
    assert stub.counts("start") == dict.fromkeys(range(4), 1)


def test_everything_at_once(stub: StubRun) -> None:
    stub.seeds = range(8)
    stub.behaviours = {
        "seconds": 0.15,
        "attempts": {"1": ["SIGKILL"], "2": ["raise"], "3": ["SIGSEGV"] * 4, "4": ["OutOfMemoryError"]},
    }
    for num_started in (1, 4):
        driver = stub.start("--workers", "2")
        until(lambda: sum(stub.counts("start").values()) >= num_started)  # noqa: B023 - called in this round
        driver.kill()
        driver.communicate()
    last = stub.run("--workers", "2")
    assert last.returncode == 1, last.stderr
    expected = {seed: "failed" if seed in (2, 3) else "done" for seed in range(8)}
    assert stub.states() == expected, last.stderr
    assert stub.counts("finish") == {seed: int(state == "done") for seed, state in expected.items()}


def test_twelve_trials_with_every_fault_and_two_killed_drivers(stub: StubRun) -> None:
    """A child is killed, one raises, one returns NaN, one hangs, the driver is killed twice."""
    stub.seeds = range(12)
    stub.behaviours = {
        "seconds": 0.2,
        "attempts": {"1": ["SIGKILL"], "2": ["raise"] * 9, "3": ["NaN"] * 9, "4": ["hang"] * 9},
    }
    options = ("--workers", "4", "--hang-seconds", "10")
    for num_started in (2, 7):
        driver = stub.start(*options)
        until(lambda: sum(stub.counts("start").values()) >= num_started)  # noqa: B023 - called in this round
        driver.kill()
        driver.communicate()
    last = stub.run(*options)
    assert last.returncode == 1, last.stderr
    kinds = {2: "ValueError", 3: "NonFiniteLossError", 4: "Hang"}
    expected = {seed: "failed" if seed in kinds else "done" for seed in range(12)}
    assert stub.states() == expected, last.stderr
    assert {seed: stub.status(seed)["error_type"] for seed in kinds} == kinds
    assert all(stub.status(seed)["log"] for seed in kinds)
    assert stub.counts("finish") == {seed: int(state == "done") for seed, state in expected.items()}
    starts = stub.counts("start")
    # Neither a kill of the driver nor a driver that comes later makes anything run again, but for the killed child.
    assert {seed: count for seed, count in starts.items() if seed != 1} == dict.fromkeys(set(range(12)) - {1}, 1)
    assert starts[1] == 2
    rows = json.loads(subprocess.run(
        [sys.executable, "-m", "mmvae_bench", "status", str(stub.out), "--json"],
        capture_output=True, text=True, check=True,
    ).stdout)["trials"]  # fmt: skip
    assert sorted(row["status"] for row in rows) == ["done"] * 9 + ["failed"] * 3
    assert all(row["error"] for row in rows if row["status"] == "failed")
    frame = write_results(stub.out)
    assert frame.groupby("status")["trial"].nunique().to_dict() == {"done": 9, "failed": 3}


def test_two_drivers_with_different_grids_on_one_folder(stub: StubRun) -> None:
    """The second is refused while the first goes on; where its grid holds the first one's, it takes part."""
    gate = stub.root / "gate"
    stub.behaviours = {"gate": str(gate)}
    first = stub.start("--workers", "2")
    until(lambda: sum(stub.counts("start").values()) == 2)
    grid_file = (stub.out / "grid.yaml").read_text()
    stub.seeds = (2, 3)
    refused = stub.run("--workers", "1")
    assert refused.returncode == 2
    assert "2 of its 3 trials are not in this grid" in refused.stderr
    assert (stub.out / "grid.yaml").read_text() == grid_file
    assert len(stub.folders()) == 3
    stub.seeds = (0, 1, 2, 3)
    larger = stub.start("--workers", "1")
    until(lambda: len(stub.folders()) == 4)
    gate.touch()
    for driver in (first, larger):
        _, stderr = driver.communicate(timeout=240)
        assert driver.returncode == 0, stderr
    assert stub.counts("start") == stub.counts("finish") == dict.fromkeys(range(4), 1)


def test_two_drivers_with_different_evaluations_on_one_folder(stub: StubRun) -> None:
    """Each would replace the other's results: the second is refused while the first lives, however that ends."""
    gate = stub.root / "gate"
    stub.behaviours = {"gate": str(gate)}
    first = stub.start("--workers", "2")
    until(lambda: sum(stub.counts("start").values()) == 2)
    grid_file, stub.num_samples, stub.seeds = (stub.out / "grid.yaml").read_text(), 20, (3, 2, 1, 0)
    refused = stub.run("--workers", "1")
    assert refused.returncode == 2
    assert (
        "another driver is working here with other evaluation settings: num_samples 10 there, 20 here" in refused.stderr
    )
    assert (stub.out / "grid.yaml").read_text() == grid_file
    assert len(stub.folders()) == 3
    first.kill()
    first.communicate()
    again = stub.start("--workers", "4")  # Two trials of the first one run still; they are waited for.
    assert again.stderr is not None
    while "waiting for another driver" not in again.stderr.readline():
        assert again.poll() is None
    gate.touch()
    _, stderr = again.communicate(timeout=240)
    assert again.returncode == 0, stderr
    results = [json.loads((folder / "result.json").read_text()) for folder in stub.folders().values()]
    assert [result["evaluation"]["num_samples"] for result in results] == [20] * 4
