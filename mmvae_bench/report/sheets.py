"""Sheets of samples: whether a file that a run calls one may be shown or passed on, and how a page holds it."""

from __future__ import annotations

import base64
import io

from PIL import Image

from ..base.files import DamagedFile, read_bytes
from ..runs.names import SAMPLES_FILE
from .trials import TrialRecord

_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"
MOST_PIXELS = 2**24
"""The largest sheet: a small file can hold a picture that takes a browser gigabytes."""
FEWER_COLOURS = 128
"""Of a sheet on a page: a quarter of the bytes, and no difference to be seen."""
_SMALL = 4096
"""Bytes below which nothing is gained."""


def is_sheet(content: bytes) -> bool:
    """Whether it begins as a PNG file, and its header has the size that a sheet can have.

    The header: width and height in four bytes each, after the signature and the start of the first chunk.
    https://www.w3.org/TR/png-3/#11IHDR
    """
    place = len(_START)
    width, height = (int.from_bytes(content[start : start + 4]) for start in (place, place + 4))
    return content.startswith(_START) and 0 < width * height <= MOST_PIXELS


def read_sheet(trial: TrialRecord, *, at_most: int) -> bytes | None:
    """A trial's sheet; None if it has none, of at most so many bytes, that may be shown."""
    path = trial.file(SAMPLES_FILE)
    try:
        content = b"" if path is None else read_bytes(path, at_most=at_most)
    except (OSError, DamagedFile):
        return None
    return content if is_sheet(content) else None


def uri(content: bytes) -> str:
    """A PNG file as a ``data:`` URI."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


def sheet_uri(trial: TrialRecord, *, at_most: int) -> str | None:
    """A trial's sheet as a ``data:`` URI, in fewer colours; None if it has none that may be shown."""
    content = read_sheet(trial, at_most=at_most)
    return None if content is None else uri(smaller(content))


def smaller(content: bytes) -> bytes:
    """A sheet in FEWER_COLOURS, if that takes fewer bytes; as it is if it cannot be read."""
    if len(content) < _SMALL:
        return content
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
            return min(content, reduced(picture), key=len)
    except Exception:  # Whatever Pillow makes of a file that only begins as a PNG.
        return content


def reduced(picture: Image.Image) -> bytes:
    """A picture as a PNG file of FEWER_COLOURS."""
    file = io.BytesIO()
    few = picture.convert("RGB").quantize(FEWER_COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(file, format="PNG", optimize=True)
    return file.getvalue()
