"""Memory that is freed in training stays with the process."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_MiB = 2**20


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Inside the block the C library hands no freed memory back to the system.

    A large tensor is otherwise memory of its own from the system, which clears it page by page whenever it is made
    anew: with the published networks, 230,000 pages a step and a seventh of its processor time. No number changes. At
    the end, what is free is handed back, and the settings are those that glibc arrives at by itself in a process with
    large arrays: its own cannot be asked for. Where the C library is another, nothing happens.
    """
    mallopt, malloc_trim = _function("mallopt"), _function("malloc_trim")
    if mallopt is None or malloc_trim is None:
        yield
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        mallopt(_MMAP_MAX, 65536)
        mallopt(_MMAP_THRESHOLD, 32 * _MiB)
        mallopt(_TRIM_THRESHOLD, 64 * _MiB)
        malloc_trim(0)


def _function(name: str) -> Callable[..., int] | None:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), name, None)
