"""The last lines of a run: how many drills and inputs were tried, and how loss traces were compared.

They are counted from the reports of the tests, which pytest-xdist brings from its workers to the process that prints.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

DRILL, INPUTS = "drill", "inputs"
"""Properties of a test: the name of its drill; of inputs, the kind, how many were tried, and how many were accepted."""
SEED = int(os.environ.get("MMVAE_BENCH_DRILL_SEED") or 0)
"""Decides every random point of the drills; ``make drills`` takes another one each time."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line of each kind of tests that has run."""
    reports = [each for kind in terminalreporter.stats.values() for each in kind if isinstance(each, pytest.TestReport)]
    for line in [*_drills(reports), *_inputs(reports), *_traces(reports)]:
        terminalreporter.write_line(line)


def _properties(report: pytest.TestReport, name: str) -> list[Any]:
    return [value for key, value in report.user_properties if key == name]


def _drills(reports: list[pytest.TestReport]) -> Iterator[str]:
    outcomes: dict[str, list[str]] = defaultdict(list)
    for report in reports:
        if report.when == "call" or report.outcome != "passed":
            for name in _properties(report, DRILL):
                outcomes[name].append(report.outcome)
    counts = [
        f"{name} {results.count('passed')}/{len(results)}"
        + (f" ({results.count('skipped')} skipped)" if "skipped" in results else "")
        for name, results in outcomes.items()
    ]
    if counts:
        yield f"drills: {', '.join(counts)} (MMVAE_BENCH_DRILL_SEED={SEED})"


def _inputs(reports: list[pytest.TestReport]) -> Iterator[str]:
    tried: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    for report in reports:
        if report.when == "teardown":
            for kind, number, good in _properties(report, INPUTS):
                tried[kind] += number
                accepted[kind] += good
    if tried:
        counts = [f"{kind} {count:,} ({accepted[kind]:,} accepted)" for kind, count in tried.items()]
        yield f"fuzzing: {sum(tried.values()):,} inputs: {', '.join(counts)}"


def _traces(reports: list[pytest.TestReport]) -> Iterator[str]:
    if any(
        each.when == "call" and "test_traces.py::test_trace[" in each.nodeid and not each.skipped for each in reports
    ):
        from .regression.records import read
        from .regression.traces import STORED, comparison, traced

        for how, count in Counter(comparison(name) for name in traced() if name in read(STORED)).items():
            yield f"{count} loss traces compared {how}"
