"""Image files of the user, opened and decoded so that no file can do more than be refused."""

from __future__ import annotations

import io

from PIL import Image, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP")
"""Of image files. Pillow would try dozens of others, one of which starts a program."""
MOST_PIXELS = 2**24
"""The largest photograph: more than any scaled copy has."""


def opened(content: bytes) -> Image.Image:
    """An image file whose header is read; raises OSError if it is not an image, or a very large one."""
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        # Pillow's own message names an object in memory.
        raise OSError(f"not an image ({len(content):,} bytes)" if content else "an empty file") from None
    except Exception as error:  # A damaged header raises whatever it happens to lead to.
        raise OSError(f"not a whole image ({error})") from error
    if image.width * image.height > MOST_PIXELS:
        raise OSError(f"{image.width}x{image.height}, at most {MOST_PIXELS:,} pixels expected")
    return image


def decoded(image: Image.Image, mode: str = "RGB") -> Image.Image:
    """Its pixels in a mode of Pillow; raises OSError if they are not all there."""
    try:
        image.load()
        return image if image.mode == mode else image.convert(mode)
    except OSError:
        raise
    except Exception as error:  # As above.
        raise OSError(f"not a whole image ({error})") from error
