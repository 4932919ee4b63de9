"""A run, from a grid file or a W&B sweep file to a report: what ``mmvae-bench run`` and ``sweep --local`` do."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from ..base.canonical import content_hash
from ..base.errors import ConfigError, Problem, nearest
from ..base.files import cache_root, check_cache, write_json
from ..base.machine import package_fingerprint
from ..base.printable import counted
from ..base.processes import BAD_INPUT, FAILED, INTERRUPTED, StopSignals, interruptible, program
from ..metrics.protocols import PROTOCOL_RULES
from ..runs.lock import Drivers, LockHeld, TrialLock
from ..runs.names import EVALUATION_FILE, SPEC_FILE
from ..runs.stale import WhenStale, discard, staleness
from ..runs.store import FolderMoved, NoRoom, RunStore, writing
from ..specs.base import ComponentSpec
from ..specs.components import backbones, classifiers, datasets, objectives, questions
from ..specs.grid import expand, read_grid
from ..specs.labels import trial_labels
from ..specs.registry import Registry
from ..specs.sweeps import MAX_TRIALS, SweepFile, load_sweep
from ..specs.trial import TrialSpec
from .bayes import Proposals, Values
from .driver import Driver, Outcome
from .events import Event, Observer, watcher
from .executor import DEFAULT_GRACE, Executor
from .hang import DEFAULT_SECONDS
from .local import COMMAND, DEFAULT_ENVIRONMENT, LocalExecutor, crowding, local_slots
from .mates import MatesExecutor
from .rehearsal import Rehearsal
from .schedule import trials_of
from .sweep_grid import sweep_grid

EXECUTORS = ("local", "ray", "slurm")
"""The values of ``--executor``."""
RETRY = ("failed",)
"""The values of ``--retry``."""
MAX_WORKERS = 100_000
"""The largest ``--workers``."""
MAX_PER_DEVICE = 1_000
"""The largest ``--per-device``."""
MAX_TOGETHER = 1_000
"""The largest ``--together``."""

Report = Callable[[RunStore, Outcome], tuple[str | None, str]]
"""Writes the report at the end of a run; returns the path of the page, if one was made, and the text to print."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request amounts to.

    Attributes:
        name: The name of the run's folder, unless the request names one.
        specs: The trials to work on.
        keys: The keys of all trials that the folder may contain.
        grid_text: The grid file that describes them.
        more: Chooses further trials while others run; None: there are no others.
        refusal: The error for problems of trials, with the lines of the file where they are known.
    """

    name: str
    specs: Sequence[TrialSpec]
    keys: Set[str]
    grid_text: str
    more: Proposals | None = None
    refusal: Callable[[Sequence[tuple[TrialSpec, Problem]]], ConfigError] = lambda found: ConfigError(
        [problem for _, problem in found]
    )


def out_of_range(option: str, number: int | None, most: int) -> list[Problem]:
    """The problem of an option's number, if it has one."""
    if number is None or 1 <= number <= most:
        return []
    return [Problem(f"must be at least 1 and at most {most:,}", (option,), str(number))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user requested; the fields are the options of ``mmvae-bench run``."""

    grid: Path
    out: Path | None = None
    where: tuple[str, ...] = ()
    dry_run: bool = False
    as_json: bool = False
    executor: str = "local"
    workers: int | None = None
    per_device: int = 1
    hang_seconds: float = DEFAULT_SECONDS
    grace: float = DEFAULT_GRACE
    retry: str | None = None
    stale: WhenStale = "refuse"
    force: tuple[str, ...] = ()
    ray_address: str | None = None
    slurm: tuple[str, ...] = ()
    fail_fast: bool = False
    rehearsal: bool = True
    together: int = 1

    def check(self) -> None:
        """Raises ConfigError with every invalid option."""
        problems: list[Problem] = []
        for option, value, choices in (
            ("--executor", self.executor, EXECUTORS), ("--retry", self.retry, RETRY),
            ("stale", self.stale, get_args(WhenStale)),
        ):  # fmt: skip
            if value is not None and value not in choices:
                near = nearest(value, choices)
                problems.append(Problem(f"not available as {option}", (option,), repr(value), choices, near))
        if not problems:
            # SLURM allocates whole GPUs, or shares of its own (gres=shard:1).
            for option, takers, given in (
                ("--per-device", ("local", "ray"), str(self.per_device) if self.per_device != 1 else None),
                ("--together", ("local",), str(self.together) if self.together != 1 else None),
                ("--ray-address", ("ray",), self.ray_address),
                ("--slurm", ("slurm",), " ".join(self.slurm) or None),
            ):
                if given is not None and self.executor not in takers:
                    message = f"only valid with --executor {' or '.join(takers)}, not with {self.executor!r}"
                    problems.append(Problem(message, (option,), repr(given)))
        for option, number, most in (
            ("--workers", self.workers, MAX_WORKERS), ("--per-device", self.per_device, MAX_PER_DEVICE),
            ("--together", self.together, MAX_TOGETHER),
        ):  # fmt: skip
            problems += out_of_range(option, number, most)
        if not self.hang_seconds >= 0:
            message = "must be at least 0; 0 means no limit"
            problems.append(Problem(message, ("--hang-seconds",), str(self.hang_seconds)))
        if not self.grace >= 0:
            message = "must be at least 0; 0 means that trials are killed at once"
            problems.append(Problem(message, ("--grace",), str(self.grace)))
        if problems:
            raise ConfigError(problems)

    def plan(self) -> Plan:
        """Reads the grid; raises ConfigError if it is invalid."""
        grid, document = read_grid(self.grid)
        specs = expand(grid, where=self.where)
        keys = {spec.key for spec in (grid.trials if self.where else specs)}

        def refusal(found: Sequence[tuple[TrialSpec, Problem]]) -> ConfigError:
            return document.error([grid.located(problem, spec) for spec, problem in found])

        return Plan(grid.name, specs, keys, document.text, refusal=refusal)

    def again(self, copy: Path) -> Request:
        """The request that resumes this one if its file, a pipe, cannot be read again: from the run's copy."""
        return replace(self, grid=copy)

    def words(self) -> list[str]:
        """The words of the command line that say what to run."""
        return ["run", "--grid", str(self.grid)]

    def command(self) -> str:
        """The command line of this request, ready to paste into a shell."""
        words = [*program(), *self.words()]
        words += ["--out", str(self.out)] if self.out is not None else []
        words += [word for condition in self.where for word in ("--where", condition)]
        words += ["--executor", self.executor] if self.executor != "local" else []
        words += ["--ray-address", self.ray_address] if self.ray_address is not None else []
        words += [word for setting in self.slurm for word in ("--slurm", setting)]
        words += ["--workers", str(self.workers)] if self.workers is not None else []
        words += ["--per-device", str(self.per_device)] if self.per_device != 1 else []
        words += ["--together", str(self.together)] if self.together != 1 else []
        words += ["--hang-seconds", f"{self.hang_seconds:g}"] if self.hang_seconds != DEFAULT_SECONDS else []
        words += ["--grace", f"{self.grace:g}"] if self.grace != DEFAULT_GRACE else []
        words += ["--fail-fast"] if self.fail_fast else []
        words += [] if self.rehearsal else ["--no-rehearsal"]
        words += ["--retry", self.retry] if self.retry is not None else []
        words += [f"--{self.stale}"] if self.stale != "refuse" else []
        words += ["--json"] if self.as_json else []
        return shlex.join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRequest(Request):
    """What the user requested; the fields are the options of ``mmvae-bench sweep``, ``grid`` is the sweep file."""

    count: int | None = None

    def check(self) -> None:
        """Raises ConfigError with every invalid option."""
        if problems := out_of_range("--count", self.count, MAX_TRIALS):
            raise ConfigError(problems)
        # Not super(): a dataclass with slots is created anew, and super() would look for the old class.
        Request.check(self)

    def plan(self) -> Plan:
        """Reads the sweep file; raises ConfigError with everything that is wrong with it."""
        sweep = load_sweep(self.grid, count=self.count)
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", self.grid.stem).lstrip("._-") or "sweep"
        if sweep.search is not None:
            return self._search(sweep, name)
        return Plan(name, sweep.trials, {spec.key for spec in sweep.trials}, sweep_grid(sweep, name=name))

    def _search(self, sweep: SweepFile, name: str) -> Plan:
        """The trials that were chosen so far; of a new sweep, the first one."""
        assert sweep.search is not None

        def described(specs: Sequence[TrialSpec], num_drawn: int) -> str:
            return sweep_grid(replace(sweep, trials=tuple(specs), num_drawn=num_drawn), name=name)

        root = self.out if self.out is not None else Path("runs") / name
        more = Proposals(sweep.search, root, described)
        return Plan(name, more.specs, {spec.key for spec in more.specs}, more.grid_text(), more)

    def again(self, copy: Path) -> Request:
        """The request that resumes this one if its file, a pipe, cannot be read again: the copy is a grid."""
        options = {field.name: getattr(self, field.name) for field in fields(Request)}
        return Request(**options | {"grid": copy, "out": self.out or copy.parent})

    def words(self) -> list[str]:
        """The words of the command line that say what to run."""
        counted = [] if self.count is None else ["--count", str(self.count)]
        return ["sweep", "--local", str(self.grid), *counted]


def run(request: Request, *, report: Report, command: Sequence[str] = COMMAND, values: Values | None = None) -> int:
    """Runs a grid, or shows what would be run; returns the exit code.

    Args:
        request: What to do.
        report: Called at the end, when no trial is running any more.
        command: The command that starts ``mmvae-bench`` in a process of its own.
        values: The numbers of a finished trial by which method bayes chooses the next one.

    Raises:
        ConfigError: the request, the grid or the folder is invalid; nothing was started or written.
        StoreError: the folder cannot be written; nothing was started.
    """
    request.check()
    plan = request.plan()
    _check_known(plan.specs)
    root = request.out if request.out is not None else Path("runs") / plan.name
    # Another machine has another working directory.
    store = RunStore(root if request.executor == "local" else root.absolute())
    present = store.check(plan.keys)
    _check_forced(request.force, plan.specs)
    if request.dry_run:
        _print_plan(plan.specs, store, present, as_json=request.as_json)
        return 0
    executor = _executor(request, plan.specs, store.root, command)
    if request.executor == "local":
        # On a cluster, the nodes have folders of their own.
        _check_cache((spec for spec in plan.specs if spec.key not in present or not _is_done(spec, store)), command)
    try:
        with ExitStack() as held:
            rehearsal = _rehearsal(executor, command) if request.rehearsal else None
            if rehearsal is not None and request.executor == "local":
                _check_data(request, plan, store, present, rehearsal)
            drivers = held.enter_context(Drivers(store.root, code=package_fingerprint()))
            if plan.more is not None:
                held.enter_context(plan.more.begin(store, values))
            store.create(
                ((spec.key, spec.canonical(), spec.evaluation.canonical()) for spec in plan.specs),
                grid_text=plan.grid_text,
                grid_keys=plan.keys,
                drivers=drivers,
            )
            _force(request.force, store)
            _say_damages(request, plan.specs, store)
            if not request.grid.is_file():
                request = request.again(store.grid_path)
            observer = watcher(as_json=request.as_json, stdout=sys.stdout, stderr=sys.stderr)
            driver = Driver(
                store, trials_of(plan.specs, store), _mated(executor, request, plan), observer,
                retry_failed=request.retry == "failed", stale=request.stale, hang_seconds=request.hang_seconds or None,
                fail_fast=request.fail_fast, rehearse=rehearsal, more=plan.more, grace=request.grace,
            )  # fmt: skip
            with observer:
                _say_other_code(drivers, observer, request, total=len(plan.specs))
                outcome = driver.run()
            with interruptible():
                return _finish(request, store, observer, outcome, report)
    except KeyboardInterrupt:
        _say(f"interrupted; resume with:\n{request.command()}")
        return INTERRUPTED


def _say_other_code(drivers: Drivers, observer: Observer, request: Request, *, total: int) -> None:
    """Warns of drivers whose code differs from this one's: one comparison would be made by both."""
    if not drivers.others:
        return
    message = (
        f"{drivers.root}: drivers with other code work here too, or have while another one did: "
        f"{', '.join(drivers.others)}; this one is {drivers.code}\n"
        "  Trials will differ in their code, not only in their settings. Run all drivers from one copy of the code, or "
        "choose another folder with --out."
    )
    observer.event(Event(event="other_code", finished=0, total=total, message=message))
    if request.as_json:
        _say(message)


def _is_done(spec: TrialSpec, store: RunStore) -> bool:
    return store.folder(spec.key).is_done(spec.evaluation.canonical())


def _check_data(request: Request, plan: Plan, store: RunStore, present: Set[str], rehearsal: Rehearsal) -> None:
    """Raises ConfigError with what is wrong with the data of the trials that are to be run.

    Raises KeyboardInterrupt where the run is asked to stop, by whatever signal.
    """
    specs = [spec for spec in plan.specs if spec.key not in present or _is_wanted(spec, request, store)]
    if not specs:
        return
    # The process that reads has a session of its own: a signal that ended this one at once would leave it behind.
    with StopSignals() as signals:
        found = rehearsal.read_data(
            specs, lambda name: _say(f"making the images of {name}, which the trials share"), signals.requested
        )
    if signals.requested():
        raise KeyboardInterrupt
    # One broken file of many datasets is one problem, at the first of them.
    first: dict[tuple[str, str | None], tuple[TrialSpec, Problem]] = {}
    for spec, problem in found:
        first.setdefault((problem.message, problem.value), (spec, problem))
    if first:
        raise plan.refusal(list(first.values()))


def _is_wanted(spec: TrialSpec, request: Request, store: RunStore) -> bool:
    """Whether there is anything left to do for a trial that has a folder."""
    if spec.key in request.force:
        return True  # What there is of it is removed next: not for data that cannot be used.
    folder = store.folder(spec.key)
    state = folder.status(spec.evaluation.canonical()).state
    if request.stale == "retrain" and state != "running" and staleness(folder, folder.result_head()):
        return True
    return state in ("pending", "interrupted") or (state == "failed" and request.retry == "failed")


def _check_cache(specs: Iterable[TrialSpec], command: Sequence[str]) -> None:
    """Raises ConfigError if the cache cannot be written and lacks what a trial needs.

    What a trial needs is known only with torch: so a process prepares it, which writes nothing if everything is there.
    """
    try:
        check_cache()
        return
    except ConfigError as error:
        refused = error
    root = cache_root()
    empty = not root.is_dir() or not any(root.iterdir())
    for spec in {content_hash([spec.dataset.recipe(), spec.evaluation.canonical()]): spec for spec in specs}.values():
        if empty:
            raise refused
        _say(f"{root} cannot be written: checking that it has what {spec.dataset.name}/{spec.dataset.source} needs")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / SPEC_FILE
            write_json(path, spec.canonical())
            write_json(path.with_name(EVALUATION_FILE), spec.evaluation.canonical())
            words = [*command, "prepare", "--spec", str(path)]
            done = subprocess.run(words, env=DEFAULT_ENVIRONMENT | os.environ, capture_output=True)
        if done.returncode == BAD_INPUT:
            said = done.stderr.decode(errors="replace")
            raise ConfigError(said.partition("error: ")[2].rstrip() or str(refused))


def _executor(request: Request, specs: Sequence[TrialSpec], root: Path, command: Sequence[str]) -> Executor:
    """The executor of a request. Creating it starts and writes nothing.

    Raises:
        ConfigError: its library is not installed, its cluster does not respond, or there is no room for a trial.
    """
    num_threads = max(spec.training.num_threads for spec in specs)
    if request.executor == "ray":
        from .ray import RayExecutor, connect

        return RayExecutor(
            connect(request.ray_address),
            num_workers=request.workers,
            per_device=request.per_device,
            num_threads=num_threads,
            command=command,
        )
    if request.executor == "slurm":
        from .slurm import slurm_executor

        return slurm_executor(
            root, parameters=request.slurm, num_workers=request.workers, num_threads=num_threads, command=command
        )
    slots = local_slots(request.workers, per_device=request.per_device, num_threads=num_threads)
    if crowded := crowding(slots, num_threads=num_threads):
        _say(crowded)
    return LocalExecutor(slots, command=command)


def _mated(executor: Executor, request: Request, plan: Plan) -> Executor:
    """The executor, or one that does the seeds of a trial together."""
    if request.together == 1:
        return executor
    kinds = {spec.key: kind for spec in plan.specs if (kind := _kind(spec)) is not None}
    return MatesExecutor(executor, kinds, most=request.together)


def _kind(spec: TrialSpec) -> str | None:
    """Identifies the trials that differ from this one in nothing but the seed; None if they are trained alone."""
    if spec.dataset.domain != "images" or spec.training.together_obstacle is not None or not spec.training.steps:
        return None
    rest = {name: value for name, value in spec.canonical().items() if name != "seed"}
    return content_hash([rest, spec.evaluation.canonical()])


def _rehearsal(executor: Executor, command: Sequence[str]) -> Rehearsal:
    return Rehearsal(command, executor.beside if isinstance(executor, LocalExecutor) else None, _say)


def _finish(request: Request, store: RunStore, observer: Observer, outcome: Outcome, report: Report) -> int:
    code = outcome.exit_code
    moved = isinstance(outcome.error, FolderMoved)
    if outcome.error is not None and (not moved or request.as_json):
        _say(str(outcome.error))
    resume = _resume(request, outcome)
    page: str | None = None
    try:
        # Where the folder has gone, a report would make a new one; the driver's last event says what to do.
        page, text = report(store, outcome) if not moved else (None, "")
        if not request.as_json:
            sys.stdout.write(text)
            sys.stdout.flush()
    except Exception as error:  # Whatever it is, it must not hide that the trials are done.
        _say(f"the report could not be written: {type(error).__name__}: {error}\nThe results are kept in {store.root}.")
        code = code or FAILED
        resume = resume or shlex.join([*program(), "report", str(store.root)])
    finished = outcome.done + outcome.failed
    observer.event(
        Event(
            event="end", finished=finished, total=outcome.total, done=outcome.done, failed=outcome.failed,
            stale=outcome.stale or None, held=outcome.held or None, report=page, resume=resume,
        )
    )  # fmt: skip
    if outcome.changed:
        _say(
            f"the code has changed since this run began, and {counted(outcome.changed, 'trial')} that it had in part "
            "been made by are left as they were: --keep goes on with them by the code of now, --retrain makes them "
            "again; to finish them by the code that began them, bring that back; to have all trials by the code of "
            "now, begin in another folder (--out)"
        )
    if resume is not None and not moved:
        left = outcome.total - finished - outcome.stale
        counts = [f"{outcome.done} of {outcome.total} trials done", f"{outcome.failed} failed", f"{left} not finished"]
        counts += [f"{outcome.held} of them held back"] if outcome.held else []
        counts += [f"{outcome.stale} made by other code and left alone"] if outcome.stale else []
        if outcome.stale and not left:
            kept = replace(request, stale="keep").command()
            _say(f"{', '.join(counts)}; take them as they are, which reports will say, with:\n{kept}")
            _say(f"or train them again with:\n{resume}")
        else:
            _say(f"{', '.join(counts)}; resume with:\n{resume}")
    return code


def _resume(request: Request, outcome: Outcome) -> str | None:
    if outcome.done == outcome.total:
        return None
    # After a bug is mended, the trials that it ended are to be run again with those that were held back for it; those
    # that found the disk full, once there is room.
    bug = outcome.held or (outcome.failed and (request.fail_fast or isinstance(outcome.error, NoRoom)))
    if outcome.done + outcome.failed + outcome.stale < outcome.total and not bug:
        return request.command()
    if outcome.stale:
        return replace(request, stale="retrain").command()
    return request.command() if request.retry is not None else f"{request.command()} --retry failed"


def _check_known(specs: Sequence[TrialSpec]) -> None:
    """Raises ConfigError if a trial has a part that only this process knows: its own process would not find it."""
    seen: set[int] = set()
    problems = {}
    for spec in specs:
        evaluation = spec.evaluation
        parts: list[tuple[Registry[Any], ComponentSpec | None, str]] = [
            (objectives, spec.objective, "objective"), (backbones, spec.backbone, "backbone"),
            (datasets, spec.dataset, "dataset"), (classifiers, evaluation.classifier, "evaluation.classifier"),
            *((questions, each, "evaluation.questions") for each in evaluation.questions),
        ]  # fmt: skip
        for registry, part, where in parts:
            if part is None or id(part) in seen:
                continue
            seen.add(id(part))
            if registry.is_here_alone(part.name):
                problems[where, part.name] = _unknown_elsewhere(registry.kind, part.name, where)
        if id(evaluation) not in seen:
            seen.add(id(evaluation))
            for name in filter(PROTOCOL_RULES.is_here_alone, evaluation.protocols):
                problems["protocol", name] = _unknown_elsewhere("protocol", name, "evaluation.protocols")
    if problems:
        raise ConfigError(list(problems.values()))


def _unknown_elsewhere(kind: str, name: str, where: str) -> Problem:
    message = (
        f"this {kind} was registered by this process alone, and every trial runs in one of its own: give it an entry "
        "point in an installed package (docs/extending.md), or call mmvae_bench.run_trial for each trial, here"
    )
    return Problem(message, tuple(where.split(".")), repr(name))


def _check_forced(keys: Sequence[str], specs: Sequence[TrialSpec]) -> None:
    """Raises ConfigError if a key that is to be trained again is none of this request's."""
    known = [spec.key for spec in specs] if keys else []
    message = "no trial of this run has this key (`mmvae-bench status` lists them)"
    if missing := [key for key in keys if key not in known]:
        raise ConfigError([Problem(message, ("--force",), key, near=nearest(key, known)) for key in missing])


def _force(keys: Sequence[str], store: RunStore) -> None:
    """Removes what there is of the trials that are to be trained again, whoever made it."""
    for key in keys:
        directory = store.folder(key).directory
        try:
            with writing(store.root), TrialLock(directory):
                discard(directory, training=True)
        except LockHeld as error:
            raise ConfigError([Problem(f"{error}: stop it first", ("--force",), key)]) from None


def _say_damages(request: Request, specs: Sequence[TrialSpec], store: RunStore) -> None:
    """Names every result and weights that are not what was written, and says what becomes of them."""
    for spec in specs:
        folder = store.folder(spec.key)
        if (damage := folder.result_damage()) is None:
            continue
        failed = request.retry is None and folder.status(spec.evaluation.canonical()).state == "failed"
        other = request.stale == "refuse" and staleness(folder, folder.result_head())
        _say(f"{damage}: it is {'left alone' if failed or other else 'made again'}")


def _print_plan(specs: Sequence[TrialSpec], store: RunStore, present: Set[str], *, as_json: bool) -> None:
    out = sys.stdout
    separator = '{"trials": ['
    for spec, label in zip(specs, trial_labels(specs), strict=True):
        key = spec.key
        folder = store.folder(key)
        state = folder.status(spec.evaluation.canonical()).state if key in present else "pending"
        stale = str(staleness(folder, folder.result_head()) or "") if key in present and state != "running" else ""
        if as_json:
            # Piece by piece: for 100,000 trials the whole document is large.
            plain = {"key": key, "spec": spec.canonical(), "status": state} | ({"stale": stale} if stale else {})
            out.write(separator + json.dumps(plain))
            separator = ", "
        else:
            out.write(f"{key}  {state:<11}  {spec.training.steps} steps  {label}\n")
            if stale:
                out.write(f"    made by other code: {stale}\n")
    if as_json:
        out.write("]}\n")
    else:
        out.flush()
        _say(f"{counted(len(specs), 'trial')} for {store.root}; nothing was started")


def _say(text: str) -> None:
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:
        pass  # The terminal is gone; the exit code still says how the run ended.
