"""Turns the trials of a run into tables that can be trusted: tidy rows, comparisons with intervals, pages.

The names below are imported when they are first used, so that a wrong folder is reported without importing pandas.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .frames import read_queries as read_queries
    from .frames import read_results as read_results
    from .gather import write_results as write_results
    from .notebook import Report, RunLike
    from .write import write_merged_report as write_merged_report
    from .write import write_report as write_report

_EXPORTS = {
    "read_queries": ".frames",
    "read_results": ".frames",
    "write_merged_report": ".write",
    "write_report": ".write",
    "write_results": ".gather",
}

__all__ = ["read_queries", "read_results", "write_merged_report", "write_report", "write_results"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Callable(ModuleType):
    """This package, which is also what ``mmvae_bench.report(run)`` calls: Python has one name for both."""

    def __call__(self, run: RunLike) -> Report:
        """See :func:`mmvae_bench.report.notebook.report`."""
        from .notebook import report

        return report(run)


sys.modules[__name__].__class__ = _Callable
