"""Where things lie on the user's machine. Nothing here is part of a result."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

CACHE_VARIABLE = "MMVAE_BENCH_CACHE"
DATA_VARIABLE = "MMVAE_BENCH_DATA"


def cache_root() -> Path:
    """Folder of everything that can be made again: ``$MMVAE_BENCH_CACHE``, else ``~/.cache/mmvae-bench``."""
    given = os.environ.get(CACHE_VARIABLE)
    return Path(given).expanduser() if given else Path.home() / ".cache" / "mmvae-bench"


def data_root() -> Path:
    """Folder of the user's data files: ``$MMVAE_BENCH_DATA``, else ``data`` under the cache root."""
    given = os.environ.get(DATA_VARIABLE)
    return Path(given).expanduser() if given else cache_root() / "data"


def program() -> list[str]:
    """The words that start this program again as it was started: its name, its path, or ``python -m mmvae_bench``."""
    called = Path(sys.argv[0])
    if called.name != "mmvae-bench":
        return [sys.executable, "-m", "mmvae_bench"]
    found = shutil.which(called.name)
    return [called.name if found is not None and Path(found).resolve() == called.resolve() else str(called)]
