"""What a trial's status says about an exception: what kind of failure it is, and what to do about it."""

from __future__ import annotations

import errno
import traceback

from .errors import BenchmarkError

OUT_OF_MEMORY = "OutOfMemoryError"
"""The kind of every failure for want of memory that torch reports."""
_SAID_BY_TORCH = ("can't allocate memory", "not enough memory", "out of memory")


def explain(error: BaseException) -> tuple[str, str]:
    """(kind, message) of the exception that ended a trial. The kind is the class's name.

    torch has a class of its own for a GPU's memory only; a CPU's is an enforcement that fails.

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
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        message += "\n  Free some space (`df -h` and `df -i` say where), then run the trial again."
    return kind, message
