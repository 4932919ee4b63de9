"""The SLURM executor, through submitit: one job array for the waiting jobs, and a list of what is in the queue.

Jobs belong to SLURM: they go on when the driver is killed. The next driver finds running ones by their locks and
waiting ones by the list, and waits for them instead of submitting them again. A driver holds a lock on its own folder
below the list, so that another one can tell the jobs of a driver that is gone, which it takes over, from those of a
driver that still waits for them, which it never withdraws.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
import unicodedata
import uuid
import weakref
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field

from ..base.errors import BenchmarkError, ConfigError, Problem, nearest
from ..base.files import DamagedFile, append_regular, read_json, read_text, tail, write_json
from ..base.processes import FAILED, LOCK_HELD, SAFE_PYTHON
from ..runs.lock import LockHeld, TrialLock, is_locked
from ..runs.names import STATUS_FILE
from ..runs.previous import record_failure
from ..runs.status import ATTEMPT_VARIABLE, Status, read_status
from .executor import INTERRUPTED, Ended, ExecutorError, Job
from .local import COMMAND
from .remote import Origin, Runner, look_afresh

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

INSTALL = "pip install 'mmvae-bench[slurm]'"
FOLDER = "slurm"
"""Folder in the run's folder for the files of submitit and the list of submitted jobs."""

_DEFAULTS = {"time": 240, "signal_delay_s": 120}
"""Minutes, seconds. A trial that needs more time saves ahead of the limit and continues in its next turn."""
_MAX_TURNS = 1000
MAX_IDLE_TURNS = 3
"""After how many turns in a row that end at the time limit where they began a trial has failed."""
_WHOLE_TURN = 0.8
"""The part of a turn that counts as all of it: before that, SLURM has given the node to another job."""
_SAVING_MARGIN = 10.0
_OURS = frozenset({"additional_parameters", "array_parallelism", "nodes", "ntasks_per_node", "num_gpus"})
"""Parameters of submitit that the user cannot set."""
_LISTS = frozenset({"setup", "srun_args", "teardown"})
_INTEGERS = frozenset({"signal_delay_s", "time"})

_WHOLE = re.compile("[0-9]{1,9}")
_NO_CONTROL = "has a control character, such as a line break: the rest would be a line of its own in the job script"

MAX_ARRAY = 1000
"""Maximum number of jobs in one array: SLURM's MaxArraySize is 1001 by default."""
LIST_FILE = "jobs.jsonl"
"""File in submitit's folder with the name and number of every submitted job."""
_IN_QUEUE = ("PENDING", "CONFIGURING", "RUNNING", "REQUEUED", "REQUEUE_HOLD", "COMPLETING", "SUSPENDED")
_RUNS = "RUNNING"
_ASK_SECONDS = 60.0
"""How old SLURM's job states may be. By default submitit asks for them every ten minutes."""
_KILL_SECONDS = 5.0
RESTARTS_VARIABLE = "SLURM_RESTART_COUNT"


def parse_parameters(assignments: Sequence[str], valid: Sequence[str]) -> dict[str, Any]:
    """The values of ``--slurm NAME=VALUE``, by their names in submitit.

    Raises:
        ConfigError: with every invalid one.

    >>> parse_parameters(["partition=gpu", "time=60", "setup=module load cuda"], ["partition", "setup", "time"])
    {'partition': 'gpu', 'time': 60, 'setup': ['module load cuda']}
    """
    names = tuple(sorted(set(valid) - _OURS))
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not text:
            problems.append(Problem("expected NAME=VALUE, such as partition=gpu", ("--slurm",), repr(assignment)))
        elif name == "array_parallelism":
            problems.append(Problem("set the number of parallel jobs with --workers", ("--slurm",), repr(assignment)))
        elif name not in names:
            problem = Problem("not a parameter of submitit", ("--slurm",), repr(name), names, nearest(name, names))
            problems.append(problem)
        elif _has_control(text):
            problems.append(Problem(_NO_CONTROL, ("--slurm",), repr(assignment)))
        elif name in _INTEGERS and not (_WHOLE.fullmatch(text) and int(text) > 0):
            unit = "minutes" if name == "time" else "seconds"
            message = f"{name} must be a number of {unit}, from 1 to 999999999"
            problems.append(Problem(message, ("--slurm",), repr(assignment)))
        elif name in _LISTS:
            values.setdefault(name, []).append(text)
        elif text.lower() in ("true", "false"):
            values[name] = text.lower() == "true"
        else:
            values[name] = int(text) if _WHOLE.fullmatch(text) else text
    if problems:
        raise ConfigError(problems)
    return values


