"""Hashes of images and of their labels that do not depend on how the images are divided among files.

A part's hash is the sum, modulo 2^256, of the sha256 of each image with its number (the incremental hash of Bellare and
Micciancio 1997, "A new paradigm for collision-free hashing", with addition). The hash of the whole is the sum of those
of its parts, however it is cut, and whoever made them; an image changed, lost, added or moved changes it.

Shapes: n image of a part, K byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

import numpy as np

from .planes import Planes

_DIGITS = 64
_MODULUS = 1 << (4 * _DIGITS)


def add_hashes(parts: Iterable[str]) -> str:
    """The hash of a whole from those of its parts, in any order.

    >>> add_hashes(["0f", "01"]) == add_hashes(["01", "0f"]) == f"{0x10:064x}"
    True
    """
    return f"{sum(int(part, 16) for part in parts) % _MODULUS:0{_DIGITS}x}"


def pixel_digests(planes: Planes, numbers: Sequence[int]) -> list[str]:
    """The sha256 of each image's number, of which there are ``numbers``, and of its pixels."""
    rows = np.ascontiguousarray(planes.pixels)
    return [_digest(number, pixels.data) for number, pixels in zip(numbers, rows, strict=True)]


def label_digests(planes: Planes, numbers: Sequence[int]) -> list[str]:
    """The sha256 of each image's number, concept, scalars and masks."""
    names = sorted(planes.columns)
    scalars = zip(*(planes.columns[name].tolist() for name in names), strict=True) if names else None
    digests = []
    for row, (number, concept) in enumerate(zip(numbers, planes.concepts.tolist(), strict=True)):
        values = dict(zip(names, next(scalars), strict=True)) if scalars is not None else {}
        text = json.dumps([concept, values], sort_keys=True).encode()
        masks = b"" if planes.masks is None else planes.masks[row].tobytes()
        digests.append(_digest(number, text + masks))
    return digests


def _digest(number: int, content: bytes | memoryview) -> str:
    sha = hashlib.sha256(number.to_bytes(8, "little"))
    sha.update(content)
    return sha.hexdigest()
