"""What a trial's log says of its training: curves of the validation ELBO and of scores, and which scores still rise."""

from __future__ import annotations

from pathlib import Path

from ..base.statistics import trend_at_end
from ..metrics.catalogue import metric_info
from ..runs.documents import read_events
from ..runs.names import TRAINING_LOG

ScoreName = tuple[str, str | None, int]
"""Metric, attribute (None: all), level."""

RISING = 0.01
"""A score that gains less than this over as many more steps as its trend was measured over is not said to rise."""


def validation_curve(directory: Path) -> tuple[list[int], list[float]]:
    """Steps and validation ELBOs of a trial's last stage; each stage has its own loss, so earlier stages are left out.

    Returns:
        (steps over all stages, nats per image), of equal length; empty where nothing was measured.
    """
    measured: dict[str, dict[int, float]] = {}
    for event in read_events(directory / TRAINING_LOG, "validation"):
        measured.setdefault(str(event.get("stage")), {})[event["step"]] = event["elbo"]
    if not measured:
        return [], []
    *earlier, last = measured.values()
    offset = sum(max(curve) for curve in earlier)
    return [offset + step for step in sorted(last)], [last[step] for step in sorted(last)]


def score_curves(directory: Path) -> dict[ScoreName, tuple[list[int], list[float]]]:
    """Steps (over all stages) and values of each score that was measured while training; empty if none was."""
    measured: dict[ScoreName, dict[int, float]] = {}
    for event in read_events(directory / TRAINING_LOG, "scores"):
        for score in event["scores"]:
            name = (score["metric"], score["attribute"], score["level"])
            measured.setdefault(name, {})[event.get("overall", event["step"])] = score["value"]
    return {name: (sorted(curve), [curve[step] for step in sorted(curve)]) for name, curve in measured.items()}


def loss_parts(directory: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Steps (over all stages) and values of each part of a trial's loss, as it was logged; empty if none was.

    Where training has two kinds of steps, such as with and without labels, a part has a curve for each.
    """
    found: dict[str, tuple[list[int], list[float]]] = {}
    stage, offset, last = None, 0, 0
    for event in read_events(directory / TRAINING_LOG, "train"):
        if event.get("stage") != stage:
            stage, offset = event.get("stage"), last
        last = offset + event["step"]
        kind = f", {event['kind']}" if "kind" in event else ""
        for name, value in event["parts"].items():
            steps, values = found.setdefault(f"{name}{kind}", ([], []))
            steps.append(last)
            values.append(value)
    return found


def still_rising(directory: Path) -> tuple[str, ...]:
    """The scores that were still rising at the end of training, such as ``correctness of digit +3.1``.

    By the last third of the curve of each score at its highest level, as the ELBO's; in points that as many more steps
    would bring. A flat ELBO does not mean that every attribute is learnt.
    """
    curves = score_curves(directory)
    highest: dict[tuple[str, str | None], int] = {}
    for metric, attribute, level in curves:
        highest[metric, attribute] = max(level, highest.get((metric, attribute), 0))
    found = []
    for (metric, attribute, level), (steps, values) in curves.items():
        if level != highest[metric, attribute] or len(steps) < 3:
            continue
        line, span = trend_at_end(steps, values)
        info, gain = metric_info(metric), line.slope * span
        if line.low * line.high > 0 and info.direction * gain >= RISING:
            found.append(f"{info.label}{f' of {attribute}' if attribute else ''} {100 * gain:+.1f}")
    return tuple(found)
