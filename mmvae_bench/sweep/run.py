"""A run, from a grid file to a report: what ``mmvae-bench run`` does."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ..base.errors import ConfigError, Problem, nearest
from ..runs.lock import Drivers
from ..runs.store import RunStore
from ..specs.grid import expand, load_grid
from ..specs.trial import TrialSpec
from .console import watcher
from .driver import Driver, Outcome
from .events import Event, Observer
from .executor import Executor
from .executors import EXECUTORS, make_executor, option_problems
from .hang import DEFAULT_SECONDS
from .local import COMMAND
from .trial import trials_of

RETRY = ("failed",)
"""What ``--retry`` can name."""
INTERRUPTED = 130

Report = Callable[[RunStore, Outcome], tuple[str | None, str]]
"""Writes what a run leaves behind; gives the path of the page, if one was made, and the text to print."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request comes to.

    Attributes:
        name: Of the run's folder, unless the request names one.
        specs: The trials to work on.
        keys: Of all trials that the folder may hold.
        grid_text: The grid file that describes them.
    """

    name: str
    specs: Sequence[TrialSpec]
    keys: Set[str]
    grid_text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for; the fields are the options of ``mmvae-bench run``."""

    grid: Path
    out: Path | None = None
    where: tuple[str, ...] = ()
    dry_run: bool = False
    as_json: bool = False
    executor: str = "local"
    workers: int | None = None
    per_device: int = 1
    hang_seconds: float = DEFAULT_SECONDS
    retry: str | None = None
    ray_address: str | None = None
    slurm: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises ConfigError with every option that has no meaning."""
        problems: list[Problem] = []
        for option, value, choices in (("--executor", self.executor, EXECUTORS), ("--retry", self.retry, RETRY)):
            if value is not None and value not in choices:
                near = nearest(value, choices)
                problems.append(Problem(f"not available as {option}", (option,), repr(value), choices, near))
        if not problems:
            problems += option_problems(
                self.executor, per_device=self.per_device, ray_address=self.ray_address, slurm=self.slurm
            )
        if self.workers is not None and self.workers < 1:
            problems.append(Problem("a number of slots is 1 or more", ("--workers",), str(self.workers)))
        if self.per_device < 1:
            problems.append(Problem("a number of trials is 1 or more", ("--per-device",), str(self.per_device)))
        if not self.hang_seconds >= 0:
            message = "seconds without progress are 0 (for ever) or more"
            problems.append(Problem(message, ("--hang-seconds",), str(self.hang_seconds)))
        if problems:
            raise ConfigError(problems)

    def plan(self) -> Plan:
        """Reads the grid; raises ConfigError where it cannot be worked with."""
        grid = load_grid(self.grid)
        specs = expand(grid, where=self.where)
        keys = {spec.key for spec in (grid.trials if self.where else specs)}
        return Plan(grid.name, specs, keys, self.grid.read_text())

    def asks(self) -> list[str]:
        """The words of the command line that say what is run."""
        return ["run", "--grid", str(self.grid)]

    def command(self) -> str:
        """The command line that asks the same, ready to paste into a shell."""
        words = [*_program(), *self.asks()]
        words += ["--out", str(self.out)] if self.out is not None else []
        words += [word for condition in self.where for word in ("--where", condition)]
        words += ["--executor", self.executor] if self.executor != "local" else []
        words += ["--ray-address", self.ray_address] if self.ray_address is not None else []
        words += [word for setting in self.slurm for word in ("--slurm", setting)]
        words += ["--workers", str(self.workers)] if self.workers is not None else []
        words += ["--per-device", str(self.per_device)] if self.per_device != 1 else []
        words += ["--hang-seconds", f"{self.hang_seconds:g}"] if self.hang_seconds != DEFAULT_SECONDS else []
        words += ["--retry", self.retry] if self.retry is not None else []
        words += ["--json"] if self.as_json else []
        return shlex.join(words)


def write_reports(store: RunStore, outcome: Outcome) -> tuple[str | None, str]:
    """The results file, and the report where the run came to its end with something done."""
    # pandas is imported here, when no trial runs any more.
    if outcome.stopped or not outcome.done:
        from ..report import write_results

        write_results(store.root)
        return None, ""
    from ..report import write_report

    text = write_report(store.root)
    path = store.root / "report" / "index.html"
    return str(path), f"{text.rstrip()}\n{path}\n"


def run(request: Request, *, command: Sequence[str] = COMMAND, report: Report = write_reports) -> int:
    """Runs a grid, or says what would be run; gives back the exit code.

    Args:
        request: What to do.
        command: What runs ``mmvae-bench`` in a process of its own.
        report: What is done at the end.

    Raises:
        ConfigError: where the request, the grid or the folder cannot be worked with; nothing was started or written.
        StoreError: where the folder cannot be written; nothing was started.
    """
    request.check()
    plan = request.plan()
    specs, keys = plan.specs, plan.keys
    root = request.out if request.out is not None else Path("runs") / plan.name
    # Another machine has another working directory.
    store = RunStore(root if request.executor == "local" else root.absolute())
    there = store.check(keys)
    if request.dry_run:
        _print_plan(specs, store, there, as_json=request.as_json)
        return 0
    executor = _executor(request, specs, store, command)
    try:
        with Drivers(store.root) as drivers:
            store.create(
                ((spec.key, spec.canonical(), spec.evaluation.canonical()) for spec in specs),
                grid_text=plan.grid_text,
                grid_keys=keys,
                drivers=drivers,
            )
            return _drive(request, specs, store, executor, report)
    except KeyboardInterrupt:
        _say(f"interrupted; go on with:\n{request.command()}")
        return INTERRUPTED


def _executor(request: Request, specs: Sequence[TrialSpec], store: RunStore, command: Sequence[str]) -> Executor:
    """What runs the trials; raises ConfigError where there is not what is asked for."""
    return make_executor(
        request.executor,
        store.root,
        num_workers=request.workers,
        per_device=request.per_device,
        num_threads=max(spec.training.num_threads for spec in specs),
        command=command,
        ray_address=request.ray_address,
        slurm=request.slurm,
        say=_say,
    )


def _drive(request: Request, specs: Sequence[TrialSpec], store: RunStore, executor: Executor, report: Report) -> int:
    observer = watcher(as_json=request.as_json, stdout=sys.stdout, stderr=sys.stderr)
    driver = Driver(
        store, trials_of(specs, store), executor, observer,
        retry_failed=request.retry == "failed", hang_seconds=request.hang_seconds or None,
    )  # fmt: skip
    with observer:
        outcome = driver.run()
    return _finish(request, store, observer, outcome, report)


def _finish(request: Request, store: RunStore, observer: Observer, outcome: Outcome, report: Report) -> int:
    code = outcome.exit_code
    if outcome.error is not None:
        _say(str(outcome.error))
    resume = _resume(request, outcome)
    page: str | None = None
    try:
        page, text = report(store, outcome)
        if not request.as_json:
            sys.stdout.write(text)
            sys.stdout.flush()
    except Exception as error:  # Whatever it is, it must not hide that the trials are done.
        _say(f"the report could not be written: {type(error).__name__}: {error}\nThe results are kept in {store.root}.")
        code = code or 1
        resume = resume or shlex.join([*_program(), "report", str(store.root)])
    finished = outcome.done + outcome.failed
    observer.event(
        Event(
            event="end", finished=finished, total=outcome.total, done=outcome.done, failed=outcome.failed,
            report=page, resume=resume,
        )
    )  # fmt: skip
    if resume is not None:
        left = outcome.total - finished
        counts = [f"{outcome.done} of {outcome.total} trials done", f"{outcome.failed} failed", f"{left} not finished"]
        _say(f"{', '.join(counts)}; go on with:\n{resume}")
    return code


def _resume(request: Request, outcome: Outcome) -> str | None:
    if outcome.done == outcome.total:
        return None
    if outcome.done + outcome.failed < outcome.total or request.retry is not None:
        return request.command()
    return f"{request.command()} --retry failed"


def _print_plan(specs: Sequence[TrialSpec], store: RunStore, there: set[str], *, as_json: bool) -> None:
    out: TextIO = sys.stdout
    separator = '{"trials": ['
    for spec in specs:
        key = spec.key
        state = store.folder(key).status(spec.evaluation.canonical()).state if key in there else "pending"
        if as_json:
            # Piece by piece: at 100,000 trials the whole document is large.
            out.write(separator + json.dumps({"key": key, "spec": spec.canonical(), "status": state}))
            separator = ", "
        else:
            out.write(f"{key}  {state:<11}  {spec.training.steps} steps  {spec.label}\n")
    if as_json:
        out.write("]}\n")
    else:
        out.flush()
        _say(f"{len(specs)} trials for {store.root}; nothing was started")


def _program() -> list[str]:
    """How this program was called, in a form that works again."""
    called = Path(sys.argv[0])
    if called.name != "mmvae-bench":
        return [sys.executable, "-m", "mmvae_bench"]
    found = shutil.which(called.name)
    return [called.name if found is not None and Path(found).resolve() == called.resolve() else str(called)]


def _say(text: str) -> None:
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:
        pass  # The terminal is gone; the exit code still tells.
