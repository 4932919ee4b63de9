"""The published MNIST-A table, as data, and when it may be compared with our numbers.

Source: Vedantam, Fischer, Huang and Murphy (2018), Generative Models of Visually Grounded Imagination, ICLR, the table
of coverage and correctness on the MNIST-A test set (iid and compositional split). The authors draw 80 % of the queries
with replacement, five times, and print mean and standard deviation of the five, for one training run each; 10 samples
per query, uniform reference, divergence in nats, which is our protocol ``official``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .grouping import Column
from .tables import Row, Table
from .text import level_text, row_label, with_bounds, with_interval

SOURCE = "Vedantam et al. 2018, Generative Models of Visually Grounded Imagination (MNIST-A, test)"
PROTOCOL = "official"

# (split, specified attributes): {objective: ((coverage, its std) or None, (correctness, its std))}, in percent.
_TABLE: dict[tuple[str, int], dict[str, tuple[tuple[float, float] | None, tuple[float, float]]]] = {
    ("iid", 4): {"telbo": (None, (82.08, 0.56)), "jmvae": (None, (85.15, 0.26)), "bivcca": (None, (67.38, 0.69))},
    ("iid", 3): {
        "telbo": ((91.14, 0.53), (81.63, 0.38)),
        "jmvae": ((88.52, 0.37), (82.00, 0.37)),
        "bivcca": ((85.28, 0.68), (70.68, 0.87)),
    },
    ("iid", 2): {
        "telbo": ((90.32, 0.57), (82.03, 1.37)),
        "jmvae": ((87.89, 0.69), (81.02, 1.05)),
        "bivcca": ((85.09, 0.76), (72.33, 2.31)),
    },
    ("iid", 1): {
        "telbo": ((90.94, 0.19), (83.67, 1.70)),
        "jmvae": ((88.70, 0.35), (81.58, 1.78)),
        "bivcca": ((85.53, 0.27), (68.36, 2.21)),
    },
    ("comp", 4): {"telbo": (None, (75.61, 1.43)), "jmvae": (None, (76.86, 1.30)), "bivcca": (None, (68.58, 1.02))},
}

_STEPS = {
    ("iid", "telbo"): 250_000,
    ("iid", "jmvae"): 266_000,
    ("iid", "bivcca"): 214_000,
    ("comp", "telbo"): 120_000,
    ("comp", "jmvae"): 184_000,
    ("comp", "bivcca"): 137_000,
}
# Steps of the models behind the printed table.

SPRITES_SOURCE = "Sejnova et al. 2022, README of their toolkit at 5cfef9a"
# Level: {objective: (strict text to image in percent, features right or None, strict image to text or None)}.
_SPRITES: dict[int, dict[str, tuple[float, float | None, float | None]]] = {
    1: {"MVAE": (52, None, 63), "MMVAE": (47, None, 64), "MoPoE": (33, None, 10), "DMVAE": (33, None, 4)},
    2: {"MVAE": (16, 0.8, 55), "MMVAE": (18, 0.8, 41), "MoPoE": (10, 0.8, 8), "DMVAE": (15, 0.8, 4)},
    3: {"MVAE": (8, 1.3, 59), "MMVAE": (6, 1.2, 2), "MoPoE": (7, 1.3, 0), "DMVAE": (4, 1.4, 0)},
    4: {"MVAE": (0, 1.8, 0), "MMVAE": (3, 1.7, 1), "MoPoE": (2, 1.4, 0), "DMVAE": (1, 1.4, 0)},
    5: {
        "MVAE": (0, 1.8, 0),
        "MMVAE": (0, 1.8, None),
        "MoPoE": (0, 1.8, None),
        "DMVAE (trained on level 4 by its settings)": (0, 1.8, None),
    },
}
_SPRITES_VALUES = (3, 2, 5, 4, 2)
"""Values of each attribute of CdSprites+, of which level L has the first L."""


_BACKBONES = ("mnist_a_paper", "mnist_a_released")
_PARAMETERS: dict[str, dict[str, tuple[str, ...]]] = {
    "telbo": {"lambda": ("50",), "gamma": ("1", "50"), "schedule": ("joint",)},
    "jmvae": {"lambda": ("50",), "alpha": ("1",)},
    "bivcca": {"lambda": ("50",), "mu": ("0.7",)},
}
"""The settings behind the table; TELBO's gamma was 50 by its label and probably 1 in effect."""


@dataclass(frozen=True)
class PublishedValue:
    """A printed number, as fractions."""

    mean: float
    std: float


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """A printed number next to ours.

    Attributes:
        row: The row of our table, of protocol ``official``.
        column: The objective's position in it.
        mean: Printed mean.
        std: Printed standard deviation.
        difference: Ours minus theirs.
        low: Lower end of its 95 % interval.
        high: Upper end: our interval and 1.96 printed standard deviations, in quadrature.
    """

    row: Row
    column: int
    mean: float
    std: float
    difference: float
    low: float
    high: float


def published_value(*, split: str, objective: str, metric: str, level: int | None) -> PublishedValue | None:
    """The printed coverage or correctness; None if none was printed.

    >>> published_value(split="iid", objective="telbo", metric="correctness", level=4)
    PublishedValue(mean=0.8208, std=0.0056)
    """
    if level is None or metric not in ("coverage", "correctness"):
        return None
    printed = _TABLE.get((split, level), {}).get(objective)
    pair = printed and printed[0 if metric == "coverage" else 1]
    return PublishedValue(round(pair[0] / 100, 6), round(pair[1] / 100, 6)) if pair else None


