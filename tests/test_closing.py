"""The suite in several processes: how many, which tests go together, and that nothing it says is lost."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from . import closing, conftest

ROOT = Path(__file__).parents[1]


def report(name: str, *properties: tuple[str, Any], when: Any = "call", outcome: Any = "passed") -> pytest.TestReport:
    """As it comes from another process: what it notes has gone through JSON."""
    nodeid = f"tests/{name}"
    made = pytest.TestReport(nodeid, (nodeid, 0, name), {}, outcome, None, when, user_properties=properties)
    back = pytest.TestReport._from_json(made._to_json())
    back.user_properties = [(key, list(value) if isinstance(value, tuple) else value) for key, value in properties]
    return back


class Terminal:
    """What prints the summary, with its reports as it files them."""

    def __init__(self, **stats: list[Any]) -> None:
        self.stats = {"": stats.pop("other", []), **stats}
        self.lines: list[str] = []

    def write_line(self, line: str) -> None:
        self.lines.append(line)


def lines(**stats: list[Any]) -> list[str]:
    terminal = Terminal(**stats)
    closing.pytest_terminal_summary(terminal)  # type: ignore[arg-type]
    return terminal.lines


def test_drills_are_counted_by_name_and_outcome() -> None:
    killed, full = (closing.DRILL, "SIGKILL"), (closing.DRILL, "a full disk")
    said = lines(
        passed=[report("a", killed), report("b", killed), report("c")],
        failed=[report("d", killed, outcome="failed")],
        error=[report("e", full, when="setup", outcome="failed")],
        skipped=[report("f", full, when="setup", outcome="skipped")],
        other=[report("a", killed, when="setup"), report("a", killed, when="teardown")],
        deselected=[object()],
    )
    seed = closing.SEED
    assert said == [f"drills: SIGKILL 2/3, a full disk 0/2 (1 skipped) (MMVAE_BENCH_DRILL_SEED={seed})"]


def test_inputs_are_counted_once_whatever_becomes_of_a_test() -> None:
    grids, concepts = (closing.INPUTS, ("grid files", 1200, 30)), (closing.INPUTS, ("concepts", 7, 1))
    said = lines(
        passed=[report("a", grids)],
        failed=[report("b", concepts, outcome="failed")],
        other=[report(name, each, when="teardown") for name, each in (("a", grids), ("b", concepts), ("c", concepts))],
    )
    assert said == ["fuzzing: 1,214 inputs: grid files 1,200 (30 accepted), concepts 14 (2 accepted)"]


def test_how_traces_were_compared_is_said_where_they_were() -> None:
    trace = "regression/test_traces.py::test_trace[jvae]"
    assert lines(passed=[report("regression/test_traces.py::test_other")]) == []
    assert lines(skipped=[report(trace, outcome="skipped")]) == []
    assert "loss traces compared" in lines(failed=[report(trace, outcome="failed")])[0]


@pytest.mark.parametrize(
    ("cpus", "gibibytes", "limit", "workers"),
    [
        (1, 24, "max", 1),
        (2, 24, "", 2),
        (64, 500, "max", 4),
        (8, 8, "", 2),
        (4, 1, "max", 1),
        (4, 64, str(4 * 2**30), 1),
    ],
)
def test_the_number_of_processes(
    cpus: int, gibibytes: int, limit: str, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as there are CPUs, four at most, each with 3 GiB of what the machine or the container has."""
    page = os.sysconf("SC_PAGE_SIZE")
    sizes = {"SC_PAGE_SIZE": page, "SC_PHYS_PAGES": gibibytes * 2**30 // page}
    monkeypatch.setattr(conftest, "num_cpus", lambda: cpus)
    monkeypatch.setattr(conftest, "LIMIT", tmp_path / "memory.max")
    if limit:
        (tmp_path / "memory.max").write_text(f"{limit}\n")
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    monkeypatch.delenv("PYTEST_XDIST_AUTO_NUM_WORKERS", raising=False)
    assert conftest.pytest_xdist_auto_num_workers() == workers
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "3")
    assert conftest.pytest_xdist_auto_num_workers() is None, "left to pytest-xdist, which reads it"


def test_make_test_leaves_nothing_out() -> None:
    """And a file's tests stay together: some rely on what those before them have done."""
    # Not what the make that runs this was told.
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "WORKERS")
    }
    for variables, workers in (([], "auto"), (["WORKERS=0"], "0")):
        words = ["make", "-n", "test", "VENV=there", *variables]
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        command = f"there/bin/python -m pytest -q -n {workers} --dist loadfile --no-loadscope-reorder"
        assert done.stdout.splitlines()[-1] == command
