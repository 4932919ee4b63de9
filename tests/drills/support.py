"""Runs of two small real trials, whoever kills, fills or breaks something, and how they must end."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch

from mmvae_bench.report import read_results
from mmvae_bench.runs.status import Status, read_status
from mmvae_bench.specs.grid import load_grid
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.training.checkpoint import Checkpoint

REPOSITORY = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "mmvae_bench")
SECONDS = 300.0
"""How long anything may take, on a machine that does other things as well."""

STEPS = {"telbo": 100, "jvae": 60, "faulty": 60}
"""Steps over all stages."""
OBJECTIVES = {"telbo": "{name: telbo, schedule: two_stage, unimodal_steps: 40}", "jvae": "jvae"}
GRID = """\
name: drill
datasets: [{{name: mnist_a, canvas: 16, num_sources: 100, replicas: 3}}]
backbones: [{{name: mnist_a_thin, width: 2, hidden: 8, latent_size: 3}}]
objectives: [{objectives}]
training: {{steps: 60, batch_size: 32, learning_rate: 1e-3, validations: 4}}
evaluation:
  num_samples: 10
  query_repeats: 1
  num_resamples: 50
  levels: [4]
  classifier: {{name: conv_thin, steps: 40, width: 8, hidden: 16}}
"""
FILES = {
    "checksums.json", "evaluation.json", "last.ckpt", "lock", "log.jsonl", "output.log", "result.json", "samples.png",
    "spec.json", "status.json",
}  # fmt: skip
"""What a finished trial's folder holds, and nothing else: no half-written file is left."""


@dataclass
class Plan:
    """What :mod:`tests.drills.child` does.

    Attributes:
        journal: Folder with one file per trial, with one line per step.
        step_seconds: Sleep after each step.
        checkpoint_seconds: Time between two checkpoints.
        evaluation_seconds: Sleep when training is done, and again when ``samples.png`` is written.
        full: By objective, the file that a full disk cuts off, at its ``nth`` writing, after ``num_bytes``.
    """

    journal: str
    step_seconds: float = 0.01
    checkpoint_seconds: float = 0.0
    evaluation_seconds: float = 0.2
    full: dict[str, dict[str, Any]] = field(default_factory=dict)


class Finished(NamedTuple):
    """A process that is over."""

    code: int
    out: str
    err: str

    @property
    def resume(self) -> list[str]:
        """The command on its last line, which goes on with the run."""
        return shlex.split(self.err.splitlines()[-1])


class Ended(NamedTuple):
    """What must have become of a trial."""

    state: str
    attempts: int


