"""Who is drawn: attributes and nuisance factors, and the colours and lengths that follow from them.

Shapes: N face, K factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, NamedTuple, get_args, get_type_hints

import numpy as np
import torch

from ...base import randomness
from ...base.seeds import derive_seed
from .canvas import Colour, darker, lighter, mix, outline

if TYPE_CHECKING:
    import skia


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
    """Everything that no attribute is about, each factor uniform in its range.

    Lengths are in 64ths of the canvas, angles in degrees.

    The order is that of the random stream: add new factors at the end.
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
        seed: Seed of the dataset.
    """
    key = randomness.keys(derive_seed("drawn faces", seed=seed), torch.from_numpy(index.astype(np.int64)))
    low, high = _bounds()
    factors = low + (high - low) * randomness.uniform(key, len(low)).numpy()
    return [Nuisance(*row) for row in factors.tolist()]


def traits(row: Sequence[int]) -> Traits:
    """The attributes of one row, Byte[18], by name."""
    return Traits(*(bool(value) for value in row))


@cache
def middle() -> Nuisance:
    """Every factor in the middle of its range."""
    low, high = _bounds()
    return Nuisance(*((low + high) / 2).tolist())


@cache
def _bounds() -> tuple[np.ndarray, np.ndarray]:
    """Low and high end of each factor: Double[K] each."""
    ranges = [get_args(hint)[1] for hint in get_type_hints(Nuisance, include_extras=True).values()]
    return np.array([between.low for between in ranges]), np.array([between.high for between in ranges])


BLACK_HAIR: Colour = (22, 20, 24)
BLOND_HAIR: Colour = (232, 200, 118)
BROWN_HAIR: Colour = (98, 60, 32)
GRAY_HAIR: Colour = (172, 174, 180)
AUBURN: Colour = (168, 40, 22)
COPPER: Colour = (216, 98, 34)
"""Hair without a named colour is between auburn and copper: far from the four named colours."""

PALEST: Colour = (255, 243, 238)
PALE: Colour = (250, 228, 220)
LIGHT: Colour = (238, 192, 156)
DARK: Colour = (134, 90, 66)
WARM: Colour = (214, 150, 100)


class Palette(NamedTuple):
    """The colours of a person.

    Attributes:
        skin: Lit skin.
        shade: Skin in shadow.
        hair: One or more colours of the hair, from roots to ends; two named colours run into each other.
        brow: Eyebrows, in the colour of the hair's roots.
        lip: Lips; red under make-up.
    """

    skin: Colour
    shade: Colour
    hair: tuple[Colour, ...]
    brow: Colour
    lip: Colour


def palette(traits: Traits, nuisance: Nuisance) -> Palette:
    """The colours that attributes and nuisance factors give."""
    skin = skin_colour(traits.pale_skin, nuisance)
    hair = _hair(traits, nuisance)
    natural = mix(skin, (172, 58, 62), 0.5 + 0.16 * nuisance.lip_tone)
    painted = mix((206, 24, 52), (170, 20, 84), nuisance.makeup_hue)
    return Palette(
        skin=skin,
        shade=mix(skin, (72, 38, 30), 0.34),
        hair=hair,
        brow=mix(hair[0], (24, 14, 10), 0.25),
        lip=painted if traits.heavy_makeup else natural,
    )


def named_colours(traits: Traits) -> list[Colour]:
    """The hair colours that the attributes name; real rows name none, one, rarely two or three."""
    named = {
        BLACK_HAIR: traits.black_hair,
        BLOND_HAIR: traits.blond_hair,
        BROWN_HAIR: traits.brown_hair,
        GRAY_HAIR: traits.gray_hair,
    }
    return [colour for colour, present in named.items() if present]


def skin_colour(pale: bool, nuisance: Nuisance) -> Colour:
    """Lit skin; of factors that are arrays, arrays."""
    if pale:
        return mix(PALEST, PALE, nuisance.skin_tone)
    tone = mix(LIGHT, DARK, nuisance.skin_tone**1.6)
    return mix(tone, WARM, 0.06 * (1 + nuisance.skin_warmth))


def _hair(traits: Traits, nuisance: Nuisance) -> tuple[Colour, ...]:
    colours = named_colours(traits) or [mix(AUBURN, COPPER, (1 + nuisance.hair_tint) / 2)]
    amount = 0.10 * abs(nuisance.hair_shade)
    shaded = lighter if nuisance.hair_shade > 0 else darker
    return tuple(shaded(colour, amount) for colour in colours)


SKULL_TOP = -23.5


class Geometry(NamedTuple):
    """Lengths and places in head coordinates, in 64ths of the canvas.

    Attributes:
        width: Half the width of the face at the eyes.
        jaw: Half the width of the jaw.
        chin: Height of the chin's lower end.
        yaw: How far turning the head moves the features to the side.
        eye_x: Distance of an eye from the middle of the face.
        eye_y: Height of the eyes.
        eye_height: Half the opening of an eye.
        brow_y: Height of the eyebrows.
        nose_y: Height of the nose's tip.
        mouth_y: Height of the mouth.
        mouth_width: Half the width of the mouth.
    """

    width: float
    jaw: float
    chin: float
    yaw: float
    eye_x: float
    eye_y: float
    eye_height: float
    brow_y: float
    nose_y: float
    mouth_y: float
    mouth_width: float

    def face(self) -> skia.Path:
        """The outline of the face, from ear to ear and round the chin."""
        width, jaw, chin = self.width, self.jaw, self.chin
        return outline(
            (-width, -6),
            [
                (-width, SKULL_TOP, 0, SKULL_TOP),
                (width, SKULL_TOP, width, -6),
                (width, 7, jaw, 13),
                (jaw * 0.55, chin, 0, chin),
                (-jaw * 0.55, chin, -jaw, 13),
                (-width, 7, -width, -6),
            ],
        )


def jaw_width(male: bool, nuisance: Nuisance) -> float:
    """Half the width of the jaw."""
    return (11.8 if male else 8.2) + 0.8 * nuisance.jaw_width


def geometry(traits: Traits, nuisance: Nuisance) -> Geometry:
    """A man's face is wider, with a broad jaw and a longer chin."""
    male = traits.male
    eye_y = -2.5
    return Geometry(
        width=(15.3 if male else 14.0) + 0.7 * nuisance.face_width,
        jaw=jaw_width(male, nuisance),
        chin=(20.6 if male else 19.4) + 0.8 * nuisance.chin_length,
        yaw=nuisance.yaw,
        eye_x=6.6 + 0.35 * nuisance.eye_distance,
        eye_y=eye_y,
        eye_height=(1.5 if male else 1.8) + 0.2 * nuisance.eye_size,
        brow_y=eye_y - (4.3 if male else 4.7),
        nose_y=6.2 + 0.6 * nuisance.nose_length,
        mouth_y=11.8 + 0.3 * nuisance.nose_length,
        mouth_width=(6.9 if traits.smiling else 4.5) + 0.4 * nuisance.mouth_width,
    )


class Sitter(NamedTuple):
    """Attributes, nuisance factors, and the colours and lengths that follow from them."""

    traits: Traits
    nuisance: Nuisance
    palette: Palette
    geometry: Geometry

    @classmethod
    def of(cls, traits: Traits, nuisance: Nuisance) -> Sitter:
        """The person that attributes and nuisance factors make."""
        return cls(traits, nuisance, palette(traits, nuisance), geometry(traits, nuisance))
