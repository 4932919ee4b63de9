"""Signs of progress from inside long-running work, for whoever watches the process.

A loop that may run for minutes calls :func:`beat` in every iteration; a process that is watched listens with
:func:`heard`. If nobody listens, a beat costs one look-up. A beat means that work has progressed, not just that the
process is alive: a thread that beats by itself would hide a hang.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

from filelock import BaseFileLock, Timeout

BEAT_SECONDS = 1.0
"""A listener is called at most this often."""


def _nobody() -> None:
    return None


_listener: ContextVar[Callable[[], object]] = ContextVar("heartbeat", default=_nobody)


def beat() -> None:
    """Reports that the work has progressed."""
    _listener.get()()


@contextmanager
def heard(listener: Callable[[], object]) -> Iterator[None]:
    """Calls ``listener`` at the beats of this thread inside the block, at most about once per second.

    >>> with heard(lambda: print("alive")):
    ...     beat()
    ...     beat()
    alive
    """
    last = -float("inf")

    def listen() -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= BEAT_SECONDS:
            last = now
            listener()

    token = _listener.set(listen)
    try:
        yield
    finally:
        _listener.reset(token)


def patiently(lock: BaseFileLock) -> AbstractContextManager[object]:
    """Acquires a lock, however long another process holds it, and beats while waiting.

    The holder of the lock is watched separately; waiting for it is not a hang.
    """
    while True:
        try:
            return lock.acquire(timeout=BEAT_SECONDS)
        except Timeout:
            beat()
