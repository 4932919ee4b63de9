"""Who is drawn: the attributes of a concept by name, and the nuisance factors of a face.

Shapes: N face, K factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, NamedTuple, get_args, get_type_hints

import numpy as np
import torch

from ...base import randomness
from ...base.hashing import derive_seed


class Traits(NamedTuple):
    """The attributes of CelebA-18, in the order of its schema."""

    bald: bool
    bangs: bool
    black_hair: bool
    blond_hair: bool
    brown_hair: bool
    bushy_eyebrows: bool
    eyeglasses: bool
    gray_hair: bool
    heavy_makeup: bool
    male: bool
    mouth_open: bool
    mustache: bool
    pale_skin: bool
    receding_hairline: bool
    smiling: bool
    straight_hair: bool
    wavy_hair: bool
    wearing_hat: bool


@dataclass(frozen=True)
class Range:
    """Uniform between two numbers."""

    low: float
    high: float


Unit = Annotated[float, Range(0, 1)]
Sign = Annotated[float, Range(-1, 1)]


class Nuisance(NamedTuple):
    """What no attribute speaks of, each uniform in its range; lengths in 64ths of the canvas, angles in degrees.

    The order is that of the random stream: new factors go to the end.
    """

    background_red: Unit
    background_green: Unit
    background_blue: Unit
    background_contrast: Sign
    background_angle: Annotated[float, Range(0, 360)]
    blur_x: Annotated[float, Range(0, 64)]
    blur_y: Annotated[float, Range(0, 64)]
    blur_size: Annotated[float, Range(6, 22)]
    blur_lightness: Unit
    clothes_red: Unit
    clothes_green: Unit
    clothes_blue: Unit
    collar: Unit
    skin_tone: Unit
    skin_warmth: Sign
    hair_shade: Sign
    hair_tint: Sign
    hair_length: Unit
    hair_side: Sign
    hair_phase: Unit
    brow_shape: Unit
    iris: Unit
    lip_tone: Unit
    makeup_hue: Unit
    roll: Annotated[float, Range(-8, 8)]
    yaw: Annotated[float, Range(-2, 2)]
    place_x: Annotated[float, Range(-1.5, 1.5)]
    place_y: Annotated[float, Range(-1.2, 1.2)]
    scale: Annotated[float, Range(0.95, 1.05)]
    face_width: Sign
    jaw_width: Sign
    chin_length: Sign
    eye_size: Sign
    eye_distance: Sign
    gaze: Sign
    nose_length: Sign
    mouth_width: Sign
    mouth_curve: Unit
    mouth_gap: Unit
    mustache_width: Unit
    hat_kind: Unit
    hat_red: Unit
    hat_green: Unit
    hat_blue: Unit
    glasses_roundness: Unit
    glasses_colour: Unit
    glasses_tint: Unit
    light_angle: Annotated[float, Range(0, 360)]
    light_strength: Unit
    stubble: Unit


def draw_nuisance(index: np.ndarray, *, seed: int) -> list[Nuisance]:
    """The factors of each face: a function of (seed, index) alone.

    Args:
        index: Integer[N].
        seed: Of the dataset.
    """
    key = randomness.keys(derive_seed("drawn faces", seed=seed), torch.from_numpy(index.astype(np.int64)))
    low, high = _bounds()
    factors = low + (high - low) * randomness.uniform(key, len(low)).numpy()
    return [Nuisance(*row) for row in factors.tolist()]


def traits(row: Sequence[int]) -> Traits:
    """The attributes of one row, Byte[18], by name."""
    return Traits(*(bool(value) for value in row))


@cache
def _bounds() -> tuple[np.ndarray, np.ndarray]:
    """Low and high end of each factor: Double[K] each."""
    ranges = [get_args(hint)[1] for hint in get_type_hints(Nuisance, include_extras=True).values()]
    return np.array([between.low for between in ranges]), np.array([between.high for between in ranges])
