"""Whether a file that a run calls a sheet of samples may be shown or passed on."""

from __future__ import annotations

_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"
MOST_PIXELS = 2**24
"""The largest sheet: a small file can hold a picture that takes a browser gigabytes."""


def is_sheet(content: bytes) -> bool:
    """Whether it begins as a PNG file, and its header has the size that a sheet can have.

    The header: width and height in four bytes each, after the signature and the start of the first chunk.
    https://www.w3.org/TR/png-3/#11IHDR
    """
    place = len(_START)
    width, height = (int.from_bytes(content[start : start + 4]) for start in (place, place + 4))
    return content.startswith(_START) and 0 < width * height <= MOST_PIXELS
