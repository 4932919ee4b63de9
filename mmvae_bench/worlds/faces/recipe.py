"""The drawn faces as a numbered set of images, with attribute rows drawn from CelebA's joint statistics."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ...base.canonical import content_hash
from ...base.errors import BenchmarkError
from ..attribute_model import celeba_model, stored
from ..recipe import ImageRecipe, Images
from .painter import Painter
from .person import Nuisance, draw_nuisance

GENERATOR_VERSION = 1
"""Increased whenever the same number gives a different picture."""


class DrawnFaces(ImageRecipe):
    """Faces 0 to ``num_images``: attributes from the stored model, nuisance factors uniform, both by (seed, number).

    Args:
        num_images: N.
        size: Height and width in pixels.
        seed: Seed of the attribute rows and of the nuisance factors.
    """

    num_masks = 1

    def __init__(self, *, num_images: int, size: int, seed: int) -> None:
        self.num_images, self.size, self.seed = num_images, size, seed
        self.image_shape = (3, size, size)
        self.num_attributes = len(stored()["attributes"])

    def describe(self) -> dict[str, Any]:
        """See :meth:`ImageRecipe.describe`."""
        model = {key: stored()[key] for key in ("attributes", "biases", "couplings")}
        return {
            "images": "celeba18 drawn",
            "size": self.size,
            "num_images": self.num_images,
            "seed": self.seed,
            "generator": GENERATOR_VERSION,
            "renderer": "skia",
            "attribute_model": content_hash(model),
        }

    def make(self, start: int, stop: int) -> Images:
        """See :meth:`ImageRecipe.make`; raises BenchmarkError if skia is not installed."""
        index = np.arange(start, stop)
        rows = celeba_model().sample(index, seed=self.seed)
        nuisance = draw_nuisance(index, seed=self.seed)
        pixels, masks = _painter(self.size).paint(rows, nuisance)
        factors = np.array(nuisance, np.float32).reshape(len(index), len(Nuisance._fields))
        columns = {name: factors[:, column] for column, name in enumerate(Nuisance._fields)}
        return Images(pixels, rows, masks[:, None], columns)

    def backgrounds(self, index: np.ndarray) -> np.ndarray:
        """What is behind the people of images ``index`` (Integer[n]), drawn without them: Byte[n, S, S, 3]; raises
        BenchmarkError if skia is not installed."""
        return _painter(self.size).backgrounds(draw_nuisance(index, seed=self.seed))


@lru_cache(maxsize=2)
def _painter(size: int) -> Painter:
    """The painter of this process."""
    try:
        return Painter(size)
    except ImportError as error:
        raise BenchmarkError(
            f"drawing faces needs skia, which cannot be imported here ({error})\n"
            "  not installed: pip install 'mmvae-bench[faces]'\n"
            "  libEGL or libGL missing (a slim container): apt-get install libegl1 libgl1"
        ) from error
