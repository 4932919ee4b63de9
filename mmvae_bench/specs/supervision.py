"""Which training images have labels, and which steps see them: the settings of semi-supervised training."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from ..base.errors import ConfigError, Problem, unknown
from .base import LARGEST, Spec
from .components import DatasetSpec, ObjectiveSpec

WHERE = ("training", "supervision")


class SupervisionSpec(Spec):
    """Few labels: some training images are labelled, all of them are images without labels.

    A step is wholly supervised, on labelled images, or wholly unsupervised, on all images with their labels hidden
    (Siddharth et al. 2017, Sec. 3, Supervision rate). Validation and evaluation know every label.
    """

    later_fields: ClassVar[frozenset[str]] = frozenset({"by_seed"})

    labels_per_class: Annotated[int, Field(gt=0, le=LARGEST)] | None = None
    """How many images of each class are labelled. A class is a combination of values of ``attributes`` that occurs in
    training."""
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """The share of the training images that is labelled, whatever their class, rounded to whole images, at least one;
    in place of labels_per_class."""
    attributes: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """The attributes that only labelled images have values of; null: all. The others are known of every image."""
    rate: Annotated[float, Field(ge=0, le=1)] = 0.1
    """The share of supervised steps, evenly spaced: step t is one if floor((t + 1) rate) > floor(t rate). 0: no step
    sees a label; 1: no step sees an image without one. An objective that cannot learn from images without labels makes
    all its steps on labelled ones, whatever the rate."""
    seed: Annotated[int, Field(ge=0, le=LARGEST)] = 0
    """Seed of the choice of labelled images: the same ones for all objectives and, without ``by_seed``, for all
    training seeds."""
    by_seed: bool = False
    """Another choice of labelled images for each training seed, so that an interval over seeds covers the choice too:
    with ten images of a class it matters more than the initial weights."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.labels_per_class is None) == (self.fraction is None):
            given = "neither" if self.fraction is None else "both"
            raise ConfigError([Problem("needs either labels_per_class or fraction", (), given)])
        names = self.attributes or ()
        if len(set(names)) != len(names):
            raise ConfigError([Problem("needs each attribute once", ("attributes",), repr(list(names)))])
        return self


def num_supervised(step: int, rate: float) -> int:
    """How many of the first ``step`` steps are supervised: floor(step rate), exact for the decimal that is written.

    >>> [num_supervised(step, 0.3) for step in range(11)]
    [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
    """
    share = Fraction(str(rate))
    return step * share.numerator // share.denominator


def step_rate(supervision: SupervisionSpec, objective: ObjectiveSpec, stage: str) -> float:
    """The share of supervised steps of an objective's stage.

    1 where it cannot learn from images without labels; 0 where it reads no labels, since all images are alike to it.
    """
    if objective.leaves_out(stage) is not None:
        return 1.0
    return 0.0 if stage in objective.label_free_stages else supervision.rate


def supervision_problems(
    supervision: SupervisionSpec | None, dataset: DatasetSpec, objective: ObjectiveSpec
) -> Iterator[Problem]:
    """What is wrong with the settings for a dataset and an objective, as far as it shows without the images."""
    if supervision is None:
        return
    if dataset.domain != "images":
        yield Problem(f"it is about the labels of images, which {dataset.name} does not have", WHERE, choices=("null",))
        return
    schema = dataset.concept_schema()
    for index, name in enumerate(supervision.attributes or ()):
        if name not in schema.names:
            yield unknown("attribute", name, schema.names, (*WHERE, "attributes", index))
    if dataset.chosen_view == "text":
        message = (
            "labels are values of attributes, and a caption cannot leave them open: choose dataset.view attributes"
        )
        yield Problem(message, WHERE)
    if supervision.rate == 0:
        reasons = {stage: reason for stage in objective.stage_names if (reason := objective.leaves_out(stage))}
        for stage, reason in reasons.items():
            message = f"no step sees a label, and stage {stage} of {objective.name} needs labels: {reason}"
            yield Problem(message, (*WHERE, "rate"), "0")
    wanted, most = supervision.labels_per_class, dataset.most_images()
    if wanted is not None and most is not None and wanted > most:
        message = f"more labels than images: this {dataset.name} has only {most:,} images"
        yield Problem(message, (*WHERE, "labels_per_class"), str(wanted))
