"""How long commands take to do what they are called for: ``run`` its first training step, ``imagine`` its picture.

Real commands in processes of their own, as a terminal would start them: where this one has PYTHONDONTWRITEBYTECODE,
they have not, since it makes each compile anew whatever it imports. PYTHONPYCACHEPREFIX is theirs too. The trial
is one of sprites with the networks over patches, whose images are drawn as they are needed, and has one step: its first
record is written right after it. Processor time is that of all processes of the command up to then, user and system. A
first round, which fills the caches of files and of compiled code, does not count.

    python benchmarks/start.py [--rounds 5] [--no-forks]
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mmvae_bench.base.machine import num_cpus, processor_name
from mmvae_bench.base.processes import SAFE_PYTHON
from mmvae_bench.runs.names import TRAINING_LOG, TRIALS_FOLDER
from mmvae_bench.sweep.forks import SWITCH

COMMAND = (*SAFE_PYTHON, "-m", "mmvae_bench")
GRID = """\
name: start
datasets: [{name: sprites, level: 4}]
backbones: [{name: patches, likelihood: normal, likelihood_scale: 0.5}]
objectives: [jmvae]
training: {steps: 1, validations: 1}
evaluation: {num_samples: 10, images: sample}
"""
LIMIT = 120.0
"""Seconds after which a command that has not done what it was called for is given up."""
_TICKS = os.sysconf("SC_CLK_TCK")


def variables() -> dict[str, str]:
    """The environment of a command: this one's, but compiled code is kept."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def processor_seconds(root: int) -> float:
    """User and system time, in s, of a process, of its children that run, and of those they have waited for."""
    children: dict[int, list[int]] = {}
    spent: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # After the name, which may contain anything: state, parent, ..., and four times from the 12th on.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # It has just ended.
        children.setdefault(int(fields[1]), []).append(int(entry.name))
        spent[int(entry.name)] = sum(map(int, fields[11:15]))
    tree, total = [root], 0
    while tree:
        process = tree.pop()
        total += spent.get(process, 0)
        tree += children.get(process, [])
    return total / _TICKS


def first_step(folder: Path, *, forks: bool = True) -> tuple[float, float]:
    """(processor s, wall s) from ``run`` to the end of the first training step; then the run is asked to stop.

    Raises:
        RuntimeError: there was no step.
    """
    grid, out = folder / "grid.yaml", folder / "run"
    grid.write_text(GRID)
    environment = variables() | {SWITCH: "1" if forks else "0"}
    with (folder / "output.txt").open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            [*COMMAND, "run", "--grid", str(grid), "--out", str(out), "--workers", "1"],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment,
        )  # fmt: skip
        try:
            while not any(log.stat().st_size for log in out.glob(f"{TRIALS_FOLDER}/*/{TRAINING_LOG}")):
                if process.poll() is not None or time.perf_counter() > began + LIMIT:
                    raise RuntimeError(f"no step was made:\n{(folder / 'output.txt').read_text()}")
                time.sleep(0.01)
            return processor_seconds(process.pid), time.perf_counter() - began
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait()


def whole(words: Sequence[str]) -> tuple[float, float]:
    """(processor s, wall s) of a process from its start to its end, whatever it returns to its starter."""
    began, before = time.perf_counter(), os.times()
    subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=LIMIT, env=variables()
    )  # fmt: skip
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return spent, time.perf_counter() - began


def row(what: str, found: Sequence[tuple[float, float]]) -> str:
    """A line of the table: median, least and greatest."""
    cells = [f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})" for each in zip(*found, strict=True)]
    return f"| {what} | {' | '.join(cells)} |"


def main() -> None:
    """Prints Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-forks", action="store_true", help="every process imports for itself, as on a GPU")
    options = parser.parse_args()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{processor_name()}; {num_cpus()} cores, load {load}; {options.rounds} rounds\n", flush=True)
    steps, pictures, imports = [], [], []
    for turn in range(options.rounds + 1):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            step = first_step(folder, forks=not options.no_forks)
            (trial,) = (folder / "run" / TRIALS_FOLDER).iterdir()
            picture = whole([*COMMAND, "imagine", str(trial), "shape=heart", "--out", str(folder / "picture.png")])
        torch = whole([*SAFE_PYTHON, "-c", "import torch"])
        if turn:
            steps.append(step)
            pictures.append(picture)
            imports.append(torch)
    print("| from the command to | processor, s | wall, s |\n|---|---|---|")
    print(row("the first training step of `run`", steps))
    print(row("the end of `imagine`", pictures))
    print(row("for comparison: the end of `import torch`", imports))


if __name__ == "__main__":
    sys.exit(main())
