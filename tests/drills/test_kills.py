"""Processes that end without a word, and drivers that share a folder."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from .support import STEPS, Drill, Ended

pytestmark = pytest.mark.not_in_check

Reference = dict[str, Path]


def test_a_trial_is_killed(drill: Drill, reference: Reference) -> None:
    """kill -9 of a trial"""
    driver = drill.start("--workers", "1")
    step = drill.draw_step("telbo")
    pid = drill.wait_for("telbo", step)
    if step < STEPS["telbo"] and drill.random.random() < 0.5:
        drill.point.append("in the middle of a checkpoint")
        folder = drill.folder("telbo")
        drill.until(lambda: any(folder.glob(".last.ckpt.*")))
    os.kill(pid, signal.SIGKILL)
    finished = drill.finish(driver)
    assert finished.code == 0, finished.err
    drill.check({"telbo": Ended("done", 2)})
    drill.check_steps("telbo", redone=True)
    drill.check_same("telbo", reference["telbo"])
    if drill.plan.checkpoint_seconds == 0:
        # Saved after every step: at most the one that was being made is made again.
        again = [made for attempt, made in drill.steps_made("telbo") if attempt == 2]
        assert min(again, default=STEPS["telbo"]) >= step


def test_a_driver_is_killed(drill: Drill, reference: Reference) -> None:
    """kill -9 of the driver"""
    drill.objectives = ("telbo", "jvae")
    first = drill.start("--workers", "1")
    if drill.random.random() < 0.5:
        drill.wait_for("telbo", drill.draw_step("telbo"))
    else:
        seconds = 4 * drill.random.random()
        drill.point.append(f"after {seconds:.2f} s")
        time.sleep(seconds)
    first.kill()
    first.communicate()
    finished = drill.run("--workers", "1")
    assert finished.code == 0, finished.err
    # What the first one had started went on without it.
    drill.check({"telbo": Ended("done", 1), "jvae": Ended("done", 1)})
    for name in drill.objectives:
        drill.check_steps(name, redone=False)
        drill.check_same(name, reference[name])


@pytest.mark.slow
def test_two_drivers_share_a_folder(drill: Drill, reference: Reference) -> None:
    """two drivers on one folder"""
    drill.objectives = ("telbo", "jvae")
    drivers = [drill.start("--workers", "1")]
    seconds = 3 * drill.random.random()
    drill.point.append(f"the second after {seconds:.2f} s")
    time.sleep(seconds)
    drivers.append(drill.start("--workers", "1"))
    for driver in drivers:
        finished = drill.finish(driver)
        assert finished.code == 0, finished.err
    drill.check({"telbo": Ended("done", 1), "jvae": Ended("done", 1)})
    for name in drill.objectives:
        drill.check_steps(name, redone=False)
        drill.check_same(name, reference[name])
