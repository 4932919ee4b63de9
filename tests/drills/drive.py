"""``mmvae-bench run`` on the drills' trials: ``python -m tests.drills.drive PLAN_FILE OPTIONS...``."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from mmvae_bench.cli import main
from mmvae_bench.sweep import run as run_module


def drive() -> int:
    """The real command; its trials are real as well, in processes of :mod:`tests.drills.child`."""
    command = (sys.executable, str(Path(__file__).with_name("child.py")), sys.argv[1])
    run_module.run = partial(run_module.run, command=command)
    return main(["run", *sys.argv[2:]])


if __name__ == "__main__":
    raise SystemExit(drive())
