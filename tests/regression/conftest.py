"""Says at the end of a run which comparison the stored traces were given."""

from __future__ import annotations

from collections import Counter

import pytest

from .records import read
from .traces import STORED, comparison, traced


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line, where a trace was compared in this run."""
    reports = [each for kind in ("passed", "failed") for each in terminalreporter.stats.get(kind, [])]
    if any("test_traces.py::test_trace[" in report.nodeid for report in reports):
        done = Counter(comparison(name) for name in traced() if name in read(STORED))
        for how, count in done.items():
            terminalreporter.write_line(f"{count} loss traces compared {how}")
