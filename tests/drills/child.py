"""``mmvae-bench`` for drills: the real commands, slower, with frequent checkpoints, and with a disk that can be full.

``python child.py PLAN_FILE COMMAND...``; the plan is :class:`tests.drills.support.Plan` as JSON. Nothing that is
changed here changes a number: the drills compare with trials that ran without it.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from mmvae_bench import cli
from mmvae_bench.cli import train

Write = Callable[[Any], object]


class FullDisk:
    """A file that takes a number of bytes and no more."""

    def __init__(self, file: IO[bytes], num_bytes: int) -> None:
        self.file, self.left = file, num_bytes

    def write(self, data: bytes) -> int:
        """Writes what still fits, and raises as the kernel does."""
        view = memoryview(data).cast("B")
        self.left -= self.file.write(view[: self.left])
        if len(view) > 0 and self.left == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return len(view)

    def flush(self) -> None:
        """What torch.save asks for."""
        self.file.flush()


def fill(name: str, *, nth: int, num_bytes: int) -> None:
    """The ``nth`` writing of files called ``name`` finds room for ``num_bytes`` only."""
    from mmvae_bench.base import files as module
    from mmvae_bench.training import checkpoint as user

    files: Any = module
    checkpoint: Any = user
    original, count = files.write_atomic, 0

    def write_atomic(path: Path, write: Write) -> None:
        nonlocal count
        count += path.name == name
        full = path.name == name and count == nth
        original(path, (lambda file: write(FullDisk(file, num_bytes))) if full else write)

    files.write_atomic = checkpoint.write_atomic = write_atomic


def slow_down(plan: dict[str, Any]) -> None:
    """Training and evaluation that take their time, say where they are at every step, and note it in the journal."""
    from mmvae_bench import trial as module
    from mmvae_bench.runs import status as trial_status

    trial: Any = module
    trial_status.STATUS_SECONDS = 0.0
    control, evaluating, write_samples = trial.Control, trial.StatusWriter.evaluating, trial.write_samples

    def slow_control(*, checkpoint: Path, progress: Callable[..., None], **others: Any) -> Any:
        journal = Path(plan["journal"]) / f"{checkpoint.parent.name}.jsonl"

        def slow_progress(stage: str, step: int, steps: int, rate: float) -> None:
            with journal.open("a") as file:
                file.write(json.dumps({"pid": os.getpid(), "step": step}) + "\n")
            progress(stage, step, steps, rate)
            time.sleep(plan["step_seconds"])

        others |= {"checkpoint_seconds": plan["checkpoint_seconds"]}
        return control(checkpoint=checkpoint, progress=slow_progress, **others)

    def slow_evaluating(self: Any, fitted: Any) -> None:
        evaluating(self, fitted)
        time.sleep(plan["evaluation_seconds"])

    def slow_samples(*arguments: Any, **others: Any) -> None:
        write_samples(*arguments, **others)
        time.sleep(plan["evaluation_seconds"])

    trial.Control = slow_control
    trial.StatusWriter.evaluating = slow_evaluating
    trial.write_samples = slow_samples


def main() -> int:
    """Runs the command line."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    run = train._run

    def run_changed(out: Path, *others: Any) -> None:
        # As late as the command imports torch itself: the lock comes first.
        slow_down(plan)
        fault = plan["full"].get(json.loads((out / "spec.json").read_text())["objective"]["name"])
        if fault is not None:
            fill(fault["file"], nth=fault["nth"], num_bytes=fault["num_bytes"])
        run(out, *others)

    train._run = run_changed
    return cli.main(sys.argv[2:])


if __name__ == "__main__":
    raise SystemExit(main())
