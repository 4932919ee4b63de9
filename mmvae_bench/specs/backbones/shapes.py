"""Checks that the specs of backbones share: which images their networks take."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ..components import BackboneSpec, DatasetSpec
from ..errors import ConfigError, Problem

Width = Annotated[int, Field(gt=0, le=4096)]


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


def require_shape(backbone: BackboneSpec, dataset: DatasetSpec, shape: tuple[int, int, int]) -> None:
    """Raises ConfigError unless the images have exactly this shape."""
    wanted = f"{'x'.join(map(str, shape))} images"
    instead = "choose a thin backbone or the published canvas"
    require(dataset.image_shape() == shape, backbone, dataset, wanted, instead=instead)
