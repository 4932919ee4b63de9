"""``mmvae-bench run`` on stub trials, in a process: ``python -m tests.sweep.drive BEHAVIOUR_FILE OPTIONS...``."""

from __future__ import annotations

import sys
from pathlib import Path

from mmvae_bench.cli import main
from mmvae_bench.sweep import run as run_module

from .support import no_report


def drive() -> int:
    """The real command, with the stub in place of training and without a report."""
    command = (sys.executable, str(Path(__file__).with_name("stub.py")), sys.argv[1])
    run = run_module.run
    run_module.run = lambda request, **_: run(request, command=command, report=no_report)
    return main(["run", *sys.argv[2:]])


if __name__ == "__main__":
    sys.exit(drive())
