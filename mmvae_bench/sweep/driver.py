"""The loop of a run: starts trials, longest first, learns how they end, and stops in good order when asked to."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..base.errors import BenchmarkError
from ..base.files import tail
from ..runs.lock import LockHeld, TrialLock
from ..runs.status import Status, read_status, write_status
from ..runs.store import RunStore, writing
from .events import Event, Kind, Observer, Progress
from .executor import Ended, Executor, ExecutorError, Job
from .hang import DEFAULT_SECONDS, HangWatch, end_holder
from .outcome import OUT_OF_MEMORY, settle, settle_orphan
from .progress import Started, measure
from .schedule import CostModel, Schedule
from .signals import StopSignals
from .trial import Trial

_TICK_SECONDS = 0.2
_LOOK_ELSEWHERE_SECONDS = 0.5
MAX_LOSSES = 5
"""Machines that a trial may lose before it is suspected of having ended them."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        total: Trials of the run.
        done: Trials with a result.
        failed: Trials that failed.
        stopped: Whether the driver was asked to stop, and left trials unfinished.
        error: Why the driver gave up; None where it did not.
        refused: Whether it gave up because no process could be started, the first one included.
    """

    total: int
    done: int
    failed: int
    stopped: bool
    error: BenchmarkError | None = None
    refused: bool = False

    @property
    def exit_code(self) -> int:
        """0 all done, 1 some not, 2 nothing could be started, 130 interrupted."""
        if self.stopped:
            return 130
        if self.refused:
            return 2
        return 0 if self.done == self.total else 1


class Driver:
    """Works through trials until each has a result or has failed.

    A trial that is done is skipped; one that failed before stays failed unless ``retry_failed``. Any number of drivers
    may work on one folder: a trial that another one has at the moment is waited for, and its result counts.

    A process that ends for want of memory, or that somebody else stops, is tried once more, after all others and
    alone. One whose sign of progress stands still for ``hang_seconds`` is ended and has failed; so is one that a driver
    which was killed has left behind on this machine.

    Args:
        store: The run's folder, with the folders of the trials in it.
        trials: The trials to work on.
        executor: What runs them.
        observer: Who is told.
        retry_failed: Try again what failed before.
        grace: Seconds for processes to save after the first request to stop.
        hang_seconds: How long a job may make no progress; None: for ever.
    """

    def __init__(
        self,
        store: RunStore,
        trials: Sequence[Trial],
        executor: Executor,
        observer: Observer,
        *,
        retry_failed: bool = False,
        grace: float = 30.0,
        hang_seconds: float | None = DEFAULT_SECONDS,
    ) -> None:
        self.store, self.trials, self.executor, self.observer = store, trials, executor, observer
        self.retry_failed, self.grace = retry_failed, grace
        self.costs = CostModel()
        self.schedule = Schedule(self.costs)
        self.preparations: deque[Trial] = deque()
        self.started: dict[str, Started] = {}
        self.elsewhere: dict[str, Trial] = {}
        self.hangs = HangWatch(hang_seconds)
        self.hung: dict[str, float] = {}
        self.num_done = self.num_failed = 0
        self.signals = StopSignals()
        self.error: BenchmarkError | None = None
        self.refused = self._any_began = False
        self._began = self._looked = time.monotonic()
        self._stop_by: float | None = None

    @property
    def stopping(self) -> bool:
        """Whether nothing more is to be started."""
        return self._stop_by is not None

    def run(self) -> Outcome:
        """Runs to the end, or until asked to stop."""
        with self.signals:
            try:
                self._loop()
            except BaseException:
                self.executor.terminate()
                raise
        unfinished = len(self.trials) - self.num_done - self.num_failed
        stopped = self.signals.requests > 0 and unfinished > 0
        return Outcome(len(self.trials), self.num_done, self.num_failed, stopped, self.error, self.refused)

    def progress(self) -> Progress:
        """How far the run is."""
        return measure(self, seconds=time.monotonic() - self._began)

    def _loop(self) -> None:
        self._plan()
        while True:
            self._heed_signals()
            self._launch()
            if not self.started and (self.stopping or not (len(self.schedule) or self.elsewhere)):
                return
            self.observer.tick(self.progress)
            for ended in self._wait():
                self._end(ended)
            self._look_elsewhere()
            self._end_the_hung()

    def _plan(self) -> None:
        waiting: list[Trial] = []
        failed: list[tuple[Trial, Status]] = []
        for trial in self.trials:
            status = trial.folder.status(trial.evaluation)
            trial.attempts = _attempts_before(trial, status)
            head = trial.folder.result_head() if trial.folder.result_path.exists() else None
            if status.state == "done":
                self.num_done += 1
                self._learn(trial, head)
            elif status.state == "failed" and status.attempts == 1 and status.error_type in OUT_OF_MEMORY:
                trial.retried = True  # The second try that an earlier driver did not come to make.
                self.schedule.add_alone(trial)
            elif status.state == "failed" and not self.retry_failed:
                self.num_failed += 1
                failed.append((trial, status))
            else:
                if head is not None:
                    trial.steps = 0  # Trained already: only its evaluation is asked for anew.
                waiting.append(trial)
        self._tell("run", done=self.num_done, failed=self.num_failed)
        for trial, status in failed:
            self._tell("failed", trial, status=status, message="in an earlier run: --retry failed tries it again")
        for trial in waiting:
            self.schedule.add(trial)
        self._plan_preparations(waiting)

    def _plan_preparations(self, waiting: Sequence[Trial]) -> None:
        # What only one trial needs, or what a single slot would have to wait for, the trial prepares itself.
        if self.executor.num_slots > 1:
            sharing: dict[str, list[Trial]] = {}
            for trial in waiting:
                sharing.setdefault(trial.recipe, []).append(trial)
            self.preparations.extend(trials[0] for trials in sharing.values() if len(trials) > 1)

    def _launch(self) -> None:
        while self.executor.num_free and not self.stopping and not any(item.alone for item in self.started.values()):
            if self.preparations:
                trial = self.preparations.popleft()
                self._submit(trial.prepare_job(self.store), trial, preparation=True)
                continue
            alone = False
            waiting = self.schedule.pop()
            if waiting is None and not self.started and not self.elsewhere:
                waiting, alone = self.schedule.pop_alone(), True
            if waiting is None:
                return
            if not self._taken(waiting):
                self._submit(waiting.train_job(), waiting, alone=alone)

    def _taken(self, trial: Trial) -> bool:
        """Whether another driver has the trial, or had it since this one last looked."""
        status = trial.folder.status(trial.evaluation)
        if status.state == "running":
            trial.attempts = _attempts_before(trial, status)
            self.elsewhere[trial.key] = trial
            self._tell("elsewhere", trial)
            return True
        if status.state == "done" or (status.state == "failed" and status.attempts > trial.attempts):
            self._close(trial, status)
            return True
        trial.attempts = status.attempts
        return False

    def _submit(self, job: Job, trial: Trial, *, preparation: bool = False, alone: bool = False) -> None:
        log_start = job.log.stat().st_size if job.log.exists() else 0
        try:
            with writing(self.store.root):
                if not preparation:
                    trial.folder.ask(trial.evaluation)
                self.executor.submit(job)
        except BenchmarkError as error:
            self._give_up(error)
            return
        self.started[job.name] = Started(job, trial, time.monotonic(), log_start, preparation, alone)
        if preparation:
            self._tell("preparing", label=trial.dataset)
        else:
            self._tell("running", trial, attempts=trial.attempts + 1)

    def _wait(self) -> list[Ended]:
        try:
            return self.executor.wait(_TICK_SECONDS)
        except BenchmarkError as error:
            self._give_up(error)
            return []

    def _end(self, ended: Ended) -> None:
        started = self.started.pop(ended.job.name)
        self._any_began |= ended.began
        trial, seconds = started.trial, time.monotonic() - started.since
        hang_seconds = self.hangs.seconds if self.hung.pop(ended.job.name, None) is not None else None
        if started.preparation:
            self._end_preparation(started, ended, seconds)
            return
        try:
            with writing(self.store.root):
                status = settle(
                    trial, ended, asked=self.stopping, log_start=started.log_start, hang_seconds=hang_seconds
                )
        except BenchmarkError as error:
            self._give_up(error)
            return
        if status is None:
            self.elsewhere[trial.key] = trial
            self._tell("elsewhere", trial)
        elif self._lost(ended, status) and trial.losses < MAX_LOSSES and not self.stopping:
            trial.losses += 1
            self.schedule.add(trial)
            self._tell("retry", trial, status=status, message="its machine went away: will go on elsewhere")
        elif self._worth_retrying(trial, status):
            self._retry(trial, status)
        else:
            self._close(trial, status, seconds=seconds)

    def _end_preparation(self, started: Started, ended: Ended, seconds: float) -> None:
        trial = started.trial
        if ended.returncode == 0:
            self._tell("prepared", label=trial.dataset, seconds=seconds)
        elif not self.stopping:
            # Its trials are started all the same: each fails with its own reason, or does better.
            error = "\n".join([ended.describe()[1], *tail(started.job.log, start=started.log_start)])
            self._tell("prepare_failed", label=trial.dataset, seconds=seconds, error=error, log=str(started.job.log))

    @staticmethod
    def _lost(ended: Ended, status: Status) -> bool:
        """Whether a job's machine went away from under it, or before it could begin."""
        return ended.lost and (status.state == "interrupted" or (not ended.began and status.state != "done"))

    def _worth_retrying(self, trial: Trial, status: Status) -> bool:
        if trial.retried or self.stopping:
            return False
        return status.state == "interrupted" or (status.state == "failed" and status.error_type in OUT_OF_MEMORY)

    def _retry(self, trial: Trial, status: Status) -> None:
        trial.retried, trial.attempts = True, status.attempts
        try:
            # Should this driver end before the second try, the next one makes it.
            with writing(self.store.root), TrialLock(trial.folder.directory):
                write_status(trial.folder.directory, replace(status, state="pending"))
        except LockHeld:
            pass
        except BenchmarkError as error:
            self._give_up(error)
        self.schedule.add_alone(trial)
        self._tell("retry", trial, status=status, message="will be tried once more, alone")

    def _close(self, trial: Trial, status: Status, *, seconds: float | None = None) -> None:
        if status.state == "done":
            self.num_done += 1
            self._learn(trial, trial.folder.result_head(), seconds if status.attempts == 1 else None)
            self._tell("done", trial, seconds=seconds, attempts=status.attempts)
        elif status.state == "failed":
            self.num_failed += 1
            self._tell("failed", trial, status=status, seconds=seconds)
        else:
            self._tell("interrupted", trial, seconds=seconds, attempts=status.attempts, message=status.error)

    def _learn(self, trial: Trial, head: dict[str, Any] | None, seconds: float | None = None) -> None:
        training, origin = ((head or {}).get(name) for name in ("training", "provenance"))
        here = seconds is not None
        if seconds is None and isinstance(training, dict):
            seconds = training.get("wall_seconds")
        if isinstance(seconds, int | float):
            kind = str(origin.get("device_name", "")) if isinstance(origin, dict) else ""
            self.costs.observe(trial.group, steps=trial.steps, seconds=float(seconds), kind=kind, here=here)

    def _look_elsewhere(self) -> None:
        now = time.monotonic()
        if self.stopping or now - self._looked < _LOOK_ELSEWHERE_SECONDS:
            return
        self._looked = now
        for trial in list(self.elsewhere.values()):
            status = trial.folder.status(trial.evaluation)
            if status.state == "running":
                continue
            if trial.key in self.hung and self.hangs.seconds is not None:
                try:
                    with writing(self.store.root):
                        settled = settle_orphan(trial, hang_seconds=self.hangs.seconds)
                except BenchmarkError as error:
                    self._give_up(error)
                    return
                if settled is None:
                    continue
                status = settled
                del self.hung[trial.key]
            del self.elsewhere[trial.key]
            if status.state == "done" or (status.state == "failed" and status.attempts > trial.attempts):
                self._close(trial, status)
            else:
                self.schedule.add(trial)

    def _end_the_hung(self) -> None:
        """Asks what no longer moves to save and stop, and ends it after the grace."""
        if self.hangs.seconds is None:
            return  # A cluster is not asked what runs, either.
        now = time.monotonic()
        pulses = {name: self.started[name].job.pulse for name in self.executor.under_way() if name in self.started}
        pulses |= {key: trial.folder.status_path for key, trial in self.elsewhere.items()}
        for name in self.hangs.look(now, {name: path for name, path in pulses.items() if path is not None}):
            if name not in self.hung and self._end_one(name, force=False):
                self.hung[name] = now + self.grace
        for name, end_by in self.hung.items():
            if now > end_by:
                self._end_one(name, force=True)

    def _end_one(self, name: str, *, force: bool) -> bool:
        started, elsewhere = self.started.get(name), self.elsewhere.get(name)
        if started is not None:
            if not self.executor.end(name, force=force):
                return False
        elif elsewhere is None or not end_holder(elsewhere.folder, force=force):
            return False
        if not force:
            message = f"no progress for {self.hangs.seconds:.0f} s: it is ended"
            if started is not None and started.preparation:
                self._tell("hung", label=f"data and classifier of {started.trial.dataset}", message=message)
            else:
                self._tell("hung", started.trial if started is not None else elsewhere, message=message)
        return True

    def _heed_signals(self) -> None:
        if self.signals.requests and self._stop_by is None:
            self._stop("asked to stop: running trials save and end; once more ends them at once")
        elif self._stop_by is not None and (self.signals.requests > 1 or time.monotonic() > self._stop_by):
            self.executor.kill()

    def _give_up(self, error: BenchmarkError) -> None:
        self.error = self.error or error
        if isinstance(error, ExecutorError) and not (self._any_began or self.executor.under_way()):
            self.refused = True
        if self._stop_by is None:
            self._stop(str(error))

    def _stop(self, message: str) -> None:
        self._stop_by = time.monotonic() + self.grace
        self._tell("stopping", message=message)
        self.executor.terminate()

    def _tell(self, event: Kind, trial: Trial | None = None, *, status: Status | None = None, **details: Any) -> None:
        if trial is not None:
            details |= {"key": trial.key, "label": trial.label}
        if status is not None:
            details |= {"attempts": status.attempts, "error": status.error, "log": status.log}
        finished = self.num_done + self.num_failed
        self.observer.event(Event(event=event, finished=finished, total=len(self.trials), **details))


def _attempts_before(trial: Trial, status: Status) -> int:
    """How many processes had worked on a trial before the one that works on it now, if there is one.

    A trial that fails elsewhere is then told from one that had failed before.
    """
    begun = status.state == "running" and read_status(trial.folder.directory).state == "running"
    return max(0, status.attempts - 1) if begun else status.attempts
