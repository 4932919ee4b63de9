"""Parts of an image that are hidden from a model: halves, quarters, what a dataset names, or any rectangle. Free of
torch, so that a command can refuse one at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from ..base.errors import ConfigError, Problem, unknown
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


class Box(NamedTuple):
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right``, the ends not included, in pixels."""

    top: int
    bottom: int
    left: int
    right: int


def region_box(text: str, dataset: DatasetSpec) -> Box:
    """The region of a name, or of ``ROWS,COLUMNS`` such as ``8:24,0:16``.

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
        raise ConfigError([unknown("region", text, (*named, "ROWS,COLUMNS such as 0:8,4:12"), ("--region",))])
    box = Box(*map(int, numbers.groups()))
    where = f"the image has rows 0:{height} and columns 0:{width}"
    if not (box.top < box.bottom <= height and box.left < box.right <= width):
        raise ConfigError([Problem(f"not a rectangle inside the image: {where}", ("--region",), repr(text))])
    if box == (0, height, 0, width):
        raise ConfigError([Problem(f"hides the whole image: {where}", ("--region",), repr(text))])
    return box


def scored_regions(dataset: DatasetSpec) -> dict[str, Box]:
    """What the evaluation completes: a half, a quadrant, and the parts that the dataset names."""
    return {name: region_box(name, dataset) for name in (*SCORED, *dataset.parts)}


def _at(place: int, size: int) -> int:
    return round(place * size / UNITS)
