"""Several digits on one canvas: how many, which, how large and where, by numbers alone.

Shapes: n image, K the largest number of digits. Lengths are in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..base import randomness
from ..base.seeds import derive_seed

GENERATOR_VERSION = 1
"""Increased when the pictures change: it is part of the fingerprint."""

DIGIT_SIDE, WHOLE_CANVAS = 28, 64
SCALES = (0.6, 0.9)
"""Of a digit's 28 pixels on a canvas of 64, uniformly."""
MOST_SHARED = 0.25
"""Of the smaller of two boxes, how much may also be in the other."""
TRIES = 64
"""Places that are tried for a digit; after the last one it stands where it shares least."""
_EACH = 3


@dataclass(frozen=True)
class Layout:
    """What is on each canvas; of the digits that are not there, -1.

    Attributes:
        digit: Long[n, K], 0 to 9.
        lot: Double[n, K] in (0, 1): which of the source's images of the digit.
        side: Long[n, K], of the square that a digit is scaled to.
        top: Long[n, K].
        left: Long[n, K].
    """

    digit: np.ndarray
    lot: np.ndarray
    side: np.ndarray
    top: np.ndarray
    left: np.ndarray


def counts(number: np.ndarray, *, most: int, one_in: int) -> np.ndarray:
    """How many digits are on each canvas: 0 to ``most`` in turn, among test images and among the others alike.

    >>> counts(np.arange(12), most=1, one_in=3).tolist()
    [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1]
    """
    each: np.ndarray = number // one_in % (most + 1)
    return each


def draw_layout(number: np.ndarray, *, most: int, one_in: int, canvas: int, seed: int) -> Layout:
    """The layouts of some images, each by its number and the seed.

    Args:
        number: Long[n].
        most: K.
        one_in: One image in this many is a test image.
        canvas: Its side.
        seed: Of the dataset.
    """
    key = randomness.keys(derive_seed("multi mnist", seed=seed), torch.from_numpy(number))
    u = randomness.uniform(key, most * (_EACH + 2 * TRIES)).numpy().reshape(len(number), most, -1)
    low, high = (scale * DIGIT_SIDE * canvas / WHOLE_CANVAS for scale in SCALES)
    there = np.arange(most) < counts(number, most=most, one_in=one_in)[:, None]
    side = np.where(there, np.rint(low + (high - low) * u[..., 2]).astype(np.int64), -1)
    top, left = np.full_like(side, -1), np.full_like(side, -1)
    for image, k in np.argwhere(there):
        places = (u[image, k, _EACH:].reshape(TRIES, 2) * (canvas - side[image, k] + 1)).astype(np.int64)
        others = [(top[image, j], left[image, j], side[image, j]) for j in range(k)]
        top[image, k], left[image, k] = _free(places, int(side[image, k]), others)
    digit = np.where(there, (u[..., 0] * 10).astype(np.int64), -1)
    return Layout(digit, np.where(there, u[..., 1], -1.0), side, top, left)


def _free(places: np.ndarray, side: int, others: list[tuple[int, int, int]]) -> np.ndarray:
    """The first place that shares little enough with each of the others, or the one that shares least."""
    worst = np.zeros(len(places))
    for top, left, other in others:
        worst = np.maximum(worst, shared(places[:, 0], places[:, 1], side, (top, left, other)))
    good = worst <= MOST_SHARED
    found: np.ndarray = places[good.argmax() if good.any() else worst.argmin()]
    return found


def shared(top: np.ndarray, left: np.ndarray, side: int, other: tuple[int, int, int]) -> np.ndarray:
    """How much of the smaller of two squares is in the other one: Long[n] both to Double[n].

    Args:
        top: Of the first, at each place.
        left: Likewise.
        side: Of the first.
        other: Top, left and side of the second.
    """
    high = np.minimum(top + side, other[0] + other[2]) - np.maximum(top, other[0])
    wide = np.minimum(left + side, other[1] + other[2]) - np.maximum(left, other[1])
    share: np.ndarray = np.clip(high, 0, None) * np.clip(wide, 0, None) / min(side, other[2]) ** 2
    return share
