"""Which jobs hang: those whose pulse file has not changed for too long.

No time is compared with the wall clock. What counts is the time during which this process itself has looked at the
file and found it unchanged, so neither a wall clock that jumps, nor a machine that sleeps, nor a driver that was
stopped for an hour kills a trial.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..runs.folder import TrialFolder
from ..runs.status import read_status

DEFAULT_SECONDS = 1800.0
"""How long a trial may make no progress by default."""
_LOOK_SECONDS = 1.0
_MAX_GAP_SECONDS = 10.0
"""The maximum time counted between two looks: if they are further apart, the driver or the machine was stopped."""

Sign = tuple[int, int, int] | None


@dataclass(slots=True)
class _Watched:
    sign: Sign
    still: float = 0.0


class HangWatch:
    """Looks about once a second at files that change as long as a job makes progress.

    Args:
        seconds: How long a file may stay unchanged; None: no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._every = min(_LOOK_SECONDS, (seconds or _LOOK_SECONDS) / 4)
        self._watched: dict[str, _Watched] = {}
        self._looked: float | None = None

    def look(self, now: float, pulses: Mapping[str, Path]) -> list[str]:
        """The names of the jobs that hang. Each is reported at every look until its file changes or it is left out.

        Args:
            now: The time on the monotonic clock.
            pulses: The pulse file of every job to watch, by name. A job that is left out is forgotten.
        """
        if self.seconds is None or (self._looked is not None and now - self._looked < self._every):
            return []
        passed = 0.0 if self._looked is None else min(now - self._looked, _MAX_GAP_SECONDS)
        self._looked = now
        watched: dict[str, _Watched] = {}
        for name, path in pulses.items():
            sign, before = _sign(path), self._watched.get(name)
            still = before.still + passed if before is not None and before.sign == sign else 0.0
            watched[name] = _Watched(sign, still)
        self._watched = watched
        return [name for name, item in watched.items() if item.still >= self.seconds]


def _sign(path: Path) -> Sign:
    """What changes when a file is written or touched; None if it cannot be read."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def end_holder(folder: TrialFolder, *, force: bool) -> bool:
    """Stops the process on this machine that holds a trial's lock: a driver that was killed may have left it behind.

    Args:
        folder: The trial's folder.
        force: SIGKILL instead of SIGTERM.

    Returns:
        Whether such a process was found. None is found if the system does not show who has a file open (no
        ``/proc``), or if the process belongs to another user or another machine.
    """
    status = read_status(folder.directory)
    if status.pid is None or status.host != socket.gethostname() or not _has_open(status.pid, folder.lock_path):
        return False
    number = signal.SIGKILL if force else signal.SIGTERM
    try:
        if force and os.getpgid(status.pid) == status.pid:
            os.killpg(status.pid, number)
        else:
            os.kill(status.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _has_open(pid: int, file: Path) -> bool:
    """Whether a process has ``file`` open: its number alone may have been reused by another process."""
    try:
        wanted = os.stat(file)
        with os.scandir(f"/proc/{pid}/fd") as entries:
            return any(_is_same(entry.path, wanted) for entry in entries)
    except OSError:
        return False


def _is_same(path: str, wanted: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), wanted)
    except OSError:
        return False
