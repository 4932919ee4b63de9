"""What is around the person: the background, and the light that falls on everything."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .canvas import Colour, ellipse, linear, mix, radial
from .person import Nuisance

if TYPE_CHECKING:
    import skia

CENTRE = 32.0


def draw_background(canvas: skia.Canvas, nuisance: Nuisance) -> None:
    """Two colours that run into each other, and a blurred spot."""
    base = _colour(nuisance.background_red, nuisance.background_green, nuisance.background_blue)
    other = mix(
        base,
        (255, 255, 255) if nuisance.background_contrast > 0 else (0, 0, 0),
        abs(nuisance.background_contrast) * 0.6,
    )
    canvas.drawPaint(_across(nuisance.background_angle, (base, other), (1.0, 1.0)))
    spot = mix(other, _colour(nuisance.blur_lightness, nuisance.background_red, nuisance.background_green), 0.6)
    x, y, size = nuisance.blur_x, nuisance.blur_y, nuisance.blur_size
    canvas.drawOval(ellipse(x, y, size, size), radial((x, y), size, spot, spot, opacities=(0.7, 0.0)))


def draw_light(canvas: skia.Canvas, nuisance: Nuisance) -> None:
    """Warm light from one side, shadow on the other, over the whole picture."""
    strength = nuisance.light_strength
    colours = ((255.0, 246.0, 228.0), (0.0, 0.0, 20.0))
    canvas.drawPaint(_across(nuisance.light_angle, colours, (0.16 * strength, 0.26 * strength)))


def _across(degrees: float, colours: tuple[Colour, Colour], opacities: tuple[float, float]) -> skia.Paint:
    """Paint from one edge of the canvas to the other, in a direction."""
    x, y = CENTRE * math.cos(math.radians(degrees)), CENTRE * math.sin(math.radians(degrees))
    return linear((CENTRE + x, CENTRE + y), (CENTRE - x, CENTRE - y), colours, opacities)


def _colour(red: float, green: float, blue: float) -> Colour:
    """A muted colour from three numbers between 0 and 1, neither black nor white."""
    grey = (red + green + blue) / 3
    parts = (0.45 * grey + 0.55 * part for part in (red, green, blue))
    red, green, blue = (25 + 205 * part for part in parts)
    return (red, green, blue)
