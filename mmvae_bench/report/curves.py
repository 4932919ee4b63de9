"""The training curve of a trial, out of ``log.jsonl``."""

from __future__ import annotations

import json
import math
from pathlib import Path


def validation_curve(directory: Path) -> tuple[list[int], list[float]]:
    """Steps and validation ELBOs of a trial's last stage; a stage has a loss of its own, so earlier ones are no part.

    A trial that was resumed may have measured a step twice: the later line counts. A line that a killed process left
    half written is skipped.

    Returns:
        (steps over all stages, nats per image), of equal length; empty where nothing was measured.
    """
    measured: dict[str, dict[int, float]] = {}
    try:
        lines = (directory / "log.jsonl").read_text(errors="replace").splitlines()
    except OSError:
        return [], []
    for line in lines:
        try:
            event = json.loads(line)
            if event["event"] == "validation" and math.isfinite(event["elbo"]):
                measured.setdefault(str(event.get("stage")), {})[int(event["step"])] = float(event["elbo"])
        except (ValueError, KeyError, TypeError):
            continue
    if not measured:
        return [], []
    *earlier, last = measured.values()
    offset = sum(max(curve) for curve in earlier)
    return [offset + step for step in sorted(last)], [last[step] for step in sorted(last)]
