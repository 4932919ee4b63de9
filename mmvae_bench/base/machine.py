"""Where a number came from: machine, versions, commit."""

from __future__ import annotations

import hashlib
import math
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def num_cpus() -> int:
    """CPU cores that this process may use: its affinity, and the quota of its container."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()
        count = min(count, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass  # No quota, or another way of setting one.
    return max(1, count)


_PROCESSOR_FACTS = ("model name", "cpu family", "model")


def package_version(name: str = "mmvae-bench") -> str:
    """The installed version of a distribution, or ``unknown``."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


_REPOSITORY = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX"})


def package_fingerprint() -> str:
    """Eight hex digits that change with any source file of this package, wherever it is installed."""
    package = Path(__file__).resolve().parents[1]
    found = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        if path.name.startswith("."):
            continue  # An editor's lock, which may be a link to nowhere.
        try:
            content = path.read_bytes()
        except OSError:
            continue  # Just being replaced: it has changed, in any case.
        found.update(f"{path.relative_to(package).as_posix()} {len(content)}\n".encode(errors="surrogateescape"))
        found.update(content)
    return found.hexdigest()[:8]


def commit() -> tuple[str | None, bool | None]:
    """The commit that this code was checked out from, and whether files differ from it; (None, None) when installed.

    An uncommitted new file of the package counts as a difference; a new file outside it (a run) does not.
    """
    package = Path(__file__).resolve().parents[1]
    # A hook of git, or `git rebase --exec`, names its own repository here, whatever the folder.
    environment = {name: value for name, value in os.environ.items() if name not in _REPOSITORY}

    def git(*arguments: str) -> str | None:
        try:
            words = ["git", "--no-optional-locks", "-C", str(package), *arguments]
            done = subprocess.run(words, capture_output=True, timeout=10, check=True, env=environment)
        except (OSError, subprocess.SubprocessError):
            return None
        return os.fsdecode(done.stdout).strip()  # It names paths.

    # An installed package inside another repository (a virtual environment, say) has no commit.
    top = git("rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != package.parent:
        return None, None
    head, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
    new = git("ls-files", "--others", "--exclude-standard")
    return head, None if changes is None or new is None else bool(changes or new)


def processor_name() -> str:
    """The processor's model name, with family and model number if the system reports them; else ``cpu``."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return platform.processor() or "cpu"
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    return ", ".join(facts[key] for key in _PROCESSOR_FACTS if key in facts) or platform.processor() or "cpu"


def provenance(*, device: str, precision: str, threads: int) -> dict[str, Any]:
    """Where a result came from, as plain JSON.

    ``deterministic``: whether the same spec gives the same bits again on this machine. It does on a CPU; on a GPU only
    if torch is set to use deterministic algorithms. Values that the device does not have are null.

    Args:
        device: ``cpu`` or ``cuda``.
        precision: Precision of the networks.
        threads: CPU threads.
    """
    import torch

    head, dirty = commit()
    on_gpu = device.startswith("cuda")
    cudnn = torch.backends.cudnn
    algorithms = torch.are_deterministic_algorithms_enabled()
    return {
        "package": package_version(),
        "commit": head,
        "dirty": dirty,
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda if on_gpu else None,
        "cudnn": cudnn.version() if on_gpu else None,
        "lightning": package_version("pytorch-lightning"),
        "numpy": package_version("numpy"),
        "python": sys.version.split()[0],
        "platform": f"{platform.system()} {platform.machine()}",
        "device": device,
        "device_name": torch.cuda.get_device_name(device) if on_gpu else processor_name(),
        "precision": precision,
        "threads": threads,
        "cpu_instructions": torch.backends.cpu.get_cpu_capability(),
        "deterministic": algorithms or not on_gpu,
        "deterministic_algorithms": algorithms,
        "cudnn_deterministic": cudnn.deterministic if on_gpu else None,
        "cudnn_benchmark": cudnn.benchmark if on_gpu else None,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
