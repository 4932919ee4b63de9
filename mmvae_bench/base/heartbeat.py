"""Signs of progress from the depths of long work, for whoever watches the process.

A loop that may run for minutes calls :func:`beat` at every turn; a process that somebody watches listens with
:func:`heard`. Where nobody listens, a beat costs one look-up. A beat means that something has moved, never only that
the process lives: a thread that beats by itself would hide a hang.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

from filelock import BaseFileLock, Timeout

BEAT_SECONDS = 1.0
"""A listener is told at most this often."""


def _nobody() -> None:
    return None


_listener: ContextVar[Callable[[], object]] = ContextVar("heartbeat", default=_nobody)


def beat() -> None:
    """Says that the work has moved on."""
    _listener.get()()


@contextmanager
def heard(listener: Callable[[], object]) -> Iterator[None]:
    """``listener`` is called at the beats of this thread inside the block, at most about once a second.

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
    """Takes a lock, however long another process has it, and beats while it waits.

    Who holds the lock is watched for itself; to wait for it is no hang.
    """
    while True:
        try:
            return lock.acquire(timeout=BEAT_SECONDS)
        except Timeout:
            beat()
