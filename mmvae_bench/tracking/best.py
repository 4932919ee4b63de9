"""The best trial of a sweep by the sweep's own metric, whose name is that of a number in a tracker."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ..base.errors import nearest
from ..base.files import DamagedFile
from ..base.printable import counted, printable
from ..runs.documents import read_records
from ..runs.folder import TrialFolder, read_result
from ..runs.names import RESULT_FILE, TRAINING_LOG
from ..specs.sweeps import SweepMetric
from ..specs.trial import trial_label
from .metrics import record_values, score_values


def logged_values(directory: Path) -> dict[str, float]:
    """The last value of every number that a tracker of a finished trial would have; empty if it is not finished."""
    try:
        scores = score_values(read_result(directory / RESULT_FILE)["scores"])
    except (OSError, DamagedFile):
        return {}
    values: dict[str, float] = {}
    for record in read_records(directory / TRAINING_LOG):
        with suppress(KeyError, TypeError, AttributeError):  # A stranger's line.
            values |= record_values(record)
    return values | scores


def best_text(folders: Iterable[TrialFolder], metric: SweepMetric) -> str:
    """What the end of a sweep says: the best trial by the metric, its value and its folder; or why there is none.

    Args:
        folders: The sweep's trials, in any state; equal trials are told in their order.
        metric: What the sweep optimises.
    """
    known: set[str] = set()
    found: list[tuple[float, TrialFolder]] = []
    for folder in folders:
        values = logged_values(folder.directory)
        known |= values.keys()
        if math.isfinite(value := values.get(metric.name, math.nan)):
            found.append((value, folder))
    if not found:
        near = nearest(metric.name, known)
        return f"no trial has {printable(metric.name)}{f'; nearest: {near}' if near else ''}"
    value, folder = (max if metric.goal == "maximize" else min)(found, key=lambda each: each[0])
    among = f"best of {counted(len(found), 'trial')} by {printable(metric.name)} ({metric.goal})"
    return f"{among}: {value:.6g}, {folder.key} {trial_label(folder.spec())}\n  {folder.directory}"
