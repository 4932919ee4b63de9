"""Sheets of samples: whether a file that a run calls one may be shown or passed on, and how a page holds it."""

from __future__ import annotations

import base64

from ..base.files import DamagedFile, read_bytes
from ..runs.names import SAMPLES_FILE
from .trials import TrialRecord

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


def sheet_uri(trial: TrialRecord, *, at_most: int) -> str | None:
    """A trial's sheet as a ``data:`` URI; None if it has none, of at most so many bytes, that may be shown."""
    path = trial.file(SAMPLES_FILE)
    try:
        content = b"" if path is None else read_bytes(path, at_most=at_most)
    except (OSError, DamagedFile):
        return None
    return "data:image/png;base64," + base64.b64encode(content).decode() if is_sheet(content) else None