def _has_control(text: str) -> bool:
    return any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in text)


def _check_folder(root: Path) -> None:
    """Raises ConfigError if the job script cannot name the run's folder."""
    text = str(root)
    message = _NO_CONTROL if _has_control(text) else "SLURM replaces % in the names of files" if "%" in text else None
    if message is not None:
        problem = Problem(f"{message}\n  Choose another folder for the run.", ("--out",), repr(text))
        raise ConfigError([problem])


def _check_time(settings: Mapping[str, Any]) -> None:
    """Raises ConfigError if the signal to save would have to come before the job begins."""
    delay = settings["signal_delay_s"]
    if isinstance(settings["time"], int) and delay >= 60 * settings["time"]:
        message = (
            f"signal_delay_s={delay} seconds before the end of time={settings['time']} minutes is before the "
            "beginning: no trial could save"
        )
        raise ConfigError([Problem(message, ("--slurm",))])


def slurm_executor(
    root: Path,
    *,
    parameters: Sequence[str] = (),
    num_workers: int | None = None,
    num_threads: int = 1,
    command: Sequence[str] = COMMAND,
) -> SubmititExecutor:
    """An executor that submits jobs to SLURM.

    Args:
        root: The run's folder, which must be shared by all nodes.
        parameters: ``NAME=VALUE``: parameters of submitit, by their names in sbatch.
        num_workers: Jobs of an array that run at the same time; None: SLURM's own limits.
        num_threads: CPU cores per job, unless set by the parameters.
        command: The command that starts ``mmvae-bench``.

    Raises:
        ConfigError: submitit is not installed, there is no SLURM here, or a parameter is invalid.
    """
    try:
        import submitit
    except ImportError:
        raise ConfigError(f"--executor slurm: submitit is not installed\n  {INSTALL}") from None
    values = parse_parameters(parameters, list(submitit.SlurmExecutor._valid_parameters()))
    _check_folder(root.absolute())
    missing = [name for name in ("sbatch", "srun", "sacct", "scancel") if shutil.which(name) is None]
    if missing:
        raise ConfigError(
            f"--executor slurm: no SLURM on this machine: {', '.join(missing)} not found\n"
            f"  Run the command on a login node of the cluster."
        )
    # A folder of its own for every driver, whose name nobody knows beforehand: a node unpickles what is in it.
    folder = root.absolute() / FOLDER / uuid.uuid4().hex[:12]
    python = f"{shlex.quote(SAFE_PYTHON[0])} {SAFE_PYTHON[1]}"
    executor = submitit.SlurmExecutor(folder, max_num_timeout=_MAX_TURNS, python=python)
    threads = {} if "cpus_per_gpu" in values else {"cpus_per_task": num_threads}
    settings = _DEFAULTS | {"job_name": f"mmvae-{root.name}"} | threads | values
    _check_time(settings)
    executor.update_parameters(
        **settings,
        array_parallelism=num_workers or MAX_ARRAY,
        additional_parameters={"requeue": True},  # If a node fails, SLURM itself restarts the job.
    )
    return SubmititExecutor(
        executor,
        num_workers=num_workers or MAX_ARRAY,
        arrays=True,
        save_seconds=max(1.0, float(settings["signal_delay_s"]) - _SAVING_MARGIN),
        turn_seconds=60.0 * settings["time"] - settings["signal_delay_s"],
        command=command,
        poll_seconds=2.0,
        list_path=folder.with_name(LIST_FILE),
    )


@dataclass(frozen=True, slots=True)
class _Submitted:
    job: Job
    queued: Any


