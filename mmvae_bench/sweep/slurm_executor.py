"""The SLURM executor, through submitit: one job array for what waits, and a list of what lies in the queue.

Jobs belong to SLURM: they go on where the driver is killed. The next driver finds those that run by their locks, and
those that wait by the list, and waits for them instead of putting them into the queue a second time.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base.errors import BenchmarkError
from .executor import INTERRUPTED, Ended, ExecutorError, Job
from .local import COMMAND
from .remote import Origin, look_afresh

MAX_ARRAY = 1000
"""Jobs of one array: SLURM's MaxArraySize is 1001 where nobody has changed it."""
LIST_FILE = "jobs.jsonl"
"""In submitit's folder: the name and number of every job that was submitted."""
_IN_QUEUE = ("PENDING", "CONFIGURING", "RUNNING", "REQUEUED", "REQUEUE_HOLD", "COMPLETING", "SUSPENDED")
_RUNS = "RUNNING"
_ASK_SECONDS = 60.0
"""How old SLURM's word on what runs may be. Left to itself, submitit asks it every ten minutes."""
_KILL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Submitted:
    job: Job
    queued: Any


class SubmititExecutor:
    """Runs jobs through one of submitit's executors.

    With ``arrays``, all jobs that wait are submitted together, at most :data:`MAX_ARRAY`, and the next ones when those
    are over: so ``num_workers`` is the limit of a run.

    Args:
        executor: Of submitit; its folder must be shared by all nodes.
        num_workers: Jobs at a time; with ``arrays`` the executor's own parameters see to that.
        arrays: Whether the jobs that wait are submitted as one array.
        save_seconds: How long a job may take to save before its time is up.
        command: What runs ``mmvae-bench``.
        poll_seconds: How often to look for jobs that are over.
    """

    def __init__(
        self,
        executor: Any,
        *,
        num_workers: int,
        arrays: bool,
        save_seconds: float = 60.0,
        command: Sequence[str] = COMMAND,
        poll_seconds: float = 0.2,
    ) -> None:
        self.executor, self.num_workers, self.arrays = executor, num_workers, arrays
        self.save_seconds, self.poll_seconds = save_seconds, poll_seconds
        self._origin = Origin.here(command)
        self._list = Path(executor.folder) / LIST_FILE
        self._earlier: dict[str, Any] | None = None
        self._batch: list[Job] = []
        self._running: dict[str, _Submitted] = {}
        self._ended: list[Ended] = []
        self._collecting = True
        self._looked = -math.inf
        self._asked = time.monotonic()
        self._killed: dict[str, float] = {}

    @property
    def num_slots(self) -> int:
        """How many jobs can run at the same time."""
        return self.num_workers

    @property
    def num_free(self) -> int:
        """How many more jobs are taken now."""
        if not self.arrays:
            return max(0, self.num_workers - len(self._running) - len(self._batch))
        return MAX_ARRAY - len(self._running) - len(self._batch) if self._collecting else 0

    def submit(self, job: Job) -> None:
        """Takes a job, which goes into the queue with the next :meth:`wait`, unless it is there already."""
        queued = self._find(job.name)
        if queued is None:
            self._batch.append(job)
        else:
            self._running[job.name] = _Submitted(job, queued)

    def wait(self, timeout: float) -> list[Ended]:
        """The jobs that are over; waits about ``timeout`` seconds. Raises ExecutorError where SLURM takes none."""
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
        """Those that run, as far as SLURM has told: it is asked every minute at least."""
        if self.arrays and time.monotonic() - self._asked >= _ASK_SECONDS:
            self._ask()
        return [name for name, submitted in self._running.items() if _state(submitted.queued) == _RUNS]

    def end(self, name: str, *, force: bool) -> bool:
        """Ends one job as :meth:`terminate` or :meth:`kill` does; not one that has gone back into the queue."""
        if (submitted := self._running.get(name)) is None:
            return True
        if self.arrays and not force:
            self._ask()
            if _state(submitted.queued) != _RUNS:
                return False
        self._kill([submitted]) if force else self._terminate([submitted])
        return True

    def terminate(self) -> None:
        """Takes back what waits in the queue, and asks what runs to save and end."""
        self._forget_batch()
        self._terminate(list(self._running.values()))

    def kill(self) -> None:
        """Ends every job; may be called again and again."""
        self._forget_batch()
        self._kill(list(self._running.values()))

    def _ask(self) -> None:
        """Has SLURM tell the state of every job. submitit goes by the clock on the wall, which may stand anywhere."""
        self._asked = time.monotonic()
        self.executor.job_class.watcher.update()

    def _terminate(self, jobs: Sequence[_Submitted]) -> None:
        if self.arrays:
            # Not a cancellation of what runs: that would give it half a minute, where SLURM is not told otherwise.
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
        from .slurm_job import SlurmJob  # Its module needs submitit.

        batch, self._batch = self._batch, []
        tasks = [SlurmJob(job, self._origin, save_seconds=self.save_seconds) for job in batch]
        try:
            for job in batch:
                job.log.parent.mkdir(parents=True, exist_ok=True)
            queued = self.executor.submit_array(tasks)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            self._ended += [Ended(job, -signal.SIGTERM, began=False) for job in batch]
            said = getattr(error, "stderr", None) or str(error)
            text = said.decode(errors="replace") if isinstance(said, bytes) else said
            raise ExecutorError(
                f"SLURM took no jobs: {text.strip()}\n  Its settings are --slurm NAME=VALUE."
            ) from error
        self._running |= {job.name: _Submitted(job, item) for job, item in zip(batch, queued, strict=True)}
        lines = [json.dumps({"name": job.name, "job_id": item.job_id}) for job, item in zip(batch, queued, strict=True)]
        try:
            with self._list.open("a") as file:
                file.write("".join(f"{line}\n" for line in lines))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise BenchmarkError(
                f"{self._list}: cannot write down what lies in SLURM's queue: {error.strerror or error}\n"
                "  The jobs are taken back; where the disk is full, free some space, then give the same command again."
            ) from error

    def _forget_batch(self) -> None:
        self._ended += [Ended(job, -signal.SIGTERM, began=False) for job in self._batch]
        self._batch = []

    def _find(self, name: str) -> Any:
        """The job of an earlier driver that is in the queue still; None where there is none."""
        if self._earlier is None:
            # All are made before the first is asked for its state: submitit then asks SLURM once for all.
            self._earlier = self._read_list() if self.arrays else {}
        queued = self._earlier.pop(name, None)
        if queued is None or _state(queued) not in _IN_QUEUE:
            return None
        return queued

    def _read_list(self) -> dict[str, Any]:
        numbers: dict[str, str] = {}
        with suppress(FileNotFoundError):
            for line in self._list.read_text().splitlines():
                with suppress(ValueError):  # The last line of a driver that was killed just here.
                    entry = json.loads(line)
                    numbers[entry["name"]] = entry["job_id"]
        jobs = {name: self.executor.job_class(self.executor.folder, number) for name, number in numbers.items()}
        return {name: job for name, job in jobs.items() if not job.paths.result_pickle.exists()}

    def _end(self, submitted: _Submitted) -> Ended:
        job, queued = self._running.pop(submitted.job.name).job, submitted.queued
        self._killed.pop(job.name, None)
        look_afresh(job.log.parent)
        if not queued.paths.result_pickle.exists():
            return self._unexplained(job, queued)
        try:
            code = int(queued.result())
        except Exception as error:  # Whatever the node had to say.
            with suppress(OSError), job.log.open("a") as log:
                log.write(f"SLURM job {queued.job_id}: {error}\n")
            return Ended(job, 1)
        return Ended(job, code, lost=code in INTERRUPTED)

    def _unexplained(self, job: Job, queued: Any) -> Ended:
        """The end of a job that could not say anything any more."""
        state = str(queued.state).upper()
        if state.startswith("OUT_OF_ME"):
            return Ended(job, -signal.SIGKILL)
        if state.startswith("FAILED"):
            with suppress(OSError), job.log.open("a") as log:
                log.write(f"SLURM job {queued.job_id} failed before it could begin: {queued.paths.stderr}\n")
            return Ended(job, 1)
        return Ended(job, -signal.SIGTERM, lost=True, began=queued.paths.stdout.exists())


def _state(queued: Any) -> str:
    """In one word of SLURM: "CANCELLED by 1000" has more."""
    return str(queued.state).split(" ")[0].upper()


def _cancel(jobs: Sequence[_Submitted], *options: str) -> None:
    if jobs:
        ids = [submitted.queued.job_id for submitted in jobs]
        subprocess.run(["scancel", *options, *ids], capture_output=True, check=False)
