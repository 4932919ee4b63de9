"""Random changes of training images: the settings of augmentation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import Field

from ..base.errors import Problem
from .base import Spec
from .components import BackboneSpec, DatasetSpec, datasets, of_domain

WHERE = ("training", "augmentation")


class AugmentationSpec(Spec):
    """Augmentation: each training image is changed again at every step, and its masks with it; validation and
    evaluation see images as they are. The defaults are those of Attribute2Image for faces (Yan et al. 2016, released
    code); for birds it has ``rotation: 0.08`` and ``window: true`` too.

    A pixel is not clamped, as in that code, so it may lie a little outside [0, 1].
    """

    later_fields: ClassVar[frozenset[str]] = frozenset({"binarise"})

    flip: Annotated[float, Field(ge=0, le=1)] = 0.5
    """The probability that an image is mirrored, left to right."""
    gain: Annotated[float, Field(ge=0, lt=1)] = 0.03
    """Each channel is multiplied by a number from U[1 - gain, 1 + gain]; 0: it is left as it is."""
    sharpening: Annotated[float, Field(ge=0, le=100)] = 1.5
    """x becomes x + s (x - its mean over 5x5 pixels), with s from U[0, sharpening]; 0: x is left as it is."""
    rotation: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Each image is turned about its centre by an angle from U[-rotation, rotation], in radians."""
    window: bool = False
    """What is shown is cut at a random place from an image that is stored with a margin, not in its middle."""
    binarise: bool = False
    """Each pixel is drawn anew as 0 or 1, Bernoulli of its grey, where the dataset is one that was binarised once: the
    usual training on MNIST (Salakhutdinov and Murray 2008). Set ``flip``, ``gain`` and ``sharpening`` to 0 with it."""


def augmentation_problems(
    augmentation: AugmentationSpec | None, dataset: DatasetSpec, backbone: BackboneSpec
) -> Iterator[Problem]:
    """What cannot be done to these images, because of what they show or of how their pixels are scored."""
    if augmentation is None:
        return
    if dataset.domain != "images":
        yield Problem(f"it applies to images, and {dataset.name} has none", WHERE, choices=("null",))
        return
    for key, does in (("flip", "mirrored"), ("rotation", "turned")):
        if getattr(augmentation, key) and not dataset.mirrors:
            able = tuple(name for name in of_domain(datasets, "images") if datasets.get(name).mirrors)
            message = f"an image of {dataset.name} that is {does} may show another concept: set it to 0 (datasets "
            message += f"whose attributes do not depend on left and right: {', '.join(able)})"
            yield Problem(message, (*WHERE, key), f"{getattr(augmentation, key):g}", near="0")
    for key in ("gain", "sharpening"):
        if getattr(augmentation, key) and backbone.bounded_pixels:
            message = f"it moves pixels out of [0, 1], outside of which p(x|z) of backbone {backbone.name} is not "
            message += "defined: set it to 0, or choose another likelihood"
            yield Problem(message, (*WHERE, key), f"{getattr(augmentation, key):g}", near="0")
    if augmentation.window and not dataset.margin:
        message = f"images of {dataset.name} are stored without a margin, so there is no other place to cut them from"
        yield Problem(message, (*WHERE, "window"), "true", near="false")
    if augmentation.binarise and not dataset.greys:
        able = tuple(name for name in of_domain(datasets, "images") if datasets.get(name).greys)
        message = f"pixels of {dataset.name} were not drawn from greys (those of {', '.join(able)} were)"
        yield Problem(message, (*WHERE, "binarise"), "true", near="false")