class SubmititExecutor:
    """Runs jobs through one of submitit's executors.

    With ``arrays``, all waiting jobs are submitted together, at most :data:`MAX_ARRAY`, and the next ones when those
    have ended: so ``num_workers`` is the limit of a run.

    Args:
        executor: An executor of submitit; its folder must be shared by all nodes.
        num_workers: Jobs in parallel; with ``arrays``, the executor's own parameters enforce this.
        arrays: Whether the waiting jobs are submitted as one array.
        save_seconds: How long a job may take to save before its time is up.
        turn_seconds: How long a job has until it is asked to save.
        command: The command that starts ``mmvae-bench``.
        poll_seconds: How often to look for jobs that have ended.
        list_path: The list of what was submitted, also by earlier drivers; by default in the executor's folder.
    """

    def __init__(
        self,
        executor: Any,
        *,
        num_workers: int,
        arrays: bool,
        save_seconds: float = 60.0,
        turn_seconds: float = 0.0,
        command: Sequence[str] = COMMAND,
        poll_seconds: float = 0.2,
        list_path: Path | None = None,
    ) -> None:
        self.executor, self.num_workers, self.arrays = executor, num_workers, arrays
        self.save_seconds, self.turn_seconds, self.poll_seconds = save_seconds, turn_seconds, poll_seconds
        self._origin = Origin.here(command)
        self._list = list_path or Path(executor.folder) / LIST_FILE
        self._earlier: dict[str, Any] | None = None
        self._batch: list[Job] = []
        self._running: dict[str, _Submitted] = {}
        self._ended: list[Ended] = []
        self._collecting = True
        self._looked = -math.inf
        self._asked = time.monotonic()
        self._killed: dict[str, float] = {}
        self._alive: TrialLock | None = None

    @property
    def num_slots(self) -> int:
        """How many jobs can run at the same time."""
        return self.num_workers

    @property
    def num_free(self) -> int:
        """How many more jobs can be submitted now."""
        if not self.arrays:
            return max(0, self.num_workers - len(self._running) - len(self._batch))
        return MAX_ARRAY - len(self._running) - len(self._batch) if self._collecting else 0

    def submit(self, job: Job) -> None:
        """Accepts a job, which is queued at the next :meth:`wait`, unless it is in the queue already."""
        queued = self._find(job.name)
        if queued is None:
            self._batch.append(job)
        else:
            self._running[job.name] = _Submitted(job, queued)

    def wait(self, timeout: float) -> list[Ended]:
        """The jobs that have ended; waits about ``timeout`` seconds. Raises ExecutorError if SLURM rejects jobs."""
        self._submit_batch()
        if not self._ended:
            if time.monotonic() - self._looked >= self.poll_seconds:
                self._looked = time.monotonic()
                over = [submitted for submitted in self._running.values() if submitted.queued.done()]
                self._ended = [self._end(submitted) for submitted in over]
            if not self._ended:
                time.sleep(timeout)
        ended, self._ended = self._ended, []
        self._collecting = not self._running
        return ended

    def under_way(self) -> Collection[str]:
        """The running jobs, as reported by SLURM at most a minute ago."""
        if self.arrays and time.monotonic() - self._asked >= _ASK_SECONDS:
            self._ask()
        return [name for name, submitted in self._running.items() if _state(submitted.queued) == _RUNS]

    def end(self, name: str, *, force: bool) -> bool:
        """Ends one job as :meth:`terminate` or :meth:`kill` does, unless it has gone back into the queue."""
        if (submitted := self._running.get(name)) is None:
            return True
        if self.arrays and not force:
            self._ask()
            if _state(submitted.queued) != _RUNS:
                return False
        self._kill([submitted]) if force else self._terminate([submitted])
        return True

    def withdraw(self, names: Collection[str]) -> None:
        """Withdraws those of some jobs that wait in the queue; those that run, or are another driver's, go on."""
        self._ended += [Ended(job, -signal.SIGTERM, began=False) for job in self._batch if job.name in names]
        self._batch = [job for job in self._batch if job.name not in names]
        if self.arrays:
            meant = [self._running[name] for name in names if name in self._running]
            _cancel([submitted for submitted in meant if not self._is_foreign(submitted)], "--state=PENDING")

    def terminate(self) -> None:
        """Withdraws waiting jobs from the queue, and asks running ones to save and end."""
        self._forget_batch()
        self._leave_foreign()
        self._terminate(list(self._running.values()))

    def kill(self) -> None:
        """Kills every job; may be called repeatedly."""
        self._forget_batch()
        self._leave_foreign()
        self._kill(list(self._running.values()))

    def _is_foreign(self, submitted: _Submitted) -> bool:
        """Whether another driver has submitted a job and is still at work: it waits for the job's end."""
        folder = Path(submitted.queued.paths.folder)
        if not self.arrays or folder in (Path(self.executor.folder), self._list.parent):
            return False  # Jobs of earlier versions are in the list's own folder, which nobody locks.
        try:
            return is_locked(folder)
        except OSError:
            return True  # It cannot be told: a job too many in the queue is better than one that somebody waits for.

    def _leave_foreign(self) -> None:
        """Waits no longer for the jobs of other drivers, which go on."""
        for name, submitted in list(self._running.items()):
            if self._is_foreign(submitted):
                del self._running[name]
                self._ended.append(Ended(submitted.job, LOCK_HELD, began=False))

    def _say_alive(self) -> None:
        """Holds the lock of this driver's folder for as long as there is this executor."""
        if self._alive is None and self.arrays:
            folder = Path(self.executor.folder)
            folder.mkdir(parents=True, exist_ok=True)
            lock = TrialLock(folder)
            lock.__enter__()
            self._alive = lock
            weakref.finalize(self, lock.__exit__, None, None, None)

    def _ask(self) -> None:
        """Makes SLURM report the state of every job. submitit itself goes by the wall clock, which may jump."""
        self._asked = time.monotonic()
        self.executor.job_class.watcher.update()

    def _terminate(self, jobs: Sequence[_Submitted]) -> None:
        if self.arrays:
            # A plain scancel would by default leave running jobs half a minute to save.
            _cancel(jobs, "--state=PENDING")
            _cancel(jobs, "--state=RUNNING", "--signal=TERM")
        else:
            for submitted in jobs:
                if (process := getattr(submitted.queued, "_process", None)) is not None:
                    process.terminate()

    def _kill(self, jobs: Sequence[_Submitted]) -> None:
        now = time.monotonic()
        due = [item for item in jobs if now - self._killed.get(item.job.name, -math.inf) >= _KILL_SECONDS]
        self._killed |= dict.fromkeys((item.job.name for item in due), now)
        if self.arrays:
            _cancel(due)
        else:
            for submitted in due:
                submitted.queued.cancel(check=False)

    def _submit_batch(self) -> None:
        if not self._batch:
            return
        batch, self._batch = self._batch, []
        tasks = [
            SlurmJob(job, self._origin, save_seconds=self.save_seconds, turn_seconds=self.turn_seconds) for job in batch
        ]
        try:
            for job in batch:
                job.log.parent.mkdir(parents=True, exist_ok=True)
            self._say_alive()
            queued = self.executor.submit_array(tasks)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            self._ended += [Ended(job, -signal.SIGTERM, began=False) for job in batch]
            said = getattr(error, "stderr", None) or str(error)
            text = said.decode(errors="replace") if isinstance(said, bytes) else said
            raise ExecutorError(
                f"SLURM rejected the jobs: {text.strip()}\n  Its settings are given by --slurm NAME=VALUE."
            ) from error
        self._running |= {job.name: _Submitted(job, item) for job, item in zip(batch, queued, strict=True)}
        folder = Path(self.executor.folder).name
        lines = [
            json.dumps(
                {"name": job.name, "job_id": item.job_id, "folder": folder, "root": os.path.realpath(self._list.parent)}
            )
            for job, item in zip(batch, queued, strict=True)
        ]
        try:
            with append_regular(self._list) as file:
                file.write("".join(f"{line}\n" for line in lines).encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise BenchmarkError(
                f"{self._list}: cannot record the submitted SLURM jobs: {error.strerror or error}\n"
                "  The jobs are withdrawn. If the disk is full, free some space, then run the same command again."
            ) from error

    def _forget_batch(self) -> None:
        self._ended += [Ended(job, -signal.SIGTERM, began=False) for job in self._batch]
        self._batch = []

    def _find(self, name: str) -> Any:
        """The job of an earlier driver that is still in the queue; None if there is none."""
        if self._earlier is None:
            # All are created before the state of the first is read: submitit then asks SLURM once for all.
            self._earlier = self._read_list() if self.arrays else {}
        queued = self._earlier.pop(name, None)
        if queued is None or _state(queued) not in _IN_QUEUE:
            return None
        return queued

    def _read_list(self) -> dict[str, Any]:
        found: dict[str, tuple[str, str]] = {}
        with suppress(FileNotFoundError):
            for line in read_text(self._list).splitlines():
                with suppress(ValueError):  # The last line of a driver that was killed while writing it.
                    entry = _Listed.model_validate_json(line)
                    # In a copy of a run's folder the numbers are of jobs of the original, or of nobody's.
                    if entry.root in ("", os.path.realpath(self._list.parent)):
                        found[entry.name] = (entry.folder, entry.job_id)
        jobs = {
            name: self.executor.job_class(self._list.parent / folder, number)
            for name, (folder, number) in found.items()
        }
        return {name: job for name, job in jobs.items() if not job.paths.result_pickle.exists()}

    def _end(self, submitted: _Submitted) -> Ended:
        job, queued = self._running.pop(submitted.job.name).job, submitted.queued
        self._killed.pop(job.name, None)
        look_afresh(job.log.parent)
        if not queued.paths.result_pickle.exists():
            return self._unexplained(job, queued)
        # submitit's own result is a pickle, which could run anything here: only that it is there is of interest.
        try:
            code = read_json(_code_path(queued.paths.folder, queued.job_id))
        except (OSError, DamagedFile):
            code = None
        if not isinstance(code, int):
            said = "\n  ".join(["ended with an error:", *tail(queued.paths.stderr)])
            _note(job, f"SLURM job {queued.job_id} {said}")
            return Ended(job, 1)
        return Ended(job, code, lost=code in INTERRUPTED)

    def _unexplained(self, job: Job, queued: Any) -> Ended:
        """The end of a job that left no result."""
        state = str(queued.state).upper()
        if state.startswith("OUT_OF_ME"):
            return Ended(job, -signal.SIGKILL)
        if state.startswith("FAILED"):
            _note(job, f"SLURM job {queued.job_id} failed before it could begin: {queued.paths.stderr}")
            return Ended(job, 1)
        return Ended(job, -signal.SIGTERM, lost=True, began=queued.paths.stdout.exists())


class _Listed(BaseModel):
    """A line of the list of submitted jobs."""

    name: str
    job_id: Annotated[str, Field(pattern=r"^[0-9]+(_[0-9]+)?$")]
    folder: Annotated[str, Field(pattern=r"^[0-9a-f]*$")] = ""
    """Below the list's own folder; empty: that one, as in earlier versions."""
    root: str = ""
    """Where the list was when the line was written; empty: not known, as in earlier versions."""


def _leave_code(code: int) -> None:
    """On the node: leaves the exit code of the job that this process runs."""
    from submitit import JobEnvironment

    there = JobEnvironment()
    write_json(_code_path(there.paths.folder, there.job_id), code)


def _code_path(folder: Path, job_id: str) -> Path:
    """The file with a job's exit code."""
    return folder / f"{job_id}_code.json"


def _note(job: Job, text: str) -> None:
    with suppress(OSError, DamagedFile), append_regular(job.log) as log:
        log.write(f"{text}\n".encode(errors="backslashreplace"))


def _state(queued: Any) -> str:
    """The state as a single word: SLURM also reports "CANCELLED by 1000"."""
    return str(queued.state).split(" ")[0].upper()


def _cancel(jobs: Sequence[_Submitted], *options: str) -> None:
    if jobs:
        ids = [submitted.queued.job_id for submitted in jobs]
        subprocess.run(["scancel", *options, *ids], capture_output=True, check=False)


class SlurmJob:
    """Runs a job on its node, and makes it save when SLURM wants the node back. submitit pickles, loads and calls it.

    SIGTERM (``scancel``, preemption) makes the job save and end. The signal that submitit requests from SLURM ahead of
    a time limit makes it save, and submitit then requeues it, so that it continues later. What cannot be saved in part,
    such as an evaluation, begins anew in each turn: if it is longer than a turn, it never ends. So a trial fails after
    :data:`MAX_IDLE_TURNS` turns that have added nothing to its checkpoint.

    Args:
        job: The job.
        origin: The driver's side.
        save_seconds: How long it may take to save before it is killed.
        turn_seconds: How long a turn lasts. One that ends much sooner was preempted, and does not count.
        idle: How many turns in a row, before this one, have added nothing.
    """

    turn_seconds, idle = 0.0, 0  # Of a job that an earlier version has submitted.

    def __init__(
        self, job: Job, origin: Origin, *, save_seconds: float, turn_seconds: float = 0.0, idle: int = 0
    ) -> None:
        self.job, self.origin, self.save_seconds = job, origin, save_seconds
        self.turn_seconds, self.idle = turn_seconds, idle
        self._began, self._saved = 0.0, None  # type: float, int | None
        self._runner: Runner | None = None

    def __call__(self) -> int:
        """Runs the job to its end; returns its exit code, and leaves it in a file."""
        code = self._run()
        _leave_code(code)
        return code

    def _run(self) -> int:
        self._runner = runner = Runner(self.origin)
        signal.signal(signal.SIGTERM, lambda *_: runner.stop(signal.SIGTERM))
        self._began, self._saved = time.monotonic(), self._status().saved
        restarted = os.environ.get(RESTARTS_VARIABLE, "0") != "0"
        return runner.run(self._again() if restarted else self.job)

    def checkpoint(self) -> DelayedSubmission | None:
        """Makes the job save; returns what to run in its next turn, None if it has ended in the meantime."""
        from submitit.helpers import DelayedSubmission  # Loaded already: submitit itself runs this.

        if self._runner is not None and self._runner.started:
            self._runner.stop(signal.SIGTERM)
            code = self._runner.join(self.save_seconds)
            if code not in INTERRUPTED and code != -signal.SIGKILL:
                return None
        status, idle = self._status(), self.idle
        if status.saved != self._saved or status.phase not in ("train", "evaluate"):
            idle = 0  # While data are prepared, a turn adds to those, which are not the trial's.
        elif time.monotonic() - self._began >= _WHOLE_TURN * self.turn_seconds:
            idle += 1
        if idle >= MAX_IDLE_TURNS and self._fail(status, idle):
            return None
        again = SlurmJob(
            self._again(), self.origin, save_seconds=self.save_seconds, turn_seconds=self.turn_seconds, idle=idle
        )
        return DelayedSubmission(again)

    def _status(self) -> Status:
        """What the trial's own process has last said; nothing of a job that is no trial's."""
        pulse = self.job.pulse
        return read_status(pulse.parent) if pulse is not None and pulse.name == STATUS_FILE else Status()

    def _fail(self, status: Status, idle: int) -> bool:
        """Records that the time limit is too short for the trial; False if another process has it now."""
        directory = self.job.log.parent
        what = "evaluation" if status.phase == "evaluate" else "training up to its next checkpoint"
        error = (
            f"the {what} does not fit into SLURM's time limit: {idle} turns in a row ended at step "
            f"{status.saved or 0} of {status.steps}, where they began\n"
            "Raise the limit (--slurm time=MINUTES), then run it again (--retry failed)."
        )
        try:
            with TrialLock(directory):
                failed = replace(status.interrupted(), state="failed", error=error, error_type="TimeLimit")
                record_failure(directory, replace(failed, log=str(self.job.log), steps_per_second=None))
        except LockHeld:
            return False
        _leave_code(FAILED)
        return True

    def _again(self) -> Job:
        # Without the number of the attempt, which is unknown when SLURM itself restarts a job. The lock is enough.
        return replace(self.job, environment={**self.job.environment, ATTEMPT_VARIABLE: ""})
