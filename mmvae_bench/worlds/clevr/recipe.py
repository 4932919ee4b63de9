"""Rendered scenes as a numbered set of images.

Shapes: n image, O object, A attribute.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache
from typing import Any

import numpy as np

from ...base.seeds import derive_seed
from ...specs.built_in.datasets import COLOURS, ClevrSpec, SingleObjectClevrSpec, TwoObjectClevrSpec
from ...specs.built_in.datasets import SINGLE_OBJECT_COLOURS as SINGLE_COLOURS
from ..recipe import ImageRecipe, Images
from .renderer import Renderer
from .scene import Scenes, sample_pairs, sample_singles
from .variant import Variant, mitsuba_version, resolve

GENERATOR_VERSION = 1
"""Increased when scenes or pictures change: it is part of the fingerprint."""


class ClevrRecipe(ImageRecipe):
    """The scenes of a spec, rendered with one of Mitsuba's variants.

    Args:
        spec: What to make.
        variant: The variant to render with; None to find the one that the spec requests.

    Raises:
        BenchmarkError: if Mitsuba is not installed, or the variant that the spec requests does not work.
    """

    num_objects: int

    def __init__(self, spec: ClevrSpec, *, variant: Variant | None = None) -> None:
        self.spec, self.variant, self.mitsuba = spec, variant or resolve(spec.variant), mitsuba_version()
        self.num_images, self.image_shape = spec.num_images, spec.image_shape()
        self.num_attributes, self.num_masks = len(spec.concept_schema()), self.num_objects

    def describe(self) -> dict[str, Any]:
        """See :meth:`ImageRecipe.describe`. The variant is the one found, also for ``auto``."""
        recipe = {**self.spec.recipe(), "variant": self.variant.kind}
        return {"recipe": recipe, "generator": GENERATOR_VERSION, "renderer": f"mitsuba {self.mitsuba}"}

    def make(self, start: int, stop: int) -> Images:
        """See :meth:`ImageRecipe.make`."""
        scenes = self.scenes(np.arange(start, stop))
        renderer = _renderer(self.variant, self.num_objects, self.spec.canvas, self.spec.samples)
        drawn = [renderer.render(scenes, row) for row in range(len(scenes))]
        order = self.order(scenes)
        return Images(
            pixels=np.stack([pixels for pixels, _ in drawn]),
            concepts=self.concepts(scenes),
            masks=np.stack([masks[order[row]] for row, (_, masks) in enumerate(drawn)]),
            columns=_columns(scenes, order),
        )

    @abstractmethod
    def scenes(self, indices: np.ndarray) -> Scenes:
        """The scenes with these numbers, Integer[n]."""

    @abstractmethod
    def concepts(self, scenes: Scenes) -> np.ndarray:
        """Integer[n, A]: the concepts of scenes."""

    @abstractmethod
    def order(self, scenes: Scenes) -> np.ndarray:
        """Integer[n, O]: the scene's objects in the order of the concept, of the masks and of the columns."""


class TwoObjectRecipe(ClevrRecipe):
    """Pairs, named in the order and with the relation that each caption has."""

    num_objects = 2
    spec: TwoObjectClevrSpec

    def scenes(self, indices: np.ndarray) -> Scenes:
        """See :meth:`ClevrRecipe.scenes`."""
        return sample_pairs(derive_seed("two_object_clevr scenes", seed=self.spec.seed), indices)

    def order(self, scenes: Scenes) -> np.ndarray:
        """See :meth:`ClevrRecipe.order`."""
        return scenes.caption_order()

    def concepts(self, scenes: Scenes) -> np.ndarray:
        """See :meth:`ClevrRecipe.concepts`."""
        attributes = np.stack([scenes.size, scenes.colour, scenes.material, scenes.shape], -1)
        first, second = np.moveaxis(np.take_along_axis(attributes, self.order(scenes)[..., None], 1), 1, 0)
        return np.concatenate([first, scenes.relation[:, None], second], 1)


class SingleObjectRecipe(ClevrRecipe):
    """One sphere per scene."""

    num_objects = 1
    spec: SingleObjectClevrSpec

    def scenes(self, indices: np.ndarray) -> Scenes:
        """See :meth:`ClevrRecipe.scenes`."""
        return sample_singles(derive_seed("single_object_clevr scenes", seed=self.spec.seed), indices)

    def order(self, scenes: Scenes) -> np.ndarray:
        """See :meth:`ClevrRecipe.order`."""
        return np.zeros((len(scenes), 1), int)

    def concepts(self, scenes: Scenes) -> np.ndarray:
        """See :meth:`ClevrRecipe.concepts`."""
        second = scenes.colour[:, 0] == COLOURS.index(SINGLE_COLOURS[1])
        return np.stack([second.astype(int), scenes.size[:, 0]], 1)


# One at a time: the variant belongs to the process.
@lru_cache(maxsize=1)
def _renderer(variant: Variant, num_objects: int, canvas: int, samples: int) -> Renderer:
    return Renderer(variant, num_objects=num_objects, canvas=canvas, samples=samples)


def _columns(scenes: Scenes, order: np.ndarray) -> dict[str, np.ndarray]:
    """Positions of the camera and the objects, the objects numbered from 1 in the order of the concept."""
    place = np.take_along_axis(scenes.place, order[..., None], 1)
    turn = np.take_along_axis(scenes.turn, order, 1)
    columns = {f"camera_{axis}": scenes.camera[:, number] for number, axis in enumerate("xyz")}
    for number in range(order.shape[1]):
        columns |= {f"x_{number + 1}": place[:, number, 0], f"y_{number + 1}": place[:, number, 1]}
        columns[f"turn_{number + 1}"] = turn[:, number]
    return columns
