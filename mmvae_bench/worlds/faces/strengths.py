"""How strongly each attribute is drawn: a score from what the picture shows of it, a length or a brightness.

A score is linear in its measure. It is -1 and 1 where all factors are in the middle of their ranges, without the
attribute and with it, so that 1 is a typical yes, and its sign always is that of the attribute. An attribute whose cue
has no continuous factor, such as eyeglasses, scores -1 or 1.

Shapes: n face, A attribute, K factor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .face import mouth_bend, mouth_gap, mustache_width
from .person import Nuisance, Traits, jaw_width, middle, skin_colour

HAIR_SHADE = 4.0
"""What hair of a named colour measures in its middle shade; the shade adds or takes away at most 1."""


def _darkness(named: bool, nuisance: Nuisance) -> float:
    return HAIR_SHADE - nuisance.hair_shade if named else 0.0


def _lightness(named: bool, nuisance: Nuisance) -> float:
    return HAIR_SHADE + nuisance.hair_shade if named else 0.0


def _brightness(pale: bool, nuisance: Nuisance) -> float:
    return sum(skin_colour(pale, nuisance)) / 3


MEASURES: Mapping[str, Callable[[bool, Nuisance], float]] = {
    "black_hair": _darkness,
    "blond_hair": _lightness,
    "gray_hair": _lightness,
    "male": jaw_width,
    "mouth_open": mouth_gap,
    "mustache": mustache_width,
    "pale_skin": _brightness,
    "smiling": mouth_bend,
}
"""By attribute the measure of its cue, for a face with it or without: the functions by which faces are drawn. The hair
of a named colour is the blacker the darker, and the blonder or greyer the lighter."""


def strengths(rows: np.ndarray, factors: Mapping[str, np.ndarray]) -> np.ndarray:
    """Float[n, A], the scores of faces.

    Args:
        rows: Integer[n, A], their attributes, 0 or 1.
        factors: Their nuisance factors by name, Float[n] each.
    """
    columns: list[Any] = [factors[name].astype(np.float64) for name in Nuisance._fields]
    nuisance, usual = Nuisance(*columns), middle()
    scores = np.where(rows, 1.0, -1.0)
    for name, measure in MEASURES.items():
        column = Traits._fields.index(name)
        without, present = measure(False, usual), measure(True, usual)
        found = np.where(rows[:, column], measure(True, nuisance), measure(False, nuisance))
        scores[:, column] = 2 * (found - without) / (present - without) - 1
    return scores.astype(np.float32)
