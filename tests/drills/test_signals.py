"""Requests to stop, in mid-trial."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from .support import STEPS, Drill, Ended

pytestmark = pytest.mark.not_in_check

Reference = dict[str, Path]


def interrupted_run(drill: Drill, reference: Reference, number: signal.Signals) -> None:
    """Sends a signal to the driver at a random step, looks at what is left, and goes on as the driver says."""
    driver = drill.start("--workers", "1")
    drill.wait_for("telbo", drill.draw_step("telbo"))
    driver.send_signal(number)
    finished = drill.finish(driver)
    assert finished.code == 130, finished.err
    assert finished.err.splitlines()[-2] == "0 of 1 trials done, 0 failed, 1 not finished; resume with:"
    drill.check({"telbo": Ended("interrupted", 1)})
    saved, made = drill.checkpoint("telbo"), drill.steps_made("telbo")
    # Stages of 60 and 40 steps: nothing that was made is lost.
    assert (0, 60, 100)[saved.stage] + saved.step == made[-1][1] == len(made) == drill.status("telbo").step
    again = drill.resume(finished)
    assert again.code == 0, again.err
    drill.check({"telbo": Ended("done", 2)})
    drill.check_same("telbo", reference["telbo"])


def test_the_driver_gets_sigint(drill: Drill, reference: Reference) -> None:
    """SIGINT to the driver"""
    interrupted_run(drill, reference, signal.SIGINT)


@pytest.mark.slow
def test_the_driver_gets_sigterm(drill: Drill, reference: Reference) -> None:
    """SIGTERM to the driver"""
    interrupted_run(drill, reference, signal.SIGTERM)


@pytest.mark.slow
def test_a_trial_gets_sigterm(drill: Drill, reference: Reference) -> None:
    """SIGTERM to a trial"""
    driver = drill.start("--workers", "1")
    os.kill(drill.wait_for("telbo", drill.draw_step("telbo")), signal.SIGTERM)
    finished = drill.finish(driver)
    assert finished.code == 0, finished.err
    drill.check({"telbo": Ended("done", 2)})
    drill.check_steps("telbo", redone=False)
    assert len({attempt for attempt, _ in drill.steps_made("telbo")}) == 2 or drill.point == ["in the evaluation"]
    assert len(drill.steps_made("telbo")) == STEPS["telbo"]
    drill.check_same("telbo", reference["telbo"])
