"""Which of Mitsuba's variants to render with: each is tried in a subprocess, because an LLVM can abort a process.

A variant is part of a dataset's fingerprint: images rendered by one differ from those of another in the noise. Variants
that worked are remembered for one machine, processor, library file and version of Mitsuba, so that they are not tried
again by every process; a cache shared by several machines does not pass the result of one on to another.
"""

from __future__ import annotations

import ctypes.util
import logging
import os
import platform
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from ...base.canonical import content_hash
from ...base.errors import BenchmarkError
from ...base.files import cache_root, read_json, write_json
from ...base.processes import SAFE_PYTHON

LLVM_VARIABLE = "DRJIT_LIBLLVM_PATH"
"""Names the LLVM library that Dr.Jit, Mitsuba's compiler, loads."""
MAX_CANDIDATES = 3

_FOLDERS = (
    "/usr/lib/*-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib", "/usr/lib/llvm-*/lib", "/usr/lib64/llvm*/lib*",
    "/opt/homebrew/opt/llvm*/lib", "/usr/local/opt/llvm*/lib",
)  # fmt: skip


def llvm_candidates(given: str | None) -> list[str]:
    """LLVM libraries worth trying.

    Args:
        given: What ``DRJIT_LIBLLVM_PATH`` says. If it is set, nothing else is tried: the user chose it.
    """
    if given:
        return [given]
    root = Path("/")
    found = [path for folder in _FOLDERS for path in root.glob(folder.removeprefix("/") + "/libLLVM*")]
    found += Path(sys.prefix, "lib").glob("libLLVM*")
    return newest_first(found)[:MAX_CANDIDATES]


def newest_first(paths: Iterable[Path]) -> list[str]:
    """Shared libraries of LLVM by version, newest first, one path for each file; others are left out.

    >>> newest_first([Path("/l/libLLVM-14.so.1"), Path("/l/libLLVM.so.19.1"), Path("/l/libLLVMCore.a")])
    ['/l/libLLVM.so.19.1', '/l/libLLVM-14.so.1']
    """
    versions: dict[str, tuple[int, ...]] = {}
    for path in paths:
        name = re.fullmatch(r"libLLVM(?:-(\d+(?:\.\d+)*))?(?:\.so|\.dylib)(?:\.(\d+(?:\.\d+)*))?", path.name)
        if name:
            # libLLVM-14.so.1 is version 14; libLLVM.so.19.1 is version 19.1; libLLVM.dylib has no version.
            numbers = name[1] or name[2] or "0"
            real = os.path.realpath(path)
            versions[real] = max(versions.get(real, ()), tuple(map(int, numbers.split("."))))
    return sorted(versions, key=lambda path: (versions[path], path), reverse=True)


def has_cuda() -> bool:
    """Whether a CUDA driver is installed. It may still not work."""
    return ctypes.util.find_library("cuda") is not None or Path("/dev/nvidia0").exists()


def worked_here(name: str, library: str | None, version: str) -> bool:
    """Whether the variant worked here before. A record that cannot be read is ignored."""
    try:
        return bool(read_json(_path(name, library, version))["works"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def remember(name: str, library: str | None, version: str) -> None:
    """Remembers that the variant works. If the cache cannot be written, it is tried again next time."""
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
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        wanted = [line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))]
        return content_hash(sorted(set(wanted)))
    return platform.processor()


Kind = Literal["cuda", "llvm", "scalar"]
Wanted = Literal["auto", "cuda", "llvm", "scalar"]

