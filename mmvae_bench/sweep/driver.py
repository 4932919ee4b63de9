"""The loop of a run: starts trials, longest first, follows them to their end, and stops cleanly on request."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ..base.errors import BenchmarkError
from ..base.files import tail
from ..base.printable import counted
from ..base.processes import BAD_INPUT, FAILED, INTERRUPTED, StopSignals
from ..runs.held import note_held
from ..runs.lock import Anchor, LockHeld, TrialLock
from ..runs.stale import WhenStale, discard, staleness
from ..runs.status import Status, read_status, write_status
from ..runs.store import FolderMoved, NoRoom, RunStore, writing
from .events import Event, Kind, Observer, Progress
from .executor import DEFAULT_GRACE, Ended, Executor, ExecutorError, Job
from .forecast import forecast
from .hang import DEFAULT_SECONDS, HangWatch, end_holder
from .holding import Holds
from .outcome import disk_is_full, is_stale, lost, settle, settle_orphan, what_is_kept, worth_retrying
from .plan import attempts_before, plan_of
from .schedule import CostModel, Schedule, Trial

_TICK_SECONDS = 0.2
_LOOK_ELSEWHERE_SECONDS = 0.5
_AS_OTHERS = "others of its objective, or on its data, ended with an error that it would have too"
MAX_LOSSES = 5
"""How often the machine of one trial may fail before the trial itself is suspected of being the cause."""


Rehearsal = Callable[[Sequence[Trial], Callable[[], bool]], Mapping[str, str]]
"""Given trials, and whether to stop early: the objectives whose first step of training fails, each with the error."""


class More(Protocol):
    """Trials that are chosen while others run; see :class:`Driver`."""

    @property
    def left(self) -> int:
        """How many trials may still come."""

    def __call__(self) -> Sequence[Trial]:
        """The next trials, each with its folder; none: there are no more. May raise BenchmarkError."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        total: Number of trials in the run.
        done: Number of trials with a result.
        failed: Number of trials that failed.
        stale: Number of trials that other code has made, and that were therefore left alone.
        changed: Number of those among them that the driver had meant to run: the code has changed since it began.
        stopped: Whether the driver was asked to stop and left trials unfinished.
        error: Why the driver gave up; None if it did not.
        refused: Whether it gave up because no process could be started, not even the first one.
        held: Number of trials that were not started, since others of their objective failed with one error.
    """

    total: int
    done: int
    failed: int
    stopped: bool
    error: BenchmarkError | None = None
    refused: bool = False
    stale: int = 0
    held: int = 0
    changed: int = 0

    @property
    def exit_code(self) -> int:
        """0: all done, 1: some not, 2: nothing could be started, 130: interrupted."""
        if self.stopped:
            return INTERRUPTED
        if self.refused:
            return BAD_INPUT
        return 0 if self.done == self.total else FAILED


@dataclass(frozen=True, slots=True)
class _Started:
    """A job that has been started and has not ended.

    Attributes:
        job: The job.
        trial: Its trial, or the first of the trials that it prepares for.
        since: When it was started, on the monotonic clock, since the wall clock may jump.
        log_start: The size of its log then.
        preparation: Whether it prepares a dataset and classifier.
        alone: Whether nothing else may run at the same time.
    """

    job: Job
    trial: Trial
    since: float
    log_start: int
    preparation: bool
    alone: bool


class Driver:
    """Works through trials until each has a result or has failed.

    A trial that is done is skipped; one that failed before stays failed unless ``retry_failed``. Any number of drivers
    may work on one folder: a trial that another driver is running is waited for, and its result counts.

    A process that runs out of memory, or is stopped by someone else, is retried once, alone, after all other trials; so
    are the trials of a process that did several and said nothing of what ended it. A
    process that makes no progress for ``hang_seconds`` is stopped and its trial has failed, even if it was left behind
    on this machine by a driver that was killed.

    A bug in an objective would end all its trials, one after the other: once the same exception came from the same line
    of its code in two trials, those of its trials that have not begun are held back. Data that cannot be used would end
    all trials on them: once one trial has ended for that (its status says so), or the preparation that trials share
    with exit code 2, those with the same data that have not begun are held back.

    Args:
        store: The run's folder, with the folders of the trials in it.
        trials: The trials to work on.
        executor: Runs the trials.
        observer: Is notified of events.
        retry_failed: Whether to retry trials that failed before.
        stale: What to do with trials that other code has made.
        grace: Seconds that processes have to save after the first request to stop.
        hang_seconds: How long a job may make no progress; None: no limit.
        fail_fast: Whether to stop everything after the first trial that fails.
        rehearse: Tries the objectives of the trials that are to be trained, before anything is started; see
            :data:`Rehearsal`. None: nothing is tried.
        more: Asked for further trials whenever there is room and nothing waits; None: there are only ``trials``.
    """

    def __init__(
        self,
        store: RunStore,
        trials: Sequence[Trial],
        executor: Executor,
        observer: Observer,
        *,
        retry_failed: bool = False,
        stale: WhenStale = "refuse",
        grace: float = DEFAULT_GRACE,
        hang_seconds: float | None = DEFAULT_SECONDS,
        fail_fast: bool = False,
        rehearse: Rehearsal | None = None,
        more: More | None = None,
    ) -> None:
        self.store, self.trials, self.executor, self.observer = store, trials, executor, observer
        self.retry_failed, self.stale, self.grace = retry_failed, stale, grace
        self.costs = CostModel()
        self.schedule = Schedule(self.costs)
        self.preparations: deque[Trial] = deque()
        self.started: dict[str, _Started] = {}
        self.elsewhere: dict[str, Trial] = {}
        self.hangs = HangWatch(hang_seconds)
        self.hung: dict[str, float] = {}
        self.out_of_reach: set[str] = set()
        self._killed = False
        self.fail_fast, self.rehearse, self.more = fail_fast, rehearse, more
        self.holds = Holds()
        self.num_done = self.num_failed = self.num_stale = self.num_held = self.num_changed = 0
        self.signals, self.anchor = StopSignals(), Anchor(store.trials_root)
        self.error: BenchmarkError | None = None
        self.refused = self._any_began = False
        self._began = self._looked = time.monotonic()
        self._stop_by: float | None = None

    @property
    def stopping(self) -> bool:
        """Whether no more jobs are to be started."""
        return self._stop_by is not None

    @property
    def num_trials(self) -> int:
        """Trials of the run, with those that are still to be chosen."""
        return len(self.trials) + (self.more.left if self.more is not None else 0)

    def run(self) -> Outcome:
        """Works until all trials have ended, or until asked to stop."""
        with self.signals, self.anchor:
            try:
                self._loop()
            except BaseException:
                self.executor.terminate()
                raise
        unfinished = self.num_trials - self.num_done - self.num_failed - self.num_stale
        stopped = self.signals.requests > 0 and unfinished > self.num_held
        return Outcome(
            total=self.num_trials,
            done=self.num_done,
            failed=self.num_failed,
            stopped=stopped,
            error=self.error,
            refused=self.refused,
            stale=self.num_stale,
            held=self.num_held,
            changed=self.num_changed,
        )

    def progress(self) -> Progress:
        """How far the run is, from the status files of the running trials and the costs of those that have ended."""
        now = time.monotonic()
        jobs = [(started.trial, now - started.since, started.preparation) for started in self.started.values()]
        running, seconds_left = forecast(jobs, self.schedule, self.costs, num_slots=self.executor.num_slots)
        return Progress(
            total=self.num_trials,
            done=self.num_done,
            failed=self.num_failed,
            waiting=len(self.schedule),
            elsewhere=len(self.elsewhere),
            running=running,
            seconds=now - self._began,
            seconds_left=seconds_left,
            stopping=self.stopping,
            held=self.num_held,
        )

    def _loop(self) -> None:
        self._plan()
        while True:
            self._check_signals()
            self._check_folder()
            self._ask_more()
            self._launch()
            if not self.started and (self.stopping or not (len(self.schedule) or self.elsewhere)):
                return
            self.observer.tick(self.progress)
            for ended in self._wait():
                self._end(ended)
            self._look_elsewhere()
            self._stop_hung()

    def _plan(self) -> None:
        plan = plan_of(self.trials, retry_failed=self.retry_failed, when_stale=self.stale)
        for trial, head in plan.done:
            self.costs.learn(trial, head)
        for trial in plan.alone:
            self.schedule.add_alone(trial)
        self.num_done, self.num_failed, self.num_stale = len(plan.done), len(plan.failed), len(plan.stale)
        unknown = f"{plan.num_unknown} of them made before code was recorded: taken as they are"
        message = unknown if plan.num_unknown else None
        self._notify("run", done=self.num_done, failed=self.num_failed, stale=self.num_stale or None, message=message)
        for trial, found in plan.stale:
            self._notify("stale", trial, message=str(found))
        for trial, status in plan.failed:
            self._notify("failed", trial, status=status, message="in an earlier run; --retry failed runs it again")
        self._rehearse([trial for trial in plan.waiting if trial.steps])
        waiting = [trial for trial in plan.waiting if trial.group not in self.holds.groups or not trial.steps]
        for trial in waiting:
            self.schedule.add(trial)
        self._plan_preparations(waiting)

    def _rehearse(self, trials: Sequence[Trial]) -> None:
        """Holds the trials back whose first step fails on made-up images."""
        if self.rehearse is None or not trials:
            return
        names = sorted({trial.group[0] for trial in trials})
        count = f"{len(names)} objectives" if len(names) > 1 else f"objective {names[0]}"
        self._notify("rehearsing", label=count, message="on made-up images; --no-rehearsal leaves this out")
        for name, error in self.rehearse(trials, self.signals.requested).items():
            held = [trial for trial in trials if trial.group[0] == name]
            self.holds.groups |= {trial.group for trial in held}
            self._hold(held, "the first step of training fails", error)

    def _plan_preparations(self, waiting: Sequence[Trial]) -> None:
        # A trial that shares its data with no other prepares them itself. So do all trials if there is only one slot.
        if self.executor.num_slots > 1:
            sharing: dict[str, list[Trial]] = {}
            for trial in waiting:
                sharing.setdefault(trial.recipe, []).append(trial)
            self.preparations.extend(trials[0] for trials in sharing.values() if len(trials) > 1)

    def _ask_more(self) -> None:
        """Adds a trial that is chosen now, if one could start at once; none after an error that it would have too."""
        idle = not (self.stopping or self.holds or len(self.schedule) or self.preparations or self.elsewhere)
        if self.more is None or not idle or not self.executor.num_free:
            return
        try:
            with writing(self.store.root):
                found = self.more()
        except BenchmarkError as error:
            self._give_up(error)
            return
        self.trials = [*self.trials, *found]
        for trial in found:
            self.schedule.add(trial)

    def _launch(self) -> None:
        while self.executor.num_free and not any(item.alone for item in self.started.values()):
            self._check_folder()
            if self.stopping:
                return
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
            self._make_room(waiting)
            if not self._taken(waiting):
                self._submit(waiting.train_job(), waiting, alone=alone)

    def _make_room(self, trial: Trial) -> None:
        """Removes what other code has made, just before the trial is started: whatever waits is still there."""
        if trial.remake is None or self.error is not None:
            return
        folder = trial.folder
        try:
            with writing(self.store.root), TrialLock(folder.directory, wait=0):
                # Another driver may have made it again in the meantime.
                if found := staleness(folder, folder.result_head()):
                    discard(folder.directory, training=bool(found.training))
        except LockHeld:
            pass  # That process will tell what became of it.
        except BenchmarkError as error:
            self._give_up(error)

    def _taken(self, trial: Trial) -> bool:
        """Whether another driver has the trial, or has had it since this driver last looked."""
        status = trial.folder.status(trial.evaluation)
        if status.state == "running":
            trial.attempts = attempts_before(trial, status)
            self.elsewhere[trial.key] = trial
            self._notify("elsewhere", trial)
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
                    trial.folder.write_evaluation(trial.evaluation)
                self.executor.submit(job)
        except BenchmarkError as error:
            self._give_up(error)
            return
        self.started[job.name] = _Started(job, trial, time.monotonic(), log_start, preparation, alone)
        if preparation:
            self._notify("preparing", label=trial.dataset)
        else:
            self._notify("running", trial, attempts=trial.attempts + 1)

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
        self._check_folder()
        if isinstance(self.error, FolderMoved):
            return  # What became of it is not there to be read, nor is there a place to write it.
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
            self._notify("elsewhere", trial, message="it goes on; this driver stops" if self.stopping else None)
        elif is_stale(trial, ended, status):
            self.num_stale, self.num_changed = self.num_stale + 1, self.num_changed + 1
            said = "\n".join(tail(trial.folder.log_path, start=started.log_start))
            self._notify("stale", trial, message="the code has changed since this run began", error=said)
        elif trial in self.holds and status.state not in ("done", "failed") and not self.stopping:
            self._hold([trial], _AS_OTHERS)
        elif lost(ended, status) and trial.losses < MAX_LOSSES and not self.stopping:
            trial.losses += 1
            self.schedule.add(trial)
            self._notify("retry", trial, status=status, message="its machine was lost; will continue on another one")
        elif worth_retrying(trial, ended, status) and not self.stopping:
            self._retry(trial, status)
        else:
            self._close(trial, status, seconds=seconds)
            if status.state == "failed" and ended.returncode == BAD_INPUT and status.of_data:
                self._hold_data(lambda other: other.data == trial.data, trial, "a trial on them", _said(status))

    def _end_preparation(self, started: _Started, ended: Ended, seconds: float) -> None:
        trial = started.trial
        if ended.returncode == 0:
            self._notify("prepared", label=trial.dataset, seconds=seconds)
        elif not self.stopping:
            # Unless the data are to blame, its trials are started all the same: each one succeeds, or fails with an
            # error of its own.
            error = "\n".join([ended.describe()[1], *tail(started.job.log, start=started.log_start)])
            self._notify("prepare_failed", label=trial.dataset, seconds=seconds, error=error, log=str(started.job.log))
            if ended.returncode == BAD_INPUT:
                self._hold_data(lambda other: other.recipe == trial.recipe, trial, "their preparation", error)

    def _hold(self, trials: Sequence[Trial], reason: str, error: str | None = None, *, of: str | None = None) -> None:
        """Says that ``trials``, all of one objective or ``of`` something else, are not started: no queue has them."""
        self.num_held += len(trials)
        count = f"{counted(len(trials), 'trial')} of {of or f'objective {trials[0].group[0]}'}"
        self._notify("held", label=count, held=len(trials), message=reason, error=error)
        try:
            with writing(self.store.root):
                note_held(self.store.root, {trial.key for trial in trials}, "\n".join(filter(None, (reason, error))))
        except BenchmarkError as problem:
            self._give_up(problem)

    def _hold_data(self, shares: Callable[[Trial], bool], trial: Trial, what: str, error: str | None) -> None:
        """Holds the waiting trials back that share their data with one that could not use them."""
        self.holds.unusable |= {other.data for other in self.trials if shares(other)}
        waiting = self._withdraw()
        if waiting:
            self._hold(waiting, f"{what} failed: the data cannot be used", error, of=f"dataset {trial.dataset}")

    def _withdraw(self) -> list[Trial]:
        """Takes the trials that are held back out of all queues, and returns those that were only waiting."""
        waiting = self.schedule.withdraw(self.holds.__contains__)
        wanted = self.schedule.recipes()
        self.preparations = deque(other for other in self.preparations if other.recipe in wanted)
        queued = [name for name, started in self.started.items() if started.trial in self.holds]
        self.executor.withdraw([name for name in queued if not self.started[name].preparation])
        return waiting

    def _hold_if_again(self, trial: Trial, status: Status) -> None:
        """Holds an objective's waiting trials back if this failure is the second of its kind."""
        if self.holds.add_if_again(trial, status, self.trials) and (waiting := self._withdraw()):
            self._hold(waiting, "two of its trials ended with the same error", _said(status))

    def _retry(self, trial: Trial, status: Status) -> None:
        trial.retried, trial.attempts = True, status.attempts
        try:
            # If this driver ends before the retry, the next one makes it.
            with writing(self.store.root), TrialLock(trial.folder.directory):
                write_status(trial.folder.directory, replace(status, state="pending"))
        except LockHeld:
            pass
        except BenchmarkError as error:
            self._give_up(error)
        self.schedule.add_alone(trial)
        self._notify("retry", trial, status=status, message="will be retried once, alone")

    def _close(self, trial: Trial, status: Status, *, seconds: float | None = None) -> None:
        if status.state == "done":
            self.num_done += 1
            self.costs.learn(trial, trial.folder.result_head(), seconds=seconds if status.attempts == 1 else None)
            self._notify("done", trial, seconds=seconds, attempts=status.attempts)
        elif status.state == "failed":
            self.num_failed += 1
            self._notify("failed", trial, status=status, seconds=seconds, message=what_is_kept(trial))
            self._hold_if_again(trial, status)
            if disk_is_full(status) and not self.stopping:
                self._give_up(NoRoom(f"no room for what trials write: no other one is started\n{_said(status)}"))
            if self.fail_fast and not self.stopping:
                self._stop("stopping after the first failure (--fail-fast): running trials save and end")
        else:
            self._notify("interrupted", trial, seconds=seconds, attempts=status.attempts, message=status.error)

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
            elif trial in self.holds:
                self._hold([trial], _AS_OTHERS)
            else:
                self.schedule.add(trial)

    def _stop_hung(self) -> None:
        """Asks hung jobs to save and stop, and kills them after the grace period."""
        if self.hangs.seconds is None:
            return  # This also spares a cluster the question which jobs run.
        now = time.monotonic()
        pulses = {name: self.started[name].job.pulse for name in self.executor.under_way() if name in self.started}
        pulses |= {key: trial.folder.status_path for key, trial in self.elsewhere.items()}
        for name in self.hangs.look(now, {name: path for name, path in pulses.items() if path is not None}):
            if name not in self.hung and self._stop_one(name, force=False):
                self.hung[name] = now + self.grace
        for name, end_by in self.hung.items():
            if now > end_by:
                self._stop_one(name, force=True)

    def _stop_one(self, name: str, *, force: bool) -> bool:
        started, elsewhere = self.started.get(name), self.elsewhere.get(name)
        if started is not None:
            if not self.executor.end(name, force=force):
                return False
        elif elsewhere is None or not end_holder(elsewhere.folder, force=force):
            if elsewhere is not None:
                self._say_out_of_reach(elsewhere)
            return False
        if not force:
            message = f"no progress for {self.hangs.seconds:.0f} s; stopping it"
            if started is not None and started.preparation:
                self._notify("hung", label=f"data and classifier of {started.trial.dataset}", message=message)
            else:
                self._notify("hung", started.trial if started is not None else elsewhere, message=message)
        return True

    def _say_out_of_reach(self, trial: Trial) -> None:
        """Says once that a trial makes no progress and that its process is not one that could be ended from here."""
        if trial.key in self.out_of_reach:
            return
        self.out_of_reach.add(trial.key)
        status = read_status(trial.folder.directory)
        who = f"process {status.pid} on {status.host}" if status.pid and status.host else "a process"
        message = f"no progress for {self.hangs.seconds:.0f} s; by its status {who} works on it: end it there"
        self._notify("elsewhere", trial, message=message)

    def _check_signals(self) -> None:
        if self.signals.requests and self._stop_by is None:
            self._stop("asked to stop: running trials save and end; ask again (Ctrl-C) to kill them")
        elif self._stop_by is not None and (self.signals.requests > 1 or time.monotonic() > self._stop_by):
            if self.signals.requests <= 1 and self.started and not self._killed:
                count = counted(len(self.started), "process", "processes")
                message = (
                    f"{count} had not ended after {self.grace:g} s: killed; trials go on from their last checkpoint"
                )
                self._notify("killed", message=message)
            self._killed = True
            self.executor.kill()

    def _check_folder(self) -> None:
        if not isinstance(self.error, FolderMoved) and self.anchor.moved():
            self._give_up(FolderMoved(self.store.root))

    def _give_up(self, error: BenchmarkError) -> None:
        if isinstance(self.error, FolderMoved):
            return
        if self.anchor.moved():
            error = self.error = FolderMoved(self.store.root)  # Whatever has failed has failed for that.
            if self._stop_by is not None:
                self._notify("stopping", message=str(error))
        self.error = self.error or error
        if isinstance(error, ExecutorError) and not (self._any_began or self.executor.under_way()):
            self.refused = True
        if self._stop_by is None:
            self._stop(str(error))

    def _stop(self, message: str) -> None:
        self._stop_by = time.monotonic() + self.grace
        self._notify("stopping", message=message)
        self.executor.terminate()

    def _notify(self, event: Kind, trial: Trial | None = None, *, status: Status | None = None, **details: Any) -> None:
        if trial is not None:
            details |= {"key": trial.key, "label": trial.label}
        if status is not None:
            details |= {"attempts": status.attempts, "error": _said(status), "log": status.log}
        finished = self.num_done + self.num_failed
        self.observer.event(Event(event=event, finished=finished, total=self.num_trials, **details))


def _said(status: Status) -> str | None:
    """The error of a trial, and the line of its objective that it came from."""
    return f"{status.error}\nat {status.where}" if status.error and status.where else status.error
