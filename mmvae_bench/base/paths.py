"""Where things lie on the user's machine. Nothing here is part of a result."""

from __future__ import annotations

import os
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
