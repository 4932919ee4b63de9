"""A command that ends with the process that started it: ``python bound.py PARENT COMMAND...``. A script of its own.

A cluster may kill its worker processes at any time, even by SIGKILL, and Ray then kills their children in the same way.
What a worker has started must save and end, since its GPU is given to someone else. So the command is the worker's
grandchild, with this process between them, which passes SIGTERM on; and the kernel sends SIGTERM to each of the two
when its parent is gone (Linux only; elsewhere the command runs on to its end).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

_PR_SET_PDEATHSIG = 1


def bind(parent: int) -> None:
    """Makes the kernel send this process SIGTERM when ``parent``, or its thread that started this process, ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(128 + signal.SIGTERM)  # It ended before the kernel knew.


def run(command: Sequence[str]) -> int:
    """Runs a command; returns its exit code, minus the signal's number if a signal ended it."""
    # Clusters notify their own processes by these signals (a time limit, preemption). Sent to the whole tree, they
    # would end the command unsaved. Ignored signals stay ignored in the command.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    # A SIGTERM that arrives before there is a child to pass it on to waits.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    here = os.getpid()
    child = os.fork()
    if child == 0:
        bind(here)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        try:
            os.execvp(command[0], list(command))
        except OSError as error:
            sys.stderr.write(f"{command[0]}: {error.strerror}\n")
            sys.stderr.flush()
            os._exit(127)
    signal.signal(signal.SIGTERM, lambda *_: _pass_on(child))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _pass_on(child: int) -> None:
    with suppress(ProcessLookupError):  # It has just ended on its own.
        os.kill(child, signal.SIGTERM)


def end_alike(code: int) -> None:
    """Ends this process in the same way as another one has ended."""
    if code < 0:
        if code != -signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    bind(int(sys.argv[1]))
    end_alike(run(sys.argv[2:]))
