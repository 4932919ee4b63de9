"""What a sweep costs in addition to its trials: planning, creating folders, driving, resuming, its status, reporting.

The trials are torch-free: in ``loop`` and ``report`` they end as soon as they are started, leaving the files of a real
one; in ``slots`` they are processes that sleep.

    python benchmarks/driver.py plan --trials 100000
    python benchmarks/driver.py loop --trials 10000
    python benchmarks/driver.py slots --trials 100 --seconds 1 --slots 4
    python benchmarks/driver.py report --trials 1000 --template runs/small_mnist/trials/KEY/result.json
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmvae_bench.runs.status import Status
from mmvae_bench.runs.store import RunStore
from mmvae_bench.specs.grid import expand, load_grid
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.sweep.driver import Driver
from mmvae_bench.sweep.events import Event, PlainConsole
from mmvae_bench.sweep.executor import Ended, Job
from mmvae_bench.sweep.local import LocalExecutor, Slot
from mmvae_bench.sweep.schedule import trials_of

OBJECTIVES = ("jvae", "telbo", "jmvae", "bivcca")
GRID = """\
name: simulated
datasets: [{{name: mnist_a, canvas: 32}}]
backbones: [mnist_a_thin]
objectives: [{objectives}]
training: {{steps: 10}}
seeds: {seeds}
"""
DONE = Status(state="done", step=10, steps=10, attempts=1)
STUB = Path(__file__).parents[1] / "tests" / "sweep" / "stub.py"


def write_grid(folder: Path, num_trials: int) -> Path:
    """A grid of so many trials: four objectives with as many seeds as needed, or one where four do not divide it."""
    path = folder / "grid.yaml"
    names = OBJECTIVES if num_trials % len(OBJECTIVES) == 0 else OBJECTIVES[:1]
    path.write_text(GRID.format(objectives=", ".join(names), seeds=list(range(num_trials // len(names)))))
    return path


def lay_out(store: RunStore, grid: Path, specs: list[TrialSpec]) -> None:
    """Creates the folders of all trials, as ``mmvae-bench run`` does."""
    store.create(
        ((spec.key, spec.canonical(), spec.evaluation.canonical()) for spec in specs),
        grid_text=grid.read_text(),
        grid_keys={spec.key for spec in specs},
    )


def memory() -> float:
    """The resident memory of this process, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


class InstantExecutor:
    """Ends every job when it is submitted, with the status and the result of a trial; measures the time this takes."""

    def __init__(self, num_slots: int = 4) -> None:
        self.num_slots = num_slots
        self.seconds = 0.0
        self._ended: list[Ended] = []

    @property
    def num_free(self) -> int:
        """Number of slots without a job."""
        return self.num_slots - len(self._ended)

    def submit(self, job: Job) -> None:
        """Leaves the files that a process would leave; a preparation leaves none."""
        began = time.perf_counter()
        if job.arguments[0] == "train":
            folder = job.log.parent
            evaluation = json.loads((folder / "evaluation.json").read_text())
            training = {"steps": 10, "wall_seconds": 1.0}
            result = {"version": 1, "key": folder.name, "evaluation": evaluation, "training": training,
                      "provenance": {"device_name": "none"}, "scores": []}  # fmt: skip
            # Not flushed to disk as a trial does: that would take most of the time.
            (folder / "result.json").write_text(json.dumps(result))
            (folder / "status.json").write_text(json.dumps(asdict(DONE)))
        self._ended.append(Ended(job, 0))
        self.seconds += time.perf_counter() - began

    def wait(self, timeout: float) -> list[Ended]:
        """All submitted jobs."""
        ended, self._ended = self._ended, []
        return ended

    def under_way(self) -> Collection[str]:
        """None: all have ended."""
        return ()

    def end(self, name: str, *, force: bool) -> bool:
        """Does nothing: the jobs have ended."""
        return True

    def terminate(self) -> None:
        """Does nothing: the jobs have ended."""

    def kill(self) -> None:
        """Does nothing: the jobs have ended."""


class Witness(PlainConsole):
    """Prints nothing; records when trials started and ended, and how large the process was.

    Args:
        clock: The time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(open(os.devnull, "w"))  # noqa: SIM115 - for as long as the process lives
        self.clock = clock
        self.started: dict[str, float] = {}
        self.spans: list[tuple[float, float]] = []
        self.memory: list[float] = []

    def event(self, event: Event) -> None:
        """Records it."""
        super().event(event)
        now = self.clock()
        if event.event == "running":
            self.started[str(event.key)] = now
        elif event.event == "done":
            self.spans.append((self.started.pop(str(event.key)), now))
            if event.finished * 10 // event.total > (event.finished - 1) * 10 // event.total:
                self.memory.append(memory())

    def in_use(self, num_slots: int) -> float:
        """The fraction of the slots' time in which they had a trial, between the first start and the last end."""
        first, last = min(began for began, _ in self.spans), max(ended for _, ended in self.spans)
        return sum(ended - began for began, ended in self.spans) / (num_slots * (last - first))


