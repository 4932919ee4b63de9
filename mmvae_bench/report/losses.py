"""The parts of the losses over training, those of all objectives in one panel for each part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from ..runs.names import TRAINING_LOG
from .curves import loss_parts
from .drawing import Drawn, legend, looks, panels, steps_below, titled
from .tables import Table

MOST_PARTS = 12
NUM_POINTS = 40
"""Of a curve: each is the mean of as many logged steps as that takes."""


def losses_figure(table: Table, colors: Mapping[str, int]) -> Drawn | None:
    """Each part of a loss over steps, a line for the first trial of each objective that has it; None if none has.

    At most MOST_PARTS of them: those that most objectives have.

    Args:
        table: Whose trials.
        colors: Column label to colour number.
    """
    logged = [
        (column.label, parts)
        for column in table.columns
        for trial in column.done[:1]
        if trial.file(TRAINING_LOG) and (parts := loss_parts(trial.directory))
    ]
    count = Counter(name for _, parts in logged for name in parts)
    names = [name for name, _ in sorted(count.items(), key=lambda item: (-item[1], item[0]))][:MOST_PARTS]
    if not names:
        return None
    figure, all_axes = panels(len(names), 2.1)
    look_of = looks(table, colors)
    for axes, name in zip(all_axes, names, strict=True):
        late: list[float] = []
        for label, parts in logged:
            if name in parts:
                steps, values = smoothed(*parts[name])
                axes.plot(steps, values, linewidth=1.4, **look_of[label] | {"marker": "none"})
                late += values[len(values) // 5 :]
        # As for the ELBO: the first steps would hide all others.
        margin = 0.06 * (max(late) - min(late)) or 1.0
        axes.set_ylim(min(late) - margin, max(late) + margin)
        steps_below(axes)
        titled(axes, name)
    legend(figure, look_of, (label for label, parts in logged if parts.keys() & set(names)))
    return figure, f"Parts of the losses over training steps, {table.title}"


def smoothed(steps: Sequence[int], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """At most NUM_POINTS means of values in a row, and of their steps."""
    number = min(NUM_POINTS, len(steps))
    parts = zip(np.array_split(np.asarray(steps), number), np.array_split(np.asarray(values), number), strict=True)
    means = [(float(place.mean()), float(each.mean())) for place, each in parts]
    return [place for place, _ in means], [value for _, value in means]
