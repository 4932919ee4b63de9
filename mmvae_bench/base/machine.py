"""What this machine has to work with, found without torch."""

from __future__ import annotations

import math
import os
from pathlib import Path


def num_cpus() -> int:
    """CPU cores that this process may use: its affinity, and the quota of its container."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass  # No quota, or another way of setting one.
    return max(1, count)
