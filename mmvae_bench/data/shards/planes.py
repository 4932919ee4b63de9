"""Images as the store keeps them: colour planes one after the other, masks as bits.

Planes, not interleaved colours, because a training step wants planes: converting 64 images of 64x64 takes a third of
the time.

Shapes: n image, C channel, H height, W width, K byte (C x H x W), A attribute, M mask, L mask byte (M x H x W / 8,
rounded up).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...base.errors import BenchmarkError
from ...worlds.recipe import ImageRecipe, Images

RESERVED = ("index", "image", "mask", "concept")
"""Column names of a shard that no scalar may have."""


@dataclass(frozen=True)
class Planes:
    """Consecutive images of a set in the form of the store.

    Attributes:
        pixels: Byte[n, K], flattened in the order channel, row, column.
        concepts: Short[n, A].
        masks: Byte[n, L], as numpy.packbits; None where the set has none.
        columns: Scalars of each image by name, [n] each.
    """

    pixels: np.ndarray
    concepts: np.ndarray
    masks: np.ndarray | None
    columns: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.pixels)


def make_planes(recipe: ImageRecipe, start: int, stop: int) -> Planes:
    """Makes images ``start`` to ``stop``, and checks that they are what the recipe says.

    Raises:
        BenchmarkError: where the recipe gives something else: its author's mistake.
    """
    images = recipe.make(start, stop)
    num, (channels, height, width) = stop - start, recipe.image_shape
    wrong = _wrong(images, recipe, num)
    if wrong:
        call = f"{type(recipe).__name__}.make({start}, {stop})"
        raise BenchmarkError(f"{call} does not keep its word: {'; '.join(wrong)}")
    masks = None
    if images.masks is not None:
        masks = np.packbits(images.masks.reshape(num, recipe.num_masks * height * width), axis=1)
    return Planes(
        np.ascontiguousarray(images.pixels.transpose(0, 3, 1, 2)).reshape(num, channels * height * width),
        images.concepts.astype(np.int16),
        masks,
        {name: np.asarray(values) for name, values in images.columns.items()},
    )


def join_planes(parts: list[Planes]) -> Planes:
    """The images of consecutive parts in one."""
    return Planes(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.concepts for part in parts]),
        None if parts[0].masks is None else np.concatenate([part.masks for part in parts if part.masks is not None]),
        {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns},
    )


def _wrong(images: Images, recipe: ImageRecipe, num: int) -> list[str]:
    channels, height, width = recipe.image_shape
    wanted: list[tuple[str, np.ndarray | None, tuple[int, ...], str]] = [
        ("pixels", images.pixels, (num, height, width, channels), "u"),
        ("concepts", images.concepts, (num, recipe.num_attributes), "iu"),
    ]
    if recipe.num_masks or images.masks is not None:
        wanted.append(("masks", images.masks, (num, recipe.num_masks, height, width), "b"))
    wanted += [(f"column {name}", np.asarray(values), (num,), "biufU") for name, values in images.columns.items()]
    problems = [f"column {name} is a reserved name" for name in images.columns if name in RESERVED]
    for name, array, shape, kinds in wanted:
        if array is None or array.shape != shape or array.dtype.kind not in kinds:
            found = "nothing" if array is None else f"{array.dtype}{list(array.shape)}"
            problems.append(f"{name} must have the shape {list(shape)} and a type among {kinds!r}, got {found}")
    if not problems and images.pixels.dtype != np.uint8:
        problems.append(f"pixels must be uint8, got {images.pixels.dtype}")
    if not problems and num and (images.concepts.min() < 0 or images.concepts.max() > np.iinfo(np.int16).max):
        problems.append("concepts must be fully specified value indices")
    return problems
