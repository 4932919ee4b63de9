"""The person in front of the easel: everything that the drawing functions need to know."""

from __future__ import annotations

from typing import NamedTuple

from .geometry import Geometry, geometry
from .palette import Palette, palette
from .person import Nuisance, Traits


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
