"""Colours of a person: skin, hair, lips."""

from __future__ import annotations

from typing import NamedTuple

from .canvas import Colour, darker, lighter, mix
from .person import Nuisance, Traits

BLACK_HAIR: Colour = (22, 20, 24)
BLOND_HAIR: Colour = (232, 200, 118)
BROWN_HAIR: Colour = (98, 60, 32)
GRAY_HAIR: Colour = (172, 174, 180)
AUBURN: Colour = (168, 40, 22)
COPPER: Colour = (216, 98, 34)
"""Hair for which no colour is named lies between auburn and copper: far from the four that have a name."""

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
    skin = _skin(traits, nuisance)
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
    """The hair colours that the attributes name; real rows name none, one, seldom two or three."""
    named = {
        BLACK_HAIR: traits.black_hair,
        BLOND_HAIR: traits.blond_hair,
        BROWN_HAIR: traits.brown_hair,
        GRAY_HAIR: traits.gray_hair,
    }
    return [colour for colour, present in named.items() if present]


def _skin(traits: Traits, nuisance: Nuisance) -> Colour:
    if traits.pale_skin:
        return mix(PALEST, PALE, nuisance.skin_tone)
    tone = mix(LIGHT, DARK, nuisance.skin_tone**1.6)
    return mix(tone, WARM, 0.06 * (1 + nuisance.skin_warmth))


def _hair(traits: Traits, nuisance: Nuisance) -> tuple[Colour, ...]:
    colours = named_colours(traits) or [mix(AUBURN, COPPER, (1 + nuisance.hair_tint) / 2)]
    amount = 0.10 * abs(nuisance.hair_shade)
    shaded = lighter if nuisance.hair_shade > 0 else darker
    return tuple(shaded(colour, amount) for colour in colours)
