"""Runs of stub trials, and what their journals tell."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmvae_bench.runs.lock import Drivers
from mmvae_bench.runs.store import RunStore
from mmvae_bench.specs.grid import GridSpec, expand, load_grid
from mmvae_bench.sweep.driver import Driver, Outcome
from mmvae_bench.sweep.events import Event, Observer, Progress
from mmvae_bench.sweep.local import LocalExecutor, Slot
from mmvae_bench.sweep.schedule import trials_of

HERE = Path(__file__).parent
GRID = """\
name: stub
datasets: [{{name: mnist_a, canvas: 16}}]
backbones: [mnist_a_thin]
objectives: {objectives}
training: [{steps}]
seeds: {seeds}
evaluation: {{num_samples: {num_samples}}}
"""


def no_report(store: RunStore, outcome: Outcome) -> tuple[str | None, str]:
    """In place of the report."""
    return "index.html", "a table\n"


class Recorder(Observer):
    """An observer that keeps the events."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.progress: list[Progress] = []

    def event(self, event: Event) -> None:
        """Keeps it."""
        self.events.append(event)

    def tick(self, progress: Callable[[], Progress]) -> None:
        """Measures every time."""
        self.progress.append(progress())

    def of(self, kind: str) -> list[Event]:
        """The events of one kind."""
        return [event for event in self.events if event.event == kind]


@dataclass
class StubRun:
    """A grid of stub trials in a folder.

    Attributes:
        root: Where grid, behaviours and run folder lie.
        seeds: One trial a seed.
        steps: Steps of the trials; several give a trial each, for every seed.
        behaviours: What the stub does; see there.
        num_samples: Of the evaluation.
        objectives: A trial each, for every seed and number of steps.
    """

    root: Path
    seeds: Sequence[int] = (0, 1, 2)
    steps: Sequence[int] = (10,)
    behaviours: dict[str, Any] = field(default_factory=dict)
    num_samples: int = 10
    objectives: Sequence[str] = ("jvae",)

    @property
    def out(self) -> Path:
        """The run's folder."""
        return self.root / "run"

    @property
    def command(self) -> tuple[str, ...]:
        """What stands in for ``mmvae-bench`` in the trials' processes."""
        path = self.root / "behaviours.json"
        path.write_text(json.dumps(self.behaviours))
        return (sys.executable, str(HERE / "stub.py"), str(path))

    def write_grid(self) -> Path:
        """The grid file."""
        steps = ", ".join(f"{{steps: {count}}}" for count in self.steps)
        path = self.root / "grid.yaml"
        objectives = f"[{', '.join(self.objectives)}]"
        seeds = list(self.seeds)
        path.write_text(GRID.format(steps=steps, seeds=seeds, num_samples=self.num_samples, objectives=objectives))
        return path

    def grid(self) -> GridSpec:
        """The grid."""
        return load_grid(self.write_grid())

    def store(self, drivers: Drivers | None = None) -> RunStore:
        """The run's folder, with the folders of all trials in it."""
        store, specs = RunStore(self.out), expand(self.grid())
        store.create(
            [(spec.key, spec.canonical(), spec.evaluation.canonical()) for spec in specs],
            grid_text=self.write_grid().read_text(),
            grid_keys={spec.key for spec in specs},
            drivers=drivers,
        )
        return store

    def drive(self, *, workers: int = 3, **options: Any) -> tuple[Outcome, Recorder]:
        """A driver in this process."""
        store, recorder = self.store(), Recorder()
        executor = LocalExecutor([Slot(f"slot {index}") for index in range(workers)], command=self.command)
        driver = Driver(store, trials_of(expand(self.grid()), store), executor, recorder, **options)
        return driver.run(), recorder

    def start(self, *options: str) -> subprocess.Popen[str]:
        """A driver in a process of its own."""
        words = [sys.executable, "-m", "tests.sweep.drive", self.command[-1], "--grid", str(self.write_grid())]
        words += ["--out", str(self.out), *options]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=HERE.parents[1])

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """A driver in a process of its own, to its end."""
        process = self.start(*options)
        stdout, stderr = process.communicate(timeout=240)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def folders(self) -> dict[int, Path]:
        """The trials' folders by seed; of several trials with one seed, one."""
        paths = (self.out / "trials").glob("[!.]*/spec.json")
        return {json.loads(path.read_text())["seed"]: path.parent for path in paths}

    def journal(self, folder: Path) -> list[dict[str, Any]]:
        """What the processes of a trial have noted."""
        path = folder / "journal"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def counts(self, event: str) -> dict[int, int]:
        """By seed, how often an event was noted."""
        return {
            seed: sum(line["event"] == event for line in self.journal(folder))
            for seed, folder in sorted(self.folders().items())
        }

    def states(self) -> dict[int, str]:
        """By seed, the state in ``status.json``."""
        return {seed: self.status(seed).get("state", "none") for seed in sorted(self.folders())}

    def status(self, seed: int) -> Mapping[str, Any]:
        """A trial's ``status.json``."""
        path = self.folders()[seed] / "status.json"
        return json.loads(path.read_text()) if path.exists() else {}


def until(condition: Callable[[], bool], *, seconds: float = 100.0) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
