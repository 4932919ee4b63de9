"""What a SLURM job of a trial does on its node. submitit pickles it, loads it there and calls it."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

from submitit.helpers import DelayedSubmission

from ..runs.status import ATTEMPT_VARIABLE
from .executor import INTERRUPTED, Job
from .remote import Origin, Runner

RESTARTS_VARIABLE = "SLURM_RESTART_COUNT"


class SlurmJob:
    """Runs a job, and has it saved when SLURM wants the node back.

    SIGTERM (``scancel``, preemption) makes the job save and end. The signal that submitit asks SLURM for ahead of a
    time limit makes it save, and submitit then puts it into the queue again, where it goes on.

    Args:
        job: The job.
        origin: The driver's side.
        save_seconds: How long it may take to save before it is killed.
    """

    def __init__(self, job: Job, origin: Origin, *, save_seconds: float) -> None:
        self.job, self.origin, self.save_seconds = job, origin, save_seconds
        self._runner: Runner | None = None

    def __call__(self) -> int:
        """Runs the job to its end; gives its exit code."""
        self._runner = runner = Runner(self.origin)
        signal.signal(signal.SIGTERM, lambda *_: runner.stop(signal.SIGTERM))
        restarted = os.environ.get(RESTARTS_VARIABLE, "0") != "0"
        return runner.run(self._again() if restarted else self.job)

    def checkpoint(self) -> DelayedSubmission | None:
        """Has the job saved; gives what is to be run when its turn comes again, None where it is over meanwhile."""
        if self._runner is not None and self._runner.started:
            self._runner.stop(signal.SIGTERM)
            code = self._runner.join(self.save_seconds)
            if code not in INTERRUPTED and code != -signal.SIGKILL:
                return None
        return DelayedSubmission(SlurmJob(self._again(), self.origin, save_seconds=self.save_seconds))

    def _again(self) -> Job:
        # Which attempt it is, nobody has counted: SLURM starts it when it likes. The lock is enough.
        environment = {name: value for name, value in self.job.environment.items() if name != ATTEMPT_VARIABLE}
        return replace(self.job, environment=environment)
