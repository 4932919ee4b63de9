"""Text from outside, made safe to print: what a terminal, a browser or an editor would obey is shown as an escape.

Two different texts stay different, so cleaning a name never makes two trials one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

MOST_CHARACTERS = 10_000
"""The longest text in a document that is cleaned: names and settings are far shorter."""

# Control characters of both sets, line separators, marks that reverse the direction of text, halves of a surrogate
# pair, and invisible tags.
_UNSAFE = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufffe\uffff"
    "\U000e0000-\U000e007f"
)
_IN_LINES, _IN_A_LINE = re.compile(f"[{_UNSAFE}]"), re.compile(f"[\t\n{_UNSAFE}]")
_SEQUENCE = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor
    "|(?:\x1b[\\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)?"  # titles, links, clipboard
    "|\x1b[ -/]*[0-~]"
)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number of things in words; ``plural``: of a noun to which no s is added.

    >>> counted(1, "trial"), counted(1200, "trial"), counted(2, "process", "processes")
    ('1 trial', '1200 trials', '2 processes')
    """
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def few(words: Sequence[str], *, most: int) -> str:
    """The first of some words, and how many more there are: a dataset may have hundreds of attributes.

    >>> few(["bald", "male", "hat"], most=2), few(["bald"], most=2), few([], most=2)
    ('bald, male and 1 more', 'bald', '')
    """
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def printable(text: str, *, lines: bool = False) -> str:
    """``text`` with everything that is obeyed rather than shown as a backslash escape.

    Args:
        text: Any text.
        lines: Whether it may have several lines, and tabs.

    >>> printable("a\\x1b[31mred\\u202e"), printable("one\\ntwo"), printable("one\\ntwo", lines=True)
    ('a\\\\x1b[31mred\\\\u202e', 'one\\\\x0atwo', 'one\\ntwo')
    """
    if text.isascii() and text.isprintable():
        return text
    return (_IN_LINES if lines else _IN_A_LINE).sub(_escaped, text)


def printed(text: str) -> str:
    """What a program has printed, without its colours and other terminal sequences; the rest as :func:`printable`."""
    return printable(_SEQUENCE.sub("", text).replace("\r", "\n"), lines=True)


def cleaned(value: Any) -> Any:
    """A JSON value whose texts, names of members too, are printable on one line.

    Raises:
        ValueError: one of them is longer than ``MOST_CHARACTERS``, or a number is not finite.
    """
    if isinstance(value, str):
        if len(value) > MOST_CHARACTERS:
            raise ValueError(f"a text of more than {MOST_CHARACTERS:,} characters")
        return printable(value)
    if isinstance(value, dict):
        return {cleaned(name): cleaned(item) for name, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number that is not finite")
    return [cleaned(item) for item in value] if isinstance(value, list) else value


def _escaped(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
