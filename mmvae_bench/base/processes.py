"""How a process of this package is asked to stop, the codes with which it exits, and how it was started."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final, NoReturn, Self

FAILED: Final = 1
"""Exit code: some of the work failed."""
BAD_INPUT: Final = 2
"""Exit code: the input cannot be used; nothing was started."""
LOCK_HELD: Final = 75
"""Exit code of ``train`` where another process is working on the trial (EX_TEMPFAIL of sysexits.h)."""
STALE: Final = 76
"""Exit code of ``train`` under a driver where other code than is installed has made the trial: nothing was done."""
INTERRUPTED: Final = 128 + signal.SIGINT
"""Exit code: stopped on request, and can be resumed."""

SAFE_PYTHON: Final = (sys.executable, "-P")
"""The interpreter, which does not look for modules in the working folder or next to a script. A file of the user's
called ``datasets.py`` there would otherwise be imported, and run, in place of the library of that name."""


def kill_group(number: int) -> None:
    """SIGKILL to the processes of a group; to none where they are gone, or another user's."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(number, signal.SIGKILL)


class StopSignals:
    """Context manager: inside its block the given signals only count up ``requests``; then the handlers are restored.

    SIGHUP stays ignored where it already is (nohup). Outside the main thread nothing is changed.

    Args:
        numbers: The signals; without any: SIGINT, SIGTERM and SIGHUP.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        self.requests = 0
        self._numbers = numbers or (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        self._before: dict[signal.Signals, Any] = {}

    def requested(self) -> bool:
        """Whether any of the signals has arrived."""
        return self.requests > 0

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in self._numbers:
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
        before = self._before.get(signal.Signals(number))
        around = getattr(before, "__self__", None)
        if isinstance(around, StopSignals):
            around._count(number, frame)  # A block around this one, which goes on after it.


@contextmanager
def interruptible() -> Iterator[None]:
    """Context manager: inside its block SIGTERM and SIGHUP raise KeyboardInterrupt, as SIGINT does.

    SIGHUP stays ignored where it already is (nohup). Outside the main thread nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    # None is a handler that was not installed from Python, and cannot be put back.
    before = {number: handler for number, handler in before.items() if handler not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Restores the handler of SIGTERM after the block, whatever a library installs in it (Ray's ends the process)."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection inside the block, and no later one looks at what was there when it ended.

    For the imports of a process's command: torch and Lightning make a million objects that live to its end, and to look
    through them again and again takes a quarter of the time that they take to import.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        # At an ordinary end of the interpreter, libraries report what is still frozen as leaked.
        atexit.register(gc.unfreeze)
        if enabled:
            gc.enable()


def leave(code: int) -> NoReturn:
    """Ends the process after all that is to be done at its end (``atexit``, buffered stdout and stderr).

    Unlike ``sys.exit`` it does not take every imported module apart, which lasts over a second once torch is there. So
    no ``__del__`` runs, and what is still buffered in other open files than stdout and stderr is lost: close them. It
    is ``sys.exit`` if threads are running that a process waits for, or if the output cannot be written.
    """
    waited_for = (each for each in threading.enumerate() if not each.daemon and each is not threading.main_thread())
    if any(waited_for):
        sys.exit(code)
    atexit._run_exitfuncs()
    try:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
    except (OSError, ValueError):
        sys.exit(code)  # It says what is wrong.
    ctypes.CDLL(None).fflush(None)  # What libraries in C have printed.
    os._exit(code)


def program() -> list[str]:
    """The words that start this program again as it was started: its name, its path, or ``python -m mmvae_bench``."""
    called = Path(sys.argv[0])
    if called.name != "mmvae-bench":
        return [sys.executable, "-m", "mmvae_bench"]
    found = shutil.which(called.name)
    return [called.name if found is not None and Path(found).resolve() == called.resolve() else str(called)]
