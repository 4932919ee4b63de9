"""Checks that the specs of backbones share: which images their networks take."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ...base.errors import ConfigError, Problem
from ..components import BackboneSpec, DatasetSpec

Width = Annotated[int, Field(gt=0, le=4096)]
Share = Annotated[float, Field(ge=0, lt=1)]


def require(met: bool, backbone: BackboneSpec, dataset: DatasetSpec, wanted: str, *, instead: str = "") -> None:
    """Raises ConfigError, with the shape of the dataset's images, unless a condition is met.

    Args:
        met: The condition.
        backbone: Whose networks set it.
        dataset: Whose images they would take.
        wanted: The images that the networks take, as in "64x64 images".
        instead: What to do about it.
    """
    if met:
        return
    given = "x".join(map(str, dataset.image_shape()))
    message = f"backbone {backbone.name} takes {wanted}, not the {given} ones of this {dataset.name}"
    raise ConfigError([Problem(message + (f": {instead}" if instead else ""), ("backbone", "name"), backbone.name)])


def require_texts(backbone: BackboneSpec, dataset: DatasetSpec, *settings: str) -> None:
    """Raises ConfigError where settings of the networks of texts are given and y is no text.

    Args:
        backbone: With the settings.
        dataset: In one of its views.
        settings: Fields that mean nothing in the attribute view, where they must be at their defaults.
    """
    given = [name for name in settings if getattr(backbone, name) != type(backbone).model_fields[name].default]
    if given and dataset.chosen_view != "text":
        message = "has no meaning where y is a concept: leave it out, or set dataset.view to text"
        raise ConfigError([Problem(message, ("backbone", name), str(getattr(backbone, name))) for name in given])


def require_shape(backbone: BackboneSpec, dataset: DatasetSpec, shape: tuple[int, int, int]) -> None:
    """Raises ConfigError unless the images have exactly this shape."""
    wanted = f"{'x'.join(map(str, shape))} images"
    instead = "choose a thin backbone or the published canvas"
    require(dataset.image_shape() == shape, backbone, dataset, wanted, instead=instead)
