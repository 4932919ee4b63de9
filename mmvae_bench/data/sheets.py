"""Sheets of images: enlarged without smoothing, in rows, each with a border; and writing a picture to a file.

A caller adds its title and labels to the sheet.

Shapes: B image, C channel, H height, W width.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from einops import repeat
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from ..base.errors import BenchmarkError
from ..base.files import atomic_path

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""

INK: Colour = (30, 30, 30)
PAPER: Colour = (255, 255, 255)

_FONT, _MARGIN = 14, 6

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""File name extensions, and the format of each."""


def draw_sheet(
    images: Tensor,
    *,
    num_columns: int,
    scale: int,
    gap: int,
    margins: tuple[int, int, int, int],
    border: int = 0,
    colours: Sequence[Colour] = (),
    row_heights: Sequence[int] = (),
    paper: Colour = PAPER,
) -> tuple[Image.Image, list[tuple[int, int]]]:
    """Draws images in rows, each pixel as a square. All lengths are in pixels of the sheet.

    Args:
        images: Float[B, C, H, W] in [0, 1], with one or three channels.
        num_columns: Images per row.
        scale: Side of the square that a pixel becomes.
        gap: To the right of each image and below it, between the borders.
        margins: Left, top, right and bottom; right and bottom come on top of the last gap.
        border: Width of the border around each image.
        colours: The border's colour for each image.
        row_heights: From one row to the next; by default the height of an image with its border and the gap.
        paper: Colour of what is not covered.

    Returns:
        (the sheet, x and y of each image's top-left pixel).
    """
    pictures = repeat(
        images.expand(-1, 3, -1, -1).float().cpu().mul(255).byte(),
        "b c h w -> b (h height) (w width) c",
        height=scale,
        width=scale,
    ).numpy()
    height, width = pictures.shape[1:3]
    num_rows = -(-len(images) // num_columns)
    heights = row_heights or [height + 2 * border + gap] * num_rows
    left, top, right, bottom = margins
    step = width + 2 * border + gap
    sheet = Image.new("RGB", (left + num_columns * step + right, top + sum(heights) + bottom), paper)
    places = []
    for index, pixels in enumerate(pictures):
        row, column = divmod(index, num_columns)
        x, y = left + column * step, top + sum(heights[:row])
        if border:
            sheet.paste(colours[index], (x, y, x + width + 2 * border, y + height + 2 * border))
        sheet.paste(Image.fromarray(pixels), (x + border, y + border))
        places.append((x + border, y + border))
    return sheet, places


def lettering(size: int, texts: Sequence[str]) -> tuple[Any, list[str]]:
    """A font for some texts of one sheet, and the texts as it can draw them.

    Pillow's own font has no letter beyond ASCII, and draws a box for each. DejaVu Sans, which comes with matplotlib,
    has those of most alphabets; a letter that it lacks becomes its number.

    Args:
        size: In pixels.
        texts: Names and values of attributes may be in any language.

    >>> lettering(14, ["size=big", "größe=groß, 大"])[1]
    ['size=big', 'größe=groß, \\\\u5927']
    """
    if all(map(str.isascii, texts)):
        return ImageFont.load_default(size), list(texts)
    path, there = _letters()
    shown = [
        "".join(each if each.isspace() or ord(each) in there else _number(each) for each in text) for text in texts
    ]
    return ImageFont.truetype(path, size), shown


def _number(letter: str) -> str:
    return letter.encode("ascii", "backslashreplace").decode()


@cache
def _letters() -> tuple[str, frozenset[int]]:
    import matplotlib
    from matplotlib.ft2font import FT2Font

    path = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    return path, frozenset(FT2Font(path).get_charmap())


def labelled(sheet: Image.Image, text: str) -> Image.Image:
    """A sheet below a text, which is broken into lines that are no wider than the sheet, or than 280 pixels."""
    font, (text,) = lettering(_FONT, [text])
    width = max(sheet.width, 280)
    lines = textwrap.wrap(text, max(1, int((width - 2 * _MARGIN) / font.getlength("n")))) or [""]
    height = 2 * _MARGIN + len(lines) * (_FONT + 4)
    whole = Image.new("RGB", (width, height + sheet.height), PAPER)
    ImageDraw.Draw(whole).multiline_text((_MARGIN, _MARGIN), "\n".join(lines), INK, font)
    whole.paste(sheet, (0, height))
    return whole


def check_picture_name(path: Path) -> None:
    """Raises BenchmarkError unless the name has the extension of an image format that can be written."""
    if path.suffix.lower() not in FORMATS:
        raise BenchmarkError(f"--out {path}: the file name of an image must end in {', '.join(FORMATS)}")


def save_picture(picture: Image.Image, path: Path, *, texts: Mapping[str, str] | None = None) -> None:
    """Writes a picture in the format that the name's extension implies; replaces the file atomically.

    Args:
        picture: What to write.
        path: The file.
        texts: Texts to store in a PNG file, by keyword; other formats go without.
    """
    check_picture_name(path)
    notes = PngInfo()
    for keyword, text in (texts or {}).items():
        notes.add_text(keyword, text, zip=True)
    with atomic_path(path) as temporary:
        picture.save(temporary, format=FORMATS[path.suffix.lower()], quality=95, pnginfo=notes)
