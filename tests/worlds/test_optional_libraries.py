"""The renderers can be imported, and so their doctests found, where the libraries that they draw with are missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mmvae_bench.worlds

SCRIPT = """
import pkgutil, sys
for name in ("skia", "mitsuba", "drjit"):
    sys.modules[name] = None
import mmvae_bench.worlds as package
names = [module.name for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in names:
    __import__(name)
print(len(names))
"""


def test_every_module_of_the_renderers_imports_without_them() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    files = list(Path(mmvae_bench.worlds.__path__[0]).rglob("*.py"))
    assert int(done.stdout) == len(files) - 1 > 10, "every file but the package's own __init__.py"
