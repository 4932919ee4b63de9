"""Errors that help: what was given, where, the choices and the nearest of them; and how a failure is reported."""

from __future__ import annotations

import difflib
import errno
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

Location = tuple[str | int, ...]


class BenchmarkError(Exception):
    """An error that the user can fix: shown as one message, without a traceback.

    Attributes:
        of_data: Whether it says that a dataset cannot be used, or not as asked: then no trial can that asks the same.
    """

    of_data: bool = False


def nearest(value: object, choices: Iterable[str]) -> str | None:
    """The choice most similar to ``value``, or None if none is similar.

    >>> nearest("teblo", ["jmvae", "telbo"])
    'telbo'
    """
    text, names = str(value), list(choices)
    folded = {name.casefold(): name for name in names}
    found = difflib.get_close_matches(text.casefold(), list(folded), n=1, cutoff=0.5)
    return folded[found[0]] if found else None


def format_location(location: Sequence[str | int]) -> str:
    """
    >>> format_location(("objectives", 1, "lambda"))
    'objectives[1].lambda'
    """
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a configuration."""

    message: str
    location: Location = ()
    value: str | None = None
    choices: tuple[str, ...] = ()
    near: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        parts = [f"{format_location(self.location)}: {self.message}" if self.location else self.message]
        if self.value is not None:
            parts.append(f"  given: {self.value}")
        if self.choices:
            parts.append(f"  choices: {', '.join(self.choices)}")
        if self.near is not None:
            parts.append(f"  nearest: {self.near}")
        return "\n".join(parts)


class ConfigError(BenchmarkError, ValueError):
    """Everything that is wrong with a configuration, all at once."""

    def __init__(self, problems: Sequence[Problem] | str, source: str | None = None) -> None:
        self.problems = (Problem(problems),) if isinstance(problems, str) else tuple(problems)
        self.source = source
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = []
        for problem in self.problems:
            where = self.source or ""
            if where and problem.line is not None:
                where += f":{problem.line}"
            lines.append(f"{where}: {problem}" if where else str(problem))
        return "\n".join(lines)


@contextmanager
def about_data() -> Iterator[None]:
    """Says of a ConfigError that leaves the block that it is one of the data, and not of what else a trial is made of.

    >>> try:
    ...     with about_data():
    ...         raise ConfigError("the training partition is empty")
    ... except ConfigError as error:
    ...     error.of_data
    True
    """
    try:
        yield
    except ConfigError as error:
        error.of_data = True
        raise


def unknown(kind: str, value: object, choices: Iterable[str], location: Location = ()) -> Problem:
    """The problem for a name that is not one of the choices."""
    names = tuple(choices)
    return Problem(f"unknown {kind} {value!r}", location, choices=names, near=nearest(value, names))


DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Error numbers of a write without space, on the disk or in the quota."""
OUT_OF_MEMORY = "OutOfMemoryError"
"""The kind of every out-of-memory error that torch reports."""
_SAID_BY_TORCH = ("can't allocate memory", "not enough memory", "out of memory")


def explain(error: BaseException) -> tuple[str, str]:
    """(kind, message) of the exception that ended a trial. The kind is the class's name.

    torch has an exception class for a GPU out of memory only; on a CPU an allocation check fails with RuntimeError.

    >>> explain(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"))[0]
    'OutOfMemoryError'
    >>> explain(ZeroDivisionError("division by zero"))
    ('ZeroDivisionError', 'ZeroDivisionError: division by zero')
    """
    kind = type(error).__name__
    if isinstance(error, BenchmarkError):
        return kind, str(error)
    message = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, RuntimeError) and any(words in str(error) for words in _SAID_BY_TORCH):
        return OUT_OF_MEMORY, message
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        message += "\n  Free some space (`df -h` and `df -i` show where it is used), then run the trial again."
    return kind, message
