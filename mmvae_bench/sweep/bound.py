"""Runs a command that ends with the process that asked for it: ``python bound.py PARENT COMMAND...``.

A cluster may end its worker processes at any time, by SIGKILL too. What a worker has started must then save and end,
for its GPU is given to somebody else. The kernel sees to that (Linux only; elsewhere the command runs on to its end).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def bind(parent: int) -> None:
    """Makes the kernel send this process SIGTERM when ``parent``, or its thread that started this process, ends."""
    # What a cluster tells its own processes by these (a time limit, preemption) would end the command unsaved, where
    # it is sent to the whole tree. What is ignored stays so in the command.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(128 + signal.SIGTERM)  # It ended before the kernel could be told.


if __name__ == "__main__":
    bind(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
