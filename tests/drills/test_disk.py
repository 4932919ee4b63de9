"""No space left on the device: on a small file system that fills up, and in the middle of a file."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from .support import STEPS, Drill, Ended, Finished

pytestmark = pytest.mark.not_in_check

Reference = dict[str, Path]
NUM_BYTES = 2**24
PAGE = 4096


@pytest.fixture
def small_disk(drill: Drill) -> Iterator[Path]:
    """A real file system of 16 MiB, with the run's folder on it; skips where it cannot be had."""
    disk = drill.root / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={NUM_BYTES}", "tmpfs", str(disk)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, timeout=30)
    except OSError as error:
        pytest.skip(f"no small file system: {error}")
    if done.returncode != 0:
        pytest.skip(f"no small file system: {done.stderr.strip()}")
    drill.out = disk / "run"
    try:
        yield disk
    finally:
        drill.end()
        subprocess.run(["umount", "-l", str(disk)], check=True, timeout=30)


def fill_until_the_driver_ends(drill: Drill, disk: Path, driver: subprocess.Popen[str], *, leave: int) -> Finished:
    """Takes whatever is free, but for ``leave`` bytes, until the driver is over; then gives it back."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:

        def over() -> bool:
            there = os.statvfs(disk)
            free = there.f_bavail * there.f_frsize - leave
            if free > 0:
                with suppress(OSError):  # Somebody else may be quicker.
                    file.write(bytes(free))
            return driver.poll() is not None

        drill.until(over)
    filler.unlink()
    return drill.finish(driver)


def check_full(drill: Drill, finished: Finished) -> None:
    """The run ended with the reason, and with a command that goes on, which then must succeed."""
    assert finished.code == 1
    assert "No space left on device" in finished.err
    assert "Traceback" not in finished.err
    drill.notes += [finished.err, drill.said()]
    # With room for nothing at all not even the failure can be written down: the trial counts as interrupted.
    assert drill.status("telbo").state in ("failed", "running")
    assert {path.name for path in drill.folder("telbo").iterdir()} <= {
        "checksums.json", "evaluation.json", "last.ckpt", "lock", "log.jsonl", "output.log", "samples.png", "spec.json",
        "status.json",
    }  # fmt: skip
    again = drill.resume(finished)
    assert again.code == 0, again.err
    drill.check({"telbo": Ended("done", 2)})


@pytest.mark.slow
def test_no_space_for_a_checkpoint(drill: Drill, small_disk: Path, reference: Reference) -> None:
    """no space for a checkpoint"""
    leave = drill.random.choice([0, 8 * PAGE])
    driver = drill.start("--workers", "1")
    drill.wait_for("telbo", drill.draw_step("telbo", evaluation=0))
    drill.point.append(f"{leave} bytes left")
    finished = fill_until_the_driver_ends(drill, small_disk, driver, leave=leave)
    if (drill.folder("telbo") / "last.ckpt").exists():
        drill.checkpoint("telbo")  # The last one that there was room for.
    check_full(drill, finished)
    drill.check_same("telbo", reference["telbo"])


@pytest.mark.slow
def test_no_space_for_a_result(drill: Drill, small_disk: Path, reference: Reference) -> None:
    """no space for a result"""
    leave = drill.random.choice([0, 2 * PAGE, 3 * PAGE])
    picture = drill.random.random() < 0.5
    driver = drill.start("--workers", "1")
    drill.wait_for("telbo", STEPS["telbo"])
    if not picture:
        drill.until((drill.folder("telbo") / "samples.png").exists)
    drill.point.append(f"{leave} bytes left for {'picture and ' if picture else ''}result")
    finished = fill_until_the_driver_ends(drill, small_disk, driver, leave=leave)
    assert not (drill.folder("telbo") / "result.json").exists()
    check_full(drill, finished)
    drill.check_same("telbo", reference["telbo"])


@pytest.mark.slow
def test_files_are_cut_off(drill: Drill, reference: Reference) -> None:
    """no space in the middle of a checkpoint and of a result"""
    drill.objectives = ("telbo", "jvae")
    nth = drill.random.randint(1, 3) if drill.plan.checkpoint_seconds else drill.random.randint(1, 100)
    drill.plan.full = {
        "telbo": {"file": "last.ckpt", "nth": nth, "num_bytes": drill.random.randrange(1, 60_000)},
        "jvae": {"file": "result.json", "nth": 1, "num_bytes": drill.random.randrange(1, 4_000)},
    }
    drill.point.append(str(drill.plan.full))
    finished = drill.run("--workers", "2")
    assert finished.code == 1
    drill.check({"telbo": Ended("failed", 1), "jvae": Ended("failed", 1)})
    for name in drill.objectives:
        assert "No space left on device" in (drill.status(name).error or "")
    assert finished.resume[-2:] == ["--retry", "failed"]
    again = drill.resume(finished)
    assert again.code == 0, again.err
    drill.check({"telbo": Ended("done", 2), "jvae": Ended("done", 2)})
    for name in drill.objectives:
        drill.check_same(name, reference[name])
