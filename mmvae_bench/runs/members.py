"""Some members of a large JSON object, without reading all of it.

A result holds a score for every query, so it is large, and what a driver asks of it stands at its beginning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class _Incomplete(Exception):
    """The text ends before the value does."""


def read_members(path: Path, names: Collection[str], *, first: int = 16_384) -> dict[str, Any]:
    """The members ``names`` of the JSON object in ``path``; those that it lacks are left out.

    Reads ``first`` bytes, and four times as many as long as that is not enough.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no JSON object, as far as it was read.
    """
    with path.open("rb") as file:
        data = file.read(first)
        while True:
            try:
                return _scan(data.decode(errors="ignore"), frozenset(names))
            except (_Incomplete, ValueError):
                more = file.read(3 * len(data))
                if not more:
                    raise ValueError(f"{path}: not a whole JSON object") from None
                data += more


def ends_whole(path: Path) -> bool:
    """Whether a file ends as a JSON object does: one that was cut short does not. Reads a few bytes."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 16))
        # The last member is a list, so a cut between two scores does not end like this.
        return b"".join(file.read().split()).endswith((b"]}", b"{}"))


def _scan(text: str, names: frozenset[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    position = _expect(text, 0, "{")
    if _peek(text, position) == "}":
        return found
    while True:
        name, position = _decode(text, position)
        value, position = _decode(text, _expect(text, position, ":"))
        end = _peek(text, position)
        if name in names:
            found[name] = value
            if len(found) == len(names):
                return found
        if end == "}":
            return found
        position = _expect(text, position, ",")


def _decode(text: str, position: int) -> tuple[Any, int]:
    return _DECODER.raw_decode(text, _skip(text, position))


def _peek(text: str, position: int) -> str:
    position = _skip(text, position)
    if position >= len(text):
        raise _Incomplete
    return text[position]


def _expect(text: str, position: int, mark: str) -> int:
    if _peek(text, position) != mark:
        raise ValueError(f"expected {mark!r}")
    return _skip(text, position) + 1


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position