def published_note(table: Table) -> str | None:
    """Why printed values are not compared with ours; None if the setting is the paper's.

    For sprites with scores of that kind it holds the published leaderboard itself: its images are others, so nothing
    can be subtracted from it. Empty for further datasets, for which no published numbers are expected.
    """
    setting = table.setting
    if setting.dataset == "sprites":
        if not any(row.metric in published_metrics(setting.dataset) for row in table.rows):
            return ""
        level = dict(setting.dataset_params).get("level", "")
        return sprites_note(int(level)) if level in map(str, _SPRITES) else ""
    if setting.dataset != "mnist_a":
        return ""
    params, training = dict(setting.dataset_params), dict(setting.training_params)
    found = [
        ("source", setting.source, ("mnist",)),
        ("canvas", params.get("canvas"), ("64",)),
        ("replicas", params.get("replicas"), ("10",)),
        ("num_sources", params.get("num_sources"), ("none",)),
        ("backbone", setting.backbone, _BACKBONES),
        ("split", setting.split, ("iid", "comp")),
        ("partition", setting.partition, ("test",)),
        ("learning_rate", training.get("learning_rate"), ("0.0001",)),
        ("batch_size", training.get("batch_size"), ("64",)),
    ]
    if setting.split == "comp":
        found.append(("split_seed", str(setting.split_seed), ("42",)))
    other = [f"{name} {value} (theirs: {' or '.join(theirs)})" for name, value, theirs in found if value not in theirs]
    if not other:
        return None
    return f"The published numbers are not shown, because the setting differs: {', '.join(other)}."


def published_metrics(dataset: str) -> tuple[str, ...]:
    """The metrics that the published numbers of a dataset are beside."""
    return ("strict", "features", "strict_text") if dataset == "sprites" else ("correctness", "coverage")


def sprites_note(level: int) -> str:
    """The leaderboard of CdSprites+ at a level, beside what a guess scores there.

    >>> sprites_note(2)[-65:]
    'A guess: strict 16.7 %, features 0.83 of 2, image to text 16.7 %.'
    """
    values = _SPRITES_VALUES[:level]
    guess, features = 100 / math.prod(values), sum(1 / each for each in values)
    lines = []
    for name, (strict, right, text) in _SPRITES[level].items():
        parts = [f"strict {strict:g} %"]
        parts += [] if right is None else [f"features {right:g} of {level}"]
        parts += [] if text is None else [f"image to text {text:g} %"]
        lines.append(f"{name} {', '.join(parts)}")
    return (
        f"Published for level {level} of CdSprites+ ({SPRITES_SOURCE}), with other images and networks, so not "
        f"compared with the numbers above: {'; '.join(lines)}. A guess: strict {guess:.1f} %, features "
        f"{features:.2f} of {level}, image to text {guess:.1f} %."
    )


def published_rows(table: Table) -> tuple[PublishedRow, ...]:
    """The printed numbers next to ours, for the objectives whose parameters are those of the printed table."""
    found = []
    for row in table.rows:
        for index, (column, cell) in enumerate(zip(table.columns, row.cells, strict=True)):
            asked_alike = row.protocol == PROTOCOL and row.attribute is None
            if cell is None or not asked_alike or not _as_published(column, table.setting.split):
                continue
            printed = published_value(
                split=table.setting.split, objective=column.objective, metric=row.metric, level=row.level
            )
            if printed is not None:
                difference, spread = cell.value - printed.mean, 1.96 * printed.std
                found.append(
                    PublishedRow(
                        row=row,
                        column=index,
                        mean=printed.mean,
                        std=printed.std,
                        difference=difference,
                        low=difference - math.hypot(cell.value - cell.low, spread),
                        high=difference + math.hypot(cell.high - cell.value, spread),
                    )
                )
    return tuple(found)


def _as_published(column: Column, split: str) -> bool:
    """Whether the objective's parameters and steps are those behind the printed numbers."""
    given, printed = dict(column.params), _PARAMETERS.get(column.objective)
    if {int(trial.component("training").get("steps", 0)) for trial in column.trials} != {
        _STEPS.get((split, column.objective))
    }:
        return False
    return printed is not None and all(given.get(name) in choices for name, choices in printed.items())


@dataclass(frozen=True)
class PublishedText:
    """A printed number next to ours, as text."""

    label: str
    level: str
    objective: str
    ours: str
    published: str
    difference: str


def published_texts(table: Table, published: Sequence[PublishedRow]) -> list[PublishedText]:
    """Ours, theirs and the difference, as text."""
    found = []
    for item in published:
        cell = item.row.cells[item.column]
        assert cell is not None
        found.append(
            PublishedText(
                label=row_label(item.row),
                level=level_text(item.row.level),
                objective=table.columns[item.column].label,
                ours=with_interval(cell.value, cell.low, cell.high),
                published=with_interval(item.mean, item.mean - item.std, item.mean + item.std),
                difference=with_bounds(item.difference, item.low, item.high),
            )
        )
    return found