@contextmanager
def timed(what: str, num_trials: int) -> Iterator[None]:
    """Prints the wall and processor time of the block."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"| {what} | {wall:.2f} | {cpu:.2f} | {1000 * cpu / num_trials:.3f} | {memory():.0f} |", flush=True)


def plan(options: argparse.Namespace, folder: Path) -> None:
    """``run --dry-run`` as a user calls it, in a process of its own."""
    grid = write_grid(folder, options.trials)
    print(COMMANDS)
    for words in ([], ["--json"]):
        called(["run", "--grid", str(grid), "--dry-run", *words, "--out", str(folder / "run")], folder / "out")


COMMANDS = "| command | wall s | processor s | most memory, MiB | lines | MB |\n|---|---|---|---|---|---|"


def called(words: list[str], out: Path) -> None:
    """Calls the program as a user does, its output into a file, and prints a row of what it took."""
    began = time.perf_counter()
    with out.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "mmvae_bench", *words], stdout=file)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"ended with status {status}: {words}")
    wall, cpu, most = time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    lines, size = out.read_bytes().count(b"\n"), out.stat().st_size / 1e6
    name = " ".join(word for word in words if not os.path.isabs(word))
    print(f"| {name} | {wall:.1f} | {cpu:.1f} | {most:.0f} | {lines} | {size:.1f} |", flush=True)


def loop(options: argparse.Namespace, folder: Path) -> None:
    """The driver's own work, from the grid to the last trial, and then on a folder in which all trials are done."""
    grid, store = write_grid(folder, options.trials), RunStore(folder / "run")
    print("| phase | wall s | processor s | processor ms/trial | memory after, MiB |")
    print("|---|---|---|---|---|")
    with timed("read and expand the grid", options.trials):
        specs = expand(load_grid(grid))
    with timed("create the folders", len(specs)):
        lay_out(store, grid, specs)
    with timed("check the folders again", len(specs)):
        store.check({spec.key for spec in specs})
    for what in ("drive", "drive again: all done"):
        with timed(what, len(specs)):
            executor, witness, began = InstantExecutor(), Witness(), time.perf_counter()
            outcome = Driver(store, trials_of(specs, store), executor, witness).run()
            seconds = time.perf_counter() - began - executor.seconds
        if outcome.done != len(specs):
            raise SystemExit(f"only {outcome.done} of {len(specs)} are done")
        print(f"  the driver alone, wall: {seconds:.2f} s, {1000 * seconds / len(specs):.3f} ms per trial")
        print(f"  memory at each tenth of the trials, MiB: {', '.join(f'{value:.1f}' for value in witness.memory)}")
    entries = list(store.root.rglob("*"))
    num_bytes = sum(path.lstat().st_blocks * 512 for path in entries)
    print(f"  {len(entries)} files and folders, {num_bytes / 1e6:.1f} MB on disk\n\n{COMMANDS}")
    for words in ([], ["--json"]):
        called(["status", str(store.root), *words], folder / "out")


def slots(options: argparse.Namespace, folder: Path) -> None:
    """Real processes that sleep: the fraction of the slots' time with a trial, and with one that is sleeping."""
    grid, store = write_grid(folder, options.trials), RunStore(folder / "run")
    specs = expand(load_grid(grid))[: options.trials]
    lay_out(store, grid, specs)
    behaviours = folder / "behaviours.json"
    behaviours.write_text(json.dumps({"seconds": options.seconds}))
    command = (sys.executable, str(STUB), str(behaviours))
    executor = LocalExecutor([Slot(f"slot {index}") for index in range(options.slots)], command=command)
    witness, began = Witness(), time.perf_counter()
    outcome = Driver(store, trials_of(specs, store), executor, witness).run()
    wall = time.perf_counter() - began
    asleep = options.seconds * outcome.done / (options.slots * wall)
    print(f"{outcome.done} trials of {options.seconds} s over {options.slots} slots: {wall:.1f} s; in use "
          f"{witness.in_use(options.slots):.1%} of the slots' time; asleep {asleep:.1%} of it (the rest of a trial is "
          f"Python's start)")  # fmt: skip


def report(options: argparse.Namespace, folder: Path) -> None:
    """Results as large as real ones, gathered and reported."""
    grid, store = write_grid(folder, options.trials), RunStore(folder / "run")
    specs = expand(load_grid(grid))
    lay_out(store, grid, specs)
    template: dict[str, Any] = json.loads(options.template.read_text())
    for spec in specs:
        own = {"key": spec.key, "spec": spec.canonical(), "evaluation": spec.evaluation.canonical()}
        directory = store.folder(spec.key).directory
        (directory / "result.json").write_text(json.dumps(template | own))
        (directory / "status.json").write_text(json.dumps(asdict(DONE)))
    from mmvae_bench.report import write_report, write_results

    num_bytes = options.template.stat().st_size
    print(f"{len(specs)} results of {num_bytes / 1e3:.0f} KB and {len(template['scores'])} scores each")
    print("| phase | wall s | processor s | processor ms/trial | memory after, MiB |")
    print("|---|---|---|---|---|")
    with timed("results.parquet and queries.parquet", len(specs)):
        write_results(store.root)
    with timed("both files and the report", len(specs)):
        write_report(store.root, color=False)
    names = ("results.parquet", "queries.parquet", "report/index.html")
    files = {name: (store.root / name).stat().st_size / 1e6 for name in names}
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  {', '.join(f'{name} {size:.2f} MB' for name, size in files.items())}; most memory {most:.0f} MiB")


PARTS: dict[str, Callable[[argparse.Namespace, Path], None]] = {
    "plan": plan, "loop": loop, "slots": slots, "report": report,
}  # fmt: skip


def main() -> None:
    """Measures one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--template", type=Path, help="result.json of a real trial, for the part report")
    options = parser.parse_args()
    if options.part == "report" and options.template is None:
        parser.error("report needs --template")
    with tempfile.TemporaryDirectory() as folder:
        PARTS[options.part](options, Path(folder))


if __name__ == "__main__":
    main()
