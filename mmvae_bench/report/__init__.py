"""From the trials of a run to tables that can be trusted: tidy rows, comparisons with intervals, pages."""

from .results import read_results, write_results
from .write import write_report

__all__ = ["read_results", "write_report", "write_results"]
