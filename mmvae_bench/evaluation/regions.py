"""Parts of an image that are hidden from a model: halves, quarters, what a dataset names, any rectangle, or a square at
a place of its own in each image. Free of torch, so that a command can refuse one at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ..base.errors import ConfigError, Problem, unknown
from ..base.seeds import derive_seed
from ..specs.components import DatasetSpec

UNITS = 64
"""Named regions are in 64ths of an image's sides."""
_ALL, _FIRST, _LAST = (0, UNITS), (0, UNITS // 2), (UNITS // 2, UNITS)
HALVES_AND_QUARTERS: Mapping[str, tuple[int, int, int, int]] = {
    "left": (*_ALL, *_FIRST),
    "right": (*_ALL, *_LAST),
    "top": (*_FIRST, *_ALL),
    "bottom": (*_LAST, *_ALL),
    "top-left": (*_FIRST, *_FIRST),
    "top-right": (*_FIRST, *_LAST),
    "bottom-left": (*_LAST, *_FIRST),
    "bottom-right": (*_LAST, *_LAST),
    "quadrant": (*_LAST, *_LAST),
}
"""Rows from, to, columns from, to; ``quadrant`` is another name of the one at the bottom right."""
SCORED = ("right", "bottom-right")
"""What the evaluation hides of every image, besides the parts that its dataset names."""
RANDOM_SQUARES: Mapping[str, int] = {"random-8": 8, "random-16": 16}
"""Sides in 64ths of an image's: what Yan et al. (2016, table 1) hide of birds."""


class Box(NamedTuple):
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right``, the ends not included, in pixels."""

    top: int
    bottom: int
    left: int
    right: int

    def at(self, number: int, *, seed: int) -> Box:
        """Where it is in the image of a number: in all of them at the same place."""
        return self


class RandomSquare(NamedTuple):
    """A square somewhere in each image: where, is a function of the seed and of the image's number alone.

    Attributes:
        name: Such as ``random-8``.
        rows: Its height in pixels.
        columns: Its width.
        height: Of the image.
        width: Of the image.
    """

    name: str
    rows: int
    columns: int
    height: int
    width: int

    def at(self, number: int, *, seed: int) -> Box:
        """Where it is in an image, every place inside being equally likely.

        Args:
            number: The image's, in the dataset.
            seed: The evaluation's.
        """
        chosen = derive_seed("hidden square", region=self.name, seed=seed, image=number)
        left_over, left = divmod(chosen, self.width - self.columns + 1)
        top = left_over % (self.height - self.rows + 1)
        return Box(top, top + self.rows, left, left + self.columns)


Region = Box | RandomSquare


def region_of(text: str, dataset: DatasetSpec) -> Region:
    """The region of a name, or of ``ROWS,COLUMNS`` such as ``8:24,0:16``.

    Raises:
        ConfigError: as :func:`region_box`.
    """
    if text not in RANDOM_SQUARES:
        return region_box(text, dataset)
    _, height, width = dataset.image_shape()
    rows, columns = (max(1, _at(RANDOM_SQUARES[text], side)) for side in (height, width))
    return RandomSquare(text, rows, columns, height, width)


def region_box(text: str, dataset: DatasetSpec) -> Box:
    """The region of a name that is at one place in all images, or of ``ROWS,COLUMNS`` such as ``8:24,0:16``.

    Raises:
        ConfigError: for an unknown name, with the choices; or a rectangle that is empty or not inside the image, or is
            all of it.
    """
    _, height, width = dataset.image_shape()
    named = {**HALVES_AND_QUARTERS, **dataset.parts}
    if text in named:
        top, bottom, left, right = named[text]
        return Box(_at(top, height), _at(bottom, height), _at(left, width), _at(right, width))
    numbers = re.fullmatch(r"\s*(\d{1,6}):(\d{1,6})\s*,\s*(\d{1,6}):(\d{1,6})\s*", text, re.ASCII)
    if numbers is None:
        raise ConfigError(
            [unknown("region", text, (*named, *RANDOM_SQUARES, "ROWS,COLUMNS such as 0:8,4:12"), ("--region",))]
        )
    box = Box(*map(int, numbers.groups()))
    where = f"the image has rows 0:{height} and columns 0:{width}"
    if not (box.top < box.bottom <= height and box.left < box.right <= width):
        raise ConfigError([Problem(f"not a rectangle inside the image: {where}", ("--region",), repr(text))])
    if box == (0, height, 0, width):
        raise ConfigError([Problem(f"hides the whole image: {where}", ("--region",), repr(text))])
    return box


def scored_regions(dataset: DatasetSpec, further: Iterable[str] = ()) -> dict[str, Region]:
    """What the evaluation completes: a half, a quadrant, what the dataset names, and what the evaluation does."""
    names = dict.fromkeys((*SCORED, *dataset.parts, *dataset.hidden_squares, *further))
    return {name: region_of(name, dataset) for name in names}


def _at(place: int, size: int) -> int:
    return round(place * size / UNITS)
