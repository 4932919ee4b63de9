"""Fixtures of the drills, their random points, and the count of what was tried."""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from .support import COMMAND, Drill, Ended, Plan

NUM_ROUNDS = 5
SEED = int(os.environ.get("MMVAE_BENCH_DRILL_SEED") or 0)
"""Decides every random point; printed at the end. ``make drills`` takes another one each time."""

outcomes: dict[str, list[str]] = defaultdict(list)


@pytest.fixture(params=[0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, NUM_ROUNDS))])
def drill(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Drill]:
    """A run folder, and random numbers of this drill and round."""
    name = (request.function.__doc__ or "").strip().rstrip(".")
    request.node.user_properties.append(("drill", name))
    seeded = random.Random(f"{SEED} {name} {request.param}")
    drill = Drill(tmp_path, tmp_path / "run", seeded, Plan(str(tmp_path / "journal")))
    drill.plan.checkpoint_seconds = seeded.choice([0.0, 0.2])
    try:
        yield drill
    finally:
        # Shown where the drill fails.
        print(f"drill seed {SEED}, round {request.param}: {', '.join(drill.point)}", *drill.notes, sep="\n")  # noqa: T201
        drill.end()


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By objective, the folder of a trial that ran from start to end with the plain command."""
    root = tmp_path_factory.mktemp("reference")
    whole = Drill(root, root / "run", random.Random(0), Plan(str(root / "journal")), objectives=("telbo", "jvae"))
    words = [*COMMAND, "run", "--grid", str(whole.grid()), "--out", str(whole.out), "--no-rehearsal", "--workers", "2"]
    finished = whole.finish(whole.command(words))
    assert finished.code == 0, finished.err
    whole.check({"telbo": Ended("done", 1), "jvae": Ended("done", 1)})
    return {name: whole.folder(name) for name in whole.objectives}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Counts the rounds of a drill."""
    if report.when == "call" or report.outcome != "passed":
        for key, name in report.user_properties:
            if key == "drill":
                outcomes[str(name)].append(report.outcome)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what was tried."""
    if outcomes:
        counts = [
            f"{name} {results.count('passed')}/{len(results)}"
            + (f" ({results.count('skipped')} skipped)" if "skipped" in results else "")
            for name, results in outcomes.items()
        ]
        terminalreporter.write_line(f"drills: {', '.join(counts)} (MMVAE_BENCH_DRILL_SEED={SEED})")
