"""The curves of a trial over its training, out of ``log.jsonl``.

A trial that was resumed may have measured a step twice: the later line counts. A line that a killed process left half
written is skipped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ScoreName = tuple[str, str | None, int]
"""Metric, attribute (None: all), level."""


def validation_curve(directory: Path) -> tuple[list[int], list[float]]:
    """Steps and validation ELBOs of a trial's last stage; a stage has a loss of its own, so earlier ones are no part.

    Returns:
        (steps over all stages, nats per image), of equal length; empty where nothing was measured.
    """
    measured: dict[str, dict[int, float]] = {}
    for event in _events(directory, "validation"):
        if math.isfinite(event["elbo"]):
            measured.setdefault(str(event.get("stage")), {})[int(event["step"])] = float(event["elbo"])
    if not measured:
        return [], []
    *earlier, last = measured.values()
    offset = sum(max(curve) for curve in earlier)
    return [offset + step for step in sorted(last)], [last[step] for step in sorted(last)]


def score_curves(directory: Path) -> dict[ScoreName, tuple[list[int], list[float]]]:
    """Steps (over all stages) and values of each score that was asked while training; empty where none was."""
    measured: dict[ScoreName, dict[int, float]] = {}
    for event in _events(directory, "scores"):
        step = int(event.get("overall", event["step"]))
        for score in event["scores"]:
            name = (score["metric"], score["attribute"], score["level"])
            measured.setdefault(name, {})[step] = float(score["value"])
    return {name: (sorted(curve), [curve[step] for step in sorted(curve)]) for name, curve in measured.items()}


def _events(directory: Path, kind: str) -> Iterator[dict[str, Any]]:
    """The whole records of a kind, as they were written."""
    needed = {"validation": {"step", "elbo"}, "scores": {"step", "scores"}}[kind]
    try:
        lines = (directory / "log.jsonl").read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("event") == kind and needed <= event.keys():
            yield event