@dataclass
class Drill:
    """One run folder under one accident.

    Attributes:
        root: Folder of grid, plan and journals.
        out: The run's folder.
        random: Where the accident happens.
        plan: What the trials' processes do.
        objectives: Those of the grid, by name.
        include: More lines of the grid file.
        environment: Variables of every process.
        point: What was drawn, for people.
        notes: What was said, for people.
    """

    root: Path
    out: Path
    random: Random
    plan: Plan
    objectives: Sequence[str] = ("telbo",)
    include: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    point: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    # ---- what is run

    def grid(self) -> Path:
        """The grid file."""
        path = self.root / "grid.yaml"
        objectives = ", ".join(OBJECTIVES.get(name, name) for name in self.objectives)
        path.write_text(GRID.format(objectives=objectives) + self.include)
        return path

    def start(self, *options: str) -> subprocess.Popen[str]:
        """A driver with slow trials."""
        plan = self.root / "plan.json"
        Path(self.plan.journal).mkdir(exist_ok=True)
        plan.write_text(json.dumps(asdict(self.plan)))
        words = [sys.executable, "-m", "tests.drills.drive", str(plan), "--grid", str(self.grid())]
        return self.command([*words, "--out", str(self.out), "--no-rehearsal", *options])

    def command(self, words: Sequence[str]) -> subprocess.Popen[str]:
        """Any process, in a session of its own."""
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY,
            env=os.environ | self.environment, start_new_session=True,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def finish(self, process: subprocess.Popen[str]) -> Finished:
        """Waits for the end of a process."""
        out, err = process.communicate(timeout=SECONDS)
        return Finished(process.returncode, out, err)

    def run(self, *options: str) -> Finished:
        """A driver with slow trials, to its end."""
        return self.finish(self.start(*options))

    def resume(self, finished: Finished) -> Finished:
        """The command that an unfinished run gave on its last line, taken at its word."""
        assert finished.resume[: len(COMMAND)] == list(COMMAND), finished.err
        return self.finish(self.command(finished.resume))

    def end(self) -> None:
        """Ends what this drill has started and is still there, by its number."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.communicate()
        for path in self.out.glob("trials/*/status.json"):
            pid = read_status(path.parent).pid
            with suppress(OSError):
                if pid and str(self.out) in Path(f"/proc/{pid}/cmdline").read_text():
                    os.kill(pid, signal.SIGKILL)

    # ---- where the trials are

    def trials(self) -> dict[str, TrialSpec]:
        """By objective; of a faulty one by its fault, of one that is included by its learning rate as well."""
        named = {}
        for spec in load_grid(self.grid()).trials:
            rate = spec.training.learning_rate
            name = getattr(spec.objective, "fault", spec.objective.name)
            named[name if rate < 1 else f"{name} {rate:g}"] = spec
        return named

    def folder(self, name: str) -> Path:
        """A trial's folder."""
        return self.out / "trials" / self.trials()[name].key

    def status(self, name: str) -> Status:
        """A trial's status file."""
        return read_status(self.folder(name))

    def steps_made(self, name: str) -> list[tuple[int, int]]:
        """(attempt, step over all stages) in the order in which they were made."""
        path = Path(self.plan.journal) / f"{self.folder(name).name}.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        attempts = {pid: index for index, pid in enumerate(dict.fromkeys(line["pid"] for line in lines), start=1)}
        return [(attempts[line["pid"]], line["step"]) for line in lines]

    # ---- when something happens

    def draw_step(self, name: str, *, evaluation: float = 0.2) -> int:
        """A random step, or the number of steps for a moment of the evaluation."""
        steps = STEPS[name]
        step = steps if self.random.random() < evaluation else self.random.randint(1, steps - 1)
        self.point.append("in the evaluation" if step == steps else f"step {step} of {steps}")
        return step

    def wait_for(self, name: str, step: int) -> int:
        """Waits until a trial's process has made a step, or evaluates after its last; gives the process's number."""
        phases = {"evaluate"} if step == STEPS[name] else {"train", "evaluate"}
        folder = self.folder(name)

        def there() -> bool:
            status = read_status(folder)
            return status.phase in phases and status.step >= step

        self.until(there)
        time.sleep(self.random.random() * self.plan.step_seconds)
        pid = read_status(folder).pid
        assert pid is not None
        return pid

    def until(self, condition: Callable[[], bool]) -> None:
        """Waits for a condition."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain; {self.said()}"
            time.sleep(0.002)

    def said(self) -> str:
        """What the processes of the trials have printed."""
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in self.out.glob("trials/*/output.log"))

    # ---- how it ended

    def check(self, expected: Mapping[str, Ended]) -> None:
        """Every trial is there, once, with this state: in ``status --json`` and in ``results.parquet``."""
        shown = self.finish(self.command([*COMMAND, "status", str(self.out), "--json"]))
        assert shown.code == 0, shown.err
        rows = {row["key"]: Ended(row["status"], row["attempts"]) for row in json.loads(shown.out)["trials"]}
        trials = self.trials()
        assert rows == {trials[name].key: ended for name, ended in expected.items()}, self.said()
        results = read_results(self.out)
        states = set(zip(results["trial"], results["status"], strict=True))
        assert states == {(trials[name].key, ended.state) for name, ended in expected.items()}
        for name, ended in expected.items():
            if ended.state == "done":
                assert {path.name for path in self.folder(name).iterdir()} == FILES
                assert results[results["trial"] == trials[name].key]["value"].notna().all()
        assert {path.name for path in (self.out / "trials").iterdir()} == {spec.key for spec in trials.values()}

    def check_steps(self, name: str, *, redone: bool) -> None:
        """Each step was made; and no step twice, unless ``redone`` allows the few since the last checkpoint."""
        steps = [step for _, step in self.steps_made(name)]
        assert set(steps) == set(range(1, STEPS[name] + 1))
        if not redone:
            assert max(Counter(steps).values()) == 1

    def check_same(self, name: str, reference: Path, *, picture: bool = True) -> None:
        """Weights, curves and scores of a trial are those of an uninterrupted one, bit for bit."""
        folder = self.folder(name)
        states = [torch.load(path / "last.ckpt", weights_only=True) for path in (folder, reference)]
        mine, theirs = (state["weights"] for state in states)
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[key], theirs[key]) for key in mine), "the weights differ"
        assert states[0]["history"] == states[1]["history"]
        assert (folder / "log.jsonl").read_text() == (reference / "log.jsonl").read_text()
        results = [json.loads((path / "result.json").read_text()) for path in (folder, reference)]
        for result in results:
            assert result["scores"]
            for name in ("wall_seconds", "processor_seconds", "steps_per_second"):
                del result["training"][name]
        for part in ("scores", "training", "evaluation", "dataset", "classifier"):
            assert results[0][part] == results[1][part], part
        if picture:
            assert (folder / "samples.png").read_bytes() == (reference / "samples.png").read_bytes()

    def checkpoint(self, name: str) -> Checkpoint:
        """A trial's checkpoint, which must be whole."""
        folder = self.folder(name)
        return Checkpoint.load(folder / "last.ckpt", key=folder.name)
