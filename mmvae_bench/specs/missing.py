"""Which training examples have no image: the settings of training with missing images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from ..base.errors import Problem
from .base import LARGEST, Spec
from .components import DatasetSpec, ObjectiveSpec
from .supervision import num_supervised

WHERE = ("training", "missing_images")


class MissingImagesSpec(Spec):
    """Missing images: of some training examples only y is known.

    A step is wholly on examples with images or wholly on examples without. Validation and evaluation know every image.
    """

    fraction: Annotated[float, Field(gt=0, lt=1)]
    """The share of the training examples whose image is missing, rounded to whole examples, and of the steps that are
    made on them, evenly spaced: step t is one if floor((t + 1) fraction) > floor(t fraction). An objective that cannot
    learn from y alone makes all its steps on the others."""
    seed: Annotated[int, Field(ge=0, le=LARGEST)] = 0
    """Seed of the choice of these examples: the same ones for all objectives and training seeds."""


def imageless_share(missing: MissingImagesSpec, objective: ObjectiveSpec) -> float:
    """The share of an objective's steps that are made on examples without images; 0 if it cannot learn from y alone."""
    return 0.0 if objective.imageless_obstacle is not None else missing.fraction


def missing_problems(
    missing: MissingImagesSpec | None, steps: int, dataset: DatasetSpec, *, supervised: bool
) -> Iterator[Problem]:
    """What is wrong with the settings, as far as it shows without the images."""
    if missing is None:
        return
    if dataset.domain != "images":
        yield Problem(f"it is about images, which {dataset.name} does not have", WHERE, choices=("null",))
    if supervised:
        message = "a step is on examples without labels or without images: choose this or training.supervision"
        yield Problem(message, WHERE)
    if num_supervised(steps, missing.fraction) == 0:
        message = f"none of {steps:,} steps would be made on examples without images"
        yield Problem(message, (*WHERE, "fraction"), str(missing.fraction))
