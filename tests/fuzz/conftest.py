"""Runs command lines in this process on inputs that were never meant, and counts them."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer.main
from hypothesis import HealthCheck, settings

from mmvae_bench import cli
from mmvae_bench.cli import train

from ..closing import INPUTS

NUM_INPUTS = {
    "grid text": 300, "grid files": 500, "sweep files": 300, "--where": 200, "--set": 250, "--set-json": 250,
    "concepts": 200,
}  # fmt: skip
"""2,000 in all, which ``make drills`` tries; otherwise the first of each ``SHARE``."""
SHARE = 8
SECONDS = 5.0
"""The longest time of the processor that an input may take."""

tries_all = False


def pytest_configure(config: pytest.Config) -> None:
    """All inputs are slow tests, so they are tried where those are not left out."""
    global tries_all
    tries_all = "not slow" not in config.getoption("markexpr")


def number(of_all: int) -> int:
    """As many of so many as this run tries."""
    return of_all if tries_all else of_all // SHARE


tried: Counter[str] = Counter()
accepted: Counter[str] = Counter()


def inputs(kind: str) -> settings:
    """How many inputs of a kind; the same ones at every run."""
    return settings(
        max_examples=number(NUM_INPUTS[kind]), derandomize=True, database=None, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _counted(request: pytest.FixtureRequest) -> Iterator[None]:
    """Notes what a test tries, for the last line of the run."""
    before = tried.copy(), accepted.copy()
    yield
    for kind in tried - before[0]:
        counts = [now[kind] - then[kind] for now, then in zip((tried, accepted), before, strict=True)]
        request.node.user_properties.append((INPUTS, (kind, *counts)))


class Started(Exception):
    """Input was good enough to begin writing and working."""


@dataclass
class Desk:
    """A folder to work in, where nothing may change.

    Attributes:
        folder: The working directory, with the inputs in it.
        said: The message of the last command line that was refused.
    """

    folder: Path
    said: str = ""

    def ask(self, kind: str, arguments: list[str]) -> str | None:
        """What a command line prints where it is good; None where it is refused, in one message and nothing else."""
        tried[kind] += 1
        before, begin = self.listing(), time.process_time()
        out, err = io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = cli.main(arguments)
        except Started:
            code = 0
        assert time.process_time() - begin < SECONDS
        assert self.listing() == before, "something was written"
        if code == 0:
            accepted[kind] += 1
            return out.getvalue()
        assert code == 2, err.getvalue()
        assert err.getvalue().startswith(("error: ", "Usage: ")), err.getvalue()
        assert "Traceback" not in err.getvalue()
        assert not out.getvalue()
        self.said = err.getvalue()
        return None

    def plan(self, kind: str, *options: str) -> str | None:
        """``run --dry-run`` on ``grid.yaml``; what is accepted must be a plan."""
        plan = self.ask(kind, ["run", "--grid", "grid.yaml", "--dry-run", "--json", *options])
        if plan is not None:
            assert json.loads(plan)["trials"]
        return plan

    def listing(self) -> list[tuple[str, int]]:
        """Every file with its time of writing."""
        return sorted((str(path), path.stat().st_mtime_ns) for path in self.folder.rglob("*"))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """An empty working directory, in a process that can start no other and lays out no trial."""

    def refuse(*arguments: object, **others: object) -> None:
        raise Started

    class Refused(subprocess.Popen[bytes]):
        """A class, since modules that are imported meanwhile name its type."""

        def __init__(self, *arguments: object, **others: object) -> None:
            raise Started

    before = Path.cwd()
    desk = Desk(tmp_path_factory.mktemp("desk"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", Refused)
        patch.setattr(train, "_lay_out", refuse)
        # Typer builds its commands anew at every call, which would take most of the time here.
        patch.setattr(typer.main, "get_command", functools.cache(typer.main.get_command))
        os.chdir(desk.folder)
        try:
            yield desk
        finally:
            os.chdir(before)


@pytest.fixture(scope="module")
def enough() -> Callable[[str, int], None]:
    """Checks that as many inputs were tried as promised, and that not all of them were refused."""

    def check(kind: str, num_accepted: int) -> None:
        assert tried[kind] >= number(NUM_INPUTS[kind])
        assert accepted[kind] >= number(num_accepted)

    return check
