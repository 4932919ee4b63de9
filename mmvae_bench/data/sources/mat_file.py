"""Reading numeric arrays from a MATLAB 5 file, and nothing else of what such a file may hold.

scipy's reader, made for trusted files, ends the process on some damaged ones. A file is a header of 128 bytes and
elements: 4 bytes of type, 4 of length, data, and padding to 8 bytes; a short one has both in 4 bytes and its data in
the next 4. An array is an element of elements (its class, sizes, name and values, by columns), as it is or in zlib's
form.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Mapping

import numpy as np

_HEADER, _VERSION = 128, b"\x00\x01IM"
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_STORED = {1: "<i1", 2: "<u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 9: "<f8"}
_CLASSES = {6: "double", 8: "int8", 9: "uint8", 10: "int16", 11: "uint16", 12: "int32", 13: "uint32"}
_COMPLEX = 0x0800
_SLACK = 4096
"""Bytes of an array besides its values, at most."""


class MatError(ValueError):
    """It is no such file, or damaged."""


def read_arrays(content: bytes, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The arrays of some names, if they have these shapes; others are passed over.

    Args:
        content: Of the file.
        shapes: The shape that the array of each name must have: no more is unpacked than that takes as doubles.

    Returns:
        The arrays by name, in the type in which they are stored.

    Raises:
        MatError: if it is no such file, damaged, without one of the arrays, or has one of another shape or kind.
    """
    if len(content) < _HEADER or content[124:128] != _VERSION:
        raise MatError("no MATLAB 5 file")
    most = _SLACK + 8 * max(map(math.prod, shapes.values()))
    found: dict[str, np.ndarray] = {}
    for kind, data in _elements(content[_HEADER:], padded=False):
        if kind == _COMPRESSED:
            kind, data = next(_elements(_unpacked(data, most), padded=True), (0, b""))
        if kind == _MATRIX:
            found |= _array(data, shapes)
    missing = [name for name in shapes if name not in found]
    if missing:
        raise MatError(f"there is no array {missing[0]}")
    return found


def _array(data: bytes, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """An array by its name; nothing if it is not asked for."""
    parts = _elements(data, padded=True)
    flags, sizes, name = (next(parts, None) for _ in range(3))
    if flags is None or sizes is None or name is None or (flags[0], len(flags[1])) != (_UINT32, 8):
        raise MatError("an array without class, sizes or name")
    if sizes[0] != _INT32 or len(sizes[1]) % 4 or name[0] != _INT8:
        raise MatError("an array whose sizes or name are of another kind")
    called = name[1].decode("ascii", "replace")
    if called not in shapes:
        return {}
    word = struct.unpack("<I", flags[1][:4])[0]
    shape, expected = struct.unpack(f"<{len(sizes[1]) // 4}i", sizes[1]), shapes[called]
    what = _CLASSES.get(word & 0xFF, f"of class {word & 0xFF}")
    if word & _COMPLEX or word & 0xFF not in _CLASSES or shape != expected:
        raise MatError(f"array {called} is {what} {list(shape[:8])}, expected numbers {list(expected)}")
    kind, values = next(parts, (0, b""))
    if kind not in _STORED or len(values) != math.prod(shape) * np.dtype(_STORED[kind]).itemsize:
        raise MatError(f"array {called} has {len(values):,} bytes of type {kind}")
    return {called: np.frombuffer(values, _STORED[kind]).reshape(shape, order="F")}


def _elements(data: bytes, *, padded: bool) -> Iterator[tuple[int, bytes]]:
    """Types and data of the elements. Those of a file are padded only if they are not in zlib's form."""
    at = 0
    while at < len(data):
        if at + 8 > len(data):
            raise MatError("it ends within an element")
        kind, length = struct.unpack_from("<II", data, at)
        if kind >> 16:
            kind, length, start, stop = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            if length > 4:
                raise MatError("a short element of more than 4 bytes")
        else:
            start, pads = at + 8, padded or kind != _COMPRESSED
            stop = start + (-(-length // 8) * 8 if pads else length)
        if start + length > len(data):
            raise MatError("it ends within an element")
        yield kind, data[start : start + length]
        at = stop


def _unpacked(data: bytes, most: int) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(data, most)
        if not unpacker.eof and unpacker.decompress(unpacker.unconsumed_tail, 1):
            raise MatError(f"more than {most:,} bytes when unpacked")
    except zlib.error as error:
        raise MatError(f"damaged ({error})") from None
    if not unpacker.eof:
        raise MatError("it ends within an array")
    return plain
