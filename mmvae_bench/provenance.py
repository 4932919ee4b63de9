"""Where a number came from: versions, commit, machine."""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def package_version(name: str = "mmvae-bench") -> str:
    """The installed version of a distribution, or ``unknown``."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def commit() -> tuple[str | None, bool | None]:
    """The commit that this code was checked out from, and whether files differ from it; (None, None) when installed."""
    package = Path(__file__).resolve().parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(package), *arguments], capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    # A package inside somebody else's repository (a virtual environment, say) has no commit of its own.
    top = git("rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != package.parent:
        return None, None
    head, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
    return head, None if changes is None else bool(changes)


def provenance(*, device: str, precision: str, threads: int) -> dict[str, Any]:
    """What a result says about its origin; plain JSON."""
    import torch

    head, dirty = commit()
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.processor() or "cpu"
    return {
        "package": package_version(),
        "commit": head,
        "dirty": dirty,
        "torch": str(torch.__version__),
        "lightning": package_version("pytorch-lightning"),
        "python": sys.version.split()[0],
        "device": device,
        "device_name": name,
        "precision": precision,
        "threads": threads,
        "deterministic": device == "cpu",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
