"""Trials that fail by themselves, through an objective that another distribution registers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .faulty.objective import REPAIRED
from .support import REPOSITORY, STEPS, Drill, Ended

pytestmark = pytest.mark.not_in_check

Reference = dict[str, Path]
EXPLODING = "jvae 1e+06"
INCLUDE = """\
include:
  - objectives: [jvae]
    training: {steps: 60, batch_size: 32, learning_rate: 1e6, validations: 4}
"""


@pytest.fixture
def plug_in(drill: Drill, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs another distribution, the way pip leaves it: an entry point in a folder on the path."""
    site = drill.root / "site"
    (site / "faulty-0.1.dist-info").mkdir(parents=True)
    (site / "faulty-0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 0.1\n")
    entry = "[mmvae_bench.objectives]\nfaulty = tests.drills.faulty.spec:FaultySpec\n"
    (site / "faulty-0.1.dist-info" / "entry_points.txt").write_text(entry)
    drill.environment["PYTHONPATH"] = f"{site}:{REPOSITORY}"
    # This process reads the same grid.
    from mmvae_bench.specs.components import objectives

    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(objectives, "_entry_points", None)
    monkeypatch.setattr(objectives, "_parts", dict(objectives._parts))


def test_trials_fail(drill: Drill, plug_in: None, reference: Reference) -> None:
    """a trial that raises, one without memory, one whose loss is NaN"""
    memory, nan = drill.random.choice(["memory", "tensor_memory"]), drill.random.choice(["nan", EXPLODING])
    steps = {fault: drill.random.randint(1, STEPS["faulty"]) for fault in ("raise", memory, nan) if fault != EXPLODING}
    drill.point += [str(steps), nan]
    drill.objectives = [f"{{name: faulty, fault: {fault}, at: {step}}}" for fault, step in steps.items()]
    drill.include = INCLUDE if nan == EXPLODING else ""
    finished = drill.run("--workers", "2")
    assert finished.code == 1
    # Without memory: tried once more, alone.
    failed = {"raise": Ended("failed", 1), memory: Ended("failed", 2), nan: Ended("failed", 1)}
    drill.check(failed)
    first = {name: drill.status(name) for name in failed}
    assert first["raise"].error == f"ZeroDivisionError: the fault of step {steps['raise']}"
    assert first["raise"].error_type == "ZeroDivisionError"
    assert first[memory].error_type == {"memory": "MemoryError", "tensor_memory": "OutOfMemoryError"}[memory]
    assert first[nan].error_type == "NonFiniteLossError"
    where = steps.get(nan, r"\d+")
    assert re.search(rf"not finite at step {where} of stage 'fit': in joint/\w+", first[nan].error or "")
    for name, status in first.items():
        assert (status.error or "?") in finished.err.replace("\n    ", "\n"), name
        assert Path(status.log or "").is_file()
    assert finished.resume[-2:] == ["--retry", "failed"]

    drill.environment[REPAIRED] = "1"
    again = drill.resume(finished)
    expected = {name: Ended("done", ended.attempts + 1) for name, ended in failed.items()}
    if nan == EXPLODING:
        expected[nan] = Ended("failed", 2)
        assert drill.status(nan).error == first[nan].error
    assert again.code == int(nan == EXPLODING), again.err
    drill.check(expected)
    for name, ended in expected.items():
        if ended.state == "done":
            # Its name apart it is JVAE.
            drill.check_same(name, reference["jvae"], picture=False)
