"""The crops of CelebA's aligned photographs, 178x218, bicubic to the canvas.

148x148 at (top 40, left 15): the released code of Vedantam et al. (2018). 128x128 at (top 48, left 25): that of Cremer
and Kushman (2018). A scaled copy is cropped at the same places, so an 89x109 one at (7.5, 20, 81.5, 94). The bicubic
filter is antialiased.
"""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image, UnidentifiedImageError

WIDTH, HEIGHT = 178, 218
DEFAULT_SIDE = 148
PLACES = {148: (15, 40), 128: (25, 48)}
"""Left and top of a crop in a whole photograph, by its side."""


def crop_box(width: int, height: int, *, side: int = DEFAULT_SIDE) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a crop in an image of that size.

    >>> crop_box(178, 218), crop_box(89, 109), crop_box(178, 218, side=128)
    ((15.0, 40.0, 163.0, 188.0), (7.5, 20.0, 81.5, 94.0), (25.0, 48.0, 153.0, 176.0))
    """
    across, down = width / WIDTH, height / HEIGHT
    left, top = PLACES[side]
    return (left * across, top * down, (left + side) * across, (top + side) * down)


def has_aspect(width: int, height: int) -> bool:
    """Whether an image can be a scaled copy of a 178x218 one, to a pixel.

    >>> has_aspect(89, 109), has_aspect(178, 178)
    (True, False)
    """
    return abs(height - width * HEIGHT / WIDTH) < 1


def image_size(content: bytes) -> tuple[int, int]:
    """Width and height of an image file; raises OSError where it is none."""
    with _opened(content) as image:
        return image.size


def decode_and_crop(content: bytes, *, photo_size: tuple[int, int], size: int, side: int = DEFAULT_SIDE) -> np.ndarray:
    """One image file, decoded, cropped and resized: Byte[size, size, 3].

    Args:
        content: Of the file.
        photo_size: The width and height it must have.
        size: Side of the result in pixels.
        side: Of the crop, in pixels of a whole photograph.

    Raises:
        OSError: where the file is no image, truncated, or of another size.
    """
    with _opened(content) as image:
        if image.size != photo_size:
            raise OSError(f"{image.width}x{image.height}, the first image is {photo_size[0]}x{photo_size[1]}")
        colour = image if image.mode == "RGB" else image.convert("RGB")
        left, top, right, bottom = crop_box(*photo_size, side=side)
        # Cut out first: the filter of resize() would reach beyond its box.
        x, y = math.floor(left), math.floor(top)
        part = colour.crop((x, y, math.ceil(right), math.ceil(bottom)))
        box = (left - x, top - y, right - x, bottom - y)
        return np.asarray(part.resize((size, size), Image.Resampling.BICUBIC, box=box))


def _opened(content: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content))
    except UnidentifiedImageError:
        # Pillow's own words name an object in memory.
        raise OSError(f"no image ({len(content):,} bytes)" if content else "an empty file") from None
