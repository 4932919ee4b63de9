"""Jobs of one process: seeds of a trial that are trained together, for an executor that runs jobs one by one.

A driver starts one job per trial, and asks of each how it has ended. This executor collects jobs that may be done
together until the driver waits, and hands them to another executor as one; when that has ended, all of them have. So a
driver needs to know nothing of it, and a trial that is run again, alone, is a job like any other.

Two designs were weighed. A driver whose jobs have several trials would have to take apart, in each of its decisions
(retry, hang, hold back, lost machine), what concerns one of them. Here each decision is about one trial, as before, and
the trial's own files say what became of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from ..base.processes import FAILED
from ..runs.status import ATTEMPT_VARIABLE
from .executor import Ended, Executor, ExecutorError, Job


class MatesExecutor:
    """Runs jobs of the same kind together.

    Args:
        executor: Runs them.
        kinds: By the name of a job: jobs of one kind may be done by one process. A job without one is done alone.
        most: How many jobs a process does at most.
    """

    def __init__(self, executor: Executor, kinds: Mapping[str, str], *, most: int) -> None:
        self.executor, self.kinds, self.most = executor, kinds, most
        self._waiting: list[Job] = []
        self._members: dict[str, list[Job]] = {}
        self._not_begun: list[Ended] = []

    @property
    def num_slots(self) -> int:
        """How many jobs can run at the same time."""
        return self.executor.num_slots * self.most

    @property
    def num_free(self) -> int:
        """How many more jobs can be taken; 0 once a job waits that none of the free slots is for."""
        needed = sum(1 for _ in self._groups())
        if needed > self.executor.num_free:
            return 0
        return self.executor.num_free * self.most - len(self._waiting)

    def submit(self, job: Job) -> None:
        """Takes a job; it is started by the next :meth:`wait`, and one without a kind at once."""
        if job.name in self.kinds:
            self._waiting.append(job)
        else:
            self.executor.submit(job)

    def wait(self, timeout: float) -> list[Ended]:
        """Starts what waits, as far as there is room; then the jobs that have ended. See :class:`~.executor.Executor`.

        Raises:
            ExecutorError: jobs cannot be started; they are among the next to have ended.
        """
        self._start()
        found, self._not_begun = self._not_begun, []
        for ended in self.executor.wait(0 if found else timeout):
            members = self._members.pop(ended.job.name, [ended.job])
            found += [replace(ended, job=job, shared=len(members) > 1) for job in members]
        return found

    def under_way(self) -> Collection[str]:
        """The names of the jobs whose processes have started."""
        return [member for name in self.executor.under_way() for member in self._names(name)]

    def end(self, name: str, *, force: bool) -> bool:
        """Asks the process of one job, and so all that it does, to save and stop, or kills it."""
        return name not in {job.name for job in self._waiting} and self.executor.end(self._process(name), force=force)

    def withdraw(self, names: Collection[str]) -> None:
        """Withdraws jobs that wait here or in a queue, there together with those of the same process."""
        self._drop([job for job in self._waiting if job.name in names])
        self.executor.withdraw(sorted({self._process(name) for name in names}))

    def terminate(self) -> None:
        """Asks every running job to save and stop, and starts none of those that wait."""
        self._drop(self._waiting)
        self.executor.terminate()

    def kill(self) -> None:
        """Kills every running job, and starts none of those that wait."""
        self._drop(self._waiting)
        self.executor.kill()

    def _start(self) -> None:
        for jobs in self._groups():
            if not self.executor.num_free:
                return
            process = jobs[0] if len(jobs) == 1 else _one(jobs)
            try:
                self.executor.submit(process)
            except (OSError, ExecutorError) as error:
                self._drop(jobs)
                raise error if isinstance(error, ExecutorError) else ExecutorError(str(error)) from error
            self._members[process.name] = jobs
            self._waiting = [job for job in self._waiting if job not in jobs]

    def _drop(self, jobs: Sequence[Job]) -> None:
        """Lets jobs that wait end without having begun."""
        self._not_begun += [Ended(job, FAILED, began=False) for job in jobs]
        self._waiting = [job for job in self._waiting if job not in jobs]

    def _groups(self) -> Iterator[list[Job]]:
        """What waits, by process, in the order in which it came."""
        kinds: dict[str, list[Job]] = defaultdict(list)
        for job in self._waiting:
            kinds[self.kinds[job.name]].append(job)
        for jobs in kinds.values():
            for start in range(0, len(jobs), self.most):
                yield jobs[start : start + self.most]

    def _names(self, process: str) -> list[str]:
        return [job.name for job in self._members[process]] if process in self._members else [process]

    def _process(self, name: str) -> str:
        return next((process for process, jobs in self._members.items() if any(job.name == name for job in jobs)), name)


def _one(jobs: Sequence[Job]) -> Job:
    """The job of the process that does all of these: each trains one trial."""
    words = [word for job in jobs for word in ("--out", f"{job.environment[ATTEMPT_VARIABLE]}:{job.log.parent}")]
    keep = ("--keep",) if any("--keep" in job.arguments for job in jobs) else ()
    environment = {name: value for name, value in jobs[0].environment.items() if name != ATTEMPT_VARIABLE}
    return Job(jobs[0].name, ("train-together", *words, *keep), jobs[0].log, environment, pulse=jobs[0].pulse)
