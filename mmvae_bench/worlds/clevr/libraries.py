"""Where an LLVM library may lie, newest first, and whether there is a CUDA driver. Files are listed, none is loaded."""

from __future__ import annotations

import ctypes.util
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

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
        given: What ``DRJIT_LIBLLVM_PATH`` says. Where it is set, nothing else is tried: it is the user's word.
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
            # libLLVM-14.so.1 is version 14; libLLVM.so.19.1 is version 19.1; libLLVM.dylib does not say.
            numbers = name[1] or name[2] or "0"
            real = os.path.realpath(path)
            versions[real] = max(versions.get(real, ()), tuple(map(int, numbers.split("."))))
    return sorted(versions, key=lambda path: (versions[path], path), reverse=True)


def has_cuda() -> bool:
    """Whether a CUDA driver is installed. It may still not work."""
    return ctypes.util.find_library("cuda") is not None or Path("/dev/nvidia0").exists()
