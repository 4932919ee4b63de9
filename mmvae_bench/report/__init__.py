"""From the trials of a run to tables that can be trusted: tidy rows, comparisons with intervals, pages.

The names below are imported when they are first used: a wrong folder is found out without pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .results import read_results as read_results
    from .results import write_results as write_results
    from .write import write_merged_report as write_merged_report
    from .write import write_report as write_report

_EXPORTS = {
    "read_results": ".results",
    "write_merged_report": ".write",
    "write_report": ".write",
    "write_results": ".results",
}

__all__ = ["read_results", "write_merged_report", "write_report", "write_results"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