INSTALL = "pip install 'mmvae-bench[clevr]'"
PROBE = (*SAFE_PYTHON, "-m", "mmvae_bench.worlds.clevr.probe")
"""Prints "ok" if the given kind of variant works."""
PROBE_SECONDS = 120
"""After which a probe counts as failed."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Variant:
    """A variant that works here.

    Attributes:
        kind: cuda, llvm or scalar.
        llvm: Path of LLVM's library; None for other kinds.
    """

    kind: Kind
    llvm: str | None = None

    @property
    def name(self) -> str:
        """Mitsuba's name for the variant."""
        return "scalar_rgb" if self.kind == "scalar" else f"{self.kind}_ad_rgb"

    def environment(self) -> dict[str, str]:
        """Environment variables to set before Mitsuba starts."""
        return {} if self.llvm is None else {LLVM_VARIABLE: self.llvm}

    def activate(self) -> Any:
        """Makes it this process's variant, computing with one thread, and returns the module ``mitsuba``.

        Raises:
            BenchmarkError: if Mitsuba is not installed, or does not import.
        """
        installed = mitsuba_version()
        os.environ.update(self.environment())
        try:
            import drjit
            import mitsuba
        except ImportError as error:
            raise BenchmarkError(
                f"Mitsuba {installed} is installed but cannot be imported here ({error}); install it again with: "
                f"{INSTALL.replace('install', 'install --force-reinstall', 1)}"
            ) from error

        mitsuba.set_variant(self.name)
        # Parallelism comes from several processes.
        drjit.set_thread_count(1)
        return mitsuba


def mitsuba_version() -> str:
    """The version installed, without importing it; raises BenchmarkError with the command that installs it."""
    try:
        return version("mitsuba")
    except PackageNotFoundError:
        raise BenchmarkError(
            f"CLEVR's scenes are rendered by Mitsuba 3, which is not installed; install it with: {INSTALL}"
        ) from None


def resolve(wanted: Wanted) -> Variant:
    """The variant to render with, tried in a subprocess; the result is kept for this process.

    Args:
        wanted: cuda, llvm or scalar; auto takes the first of them that works.

    Raises:
        BenchmarkError: if Mitsuba is not installed, or the one variant wanted does not work, with what was tried.
    """
    mitsuba_version()
    return _resolve(wanted, os.environ.get(LLVM_VARIABLE))


@cache
def _resolve(wanted: Wanted, given: str | None) -> Variant:
    tried: list[str] = []
    candidates = [Variant("cuda")] if wanted == "cuda" or (wanted == "auto" and has_cuda()) else []
    if wanted in ("auto", "llvm"):
        candidates += [Variant("llvm", library) for library in llvm_candidates(given)]
    for candidate in candidates:
        failure = probe(candidate)
        if failure is None:
            return candidate
        tried.append(f"{candidate.name} with {candidate.llvm or 'the driver'}: {failure}")
    if wanted == "scalar":
        return Variant("scalar")
    if wanted == "auto":
        # Slower, but correct: worth a warning if a library was named or found and did not work.
        level = logging.WARNING if tried else logging.INFO
        _logger.log(
            level, "%s", "; ".join(["rendering with Mitsuba's scalar variant, about five times slower", *tried])
        )
        return Variant("scalar")
    advice = {
        "llvm": "install LLVM 17 or newer (the package libllvm19: apt install libllvm19), "
        f"set {LLVM_VARIABLE} to its libLLVM if it is not found, ",
        "cuda": "check that the driver works (nvidia-smi), ",
    }[wanted]
    found = "\n  ".join(tried) or "no library was found"
    raise BenchmarkError(f"variant {wanted} does not work here:\n  {found}\n{advice}or use variant=auto")


def probe(variant: Variant) -> str | None:
    """Renders a small scene in a subprocess. None if that works, else why not; successes are remembered.

    A library can load and still abort while it compiles a kernel for this processor, so no simpler test is enough.
    """
    if worked_here(variant.name, variant.llvm, mitsuba_version()):
        return None
    environment = {**os.environ, **variant.environment(), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(
            [*PROBE, variant.kind],
            env=environment,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PROBE_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return f"no answer after {PROBE_SECONDS} s"
    if done.returncode < 0:
        return f"killed by signal {-done.returncode}{_last_line(done.stderr)}"
    if done.returncode or not done.stdout.startswith("ok"):
        return f"exit code {done.returncode}{_last_line(done.stderr)}"
    remember(variant.name, variant.llvm, mitsuba_version())
    return None


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f" ({textwrap.shorten(lines[-1], 500, placeholder=' ...')})" if lines else ""
