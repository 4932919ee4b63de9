"""Remembers which variants worked on this machine, so that they are not tried again in every process.

Only successes are kept, and they hold for one machine, processor, library file and version of Mitsuba: a folder shared
by several machines does not carry the word of one to another.
"""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path

from ...base.files import cache_root, read_json, write_json
from ...base.hashing import content_hash


def contains(name: str, library: str | None, version: str) -> bool:
    """Whether the variant worked here before. A record that cannot be read counts as none."""
    try:
        return bool(read_json(_path(name, library, version))["works"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def add(name: str, library: str | None, version: str) -> None:
    """Notes that the variant works. Where the cache cannot be written, it is tried again next time."""
    with suppress(OSError):
        write_json(_path(name, library, version), {"works": True, "variant": name, "library": library})


def _path(name: str, library: str | None, version: str) -> Path:
    conditions = {
        "variant": name,
        "library": library and [os.path.realpath(library), *_stamp(library)],
        "mitsuba": version,
        "machine": [platform.node(), platform.machine(), _processor()],
    }
    return cache_root() / "probes" / f"{content_hash(conditions)}.json"


def _stamp(library: str) -> list[int]:
    try:
        stat = os.stat(library)
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns]


def _processor() -> str:
    """Model and instruction sets, which decide what LLVM compiles to."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        wanted = [line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))]
        return content_hash(sorted(set(wanted)))
    return platform.processor()
