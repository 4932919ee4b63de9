"""Requests to stop, counted instead of obeyed at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class StopSignals:
    """Context manager: within its block SIGINT, SIGTERM and SIGHUP only increase ``requests``.

    SIGHUP stays ignored if it is (nohup). Outside the main thread nothing is changed.
    """

    def __init__(self) -> None:
        self.requests = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                before = signal.getsignal(number)
                if number != signal.SIGHUP or before is not signal.SIG_IGN:
                    self._before[number] = before
                    signal.signal(number, self._count)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()

    def _count(self, number: int, frame: FrameType | None) -> None:
        self.requests += 1
