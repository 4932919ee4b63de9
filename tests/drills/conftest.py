"""Fixtures of the drills, and their random points."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from ..closing import DRILL, SEED
from .support import COMMAND, Drill, Ended, Plan

NUM_ROUNDS = 5


@pytest.fixture(params=[0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, NUM_ROUNDS))])
def drill(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Drill]:
    """A run folder, and random numbers of this drill and round."""
    name = (request.function.__doc__ or "").strip().rstrip(".")
    request.node.user_properties.append((DRILL, name))
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
def reference(shared_folder: Callable[[str], AbstractContextManager[Path]]) -> dict[str, Path]:
    """By objective, the folder of a trial that ran from start to end with the plain command."""
    with shared_folder("reference") as root:
        whole = Drill(root, root / "run", random.Random(0), Plan(str(root / "journal")), objectives=("telbo", "jvae"))
        if not (root / "whole").exists():
            options = ["--out", str(whole.out), "--no-rehearsal", "--workers", "2"]
            finished = whole.finish(whole.command([*COMMAND, "run", "--grid", str(whole.grid()), *options]))
            assert finished.code == 0, finished.err
            whole.check({"telbo": Ended("done", 1), "jvae": Ended("done", 1)})
            (root / "whole").touch()
    return {name: whole.folder(name) for name in whole.objectives}
