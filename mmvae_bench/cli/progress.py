"""How far a trial is, or the images of a dataset, for the person who started it: a bar on a terminal, elsewhere a line
now and then.

What is shown of a trial is what it writes into its status file, so watching costs it nothing and changes nothing.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from ..runs.status import Status, read_status

if TYPE_CHECKING:
    from rich.progress import Progress

LOOK_SECONDS = 0.5
LINE_SECONDS = 10.0
LINE_FRACTION = 0.1
"""A line is at least so long after the one before, and so much of the steps further."""
_PHASES = {"prepare": "preparing the data", "train": "training", "evaluate": "evaluating"}


class _Display(Protocol):
    def show(self, status: Status) -> None: ...

    def close(self) -> None: ...


@contextmanager
def shown(directory: Path, stream: TextIO | None = None) -> Iterator[None]:
    """Shows on ``stream`` (stderr) how far the trial in ``directory`` is, as long as the block runs."""
    stream = sys.stderr if stream is None else stream
    display: _Display = _Bar(stream) if stream.isatty() else _Lines(stream)
    ended = threading.Event()
    before = read_status(directory).updated

    def watch() -> None:
        while not ended.wait(LOOK_SECONDS):
            with suppress(Exception):  # Whatever it is, showing must not harm the trial.
                status = read_status(directory)
                if status.updated != before and status.state == "running":
                    display.show(status)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with suppress(OSError, ValueError):
            display.close()


def words_of(status: Status) -> str:
    """
    >>> words_of(Status(phase="train", stage="fit"))
    'training (fit)'
    """
    phase = _PHASES.get(status.phase or "", "working")
    return f"{phase} ({status.stage})" if status.stage and status.phase == "train" else phase


class _Lines:
    """A line for every new phase, and for every tenth of the steps, never two within ten seconds."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._printed = time.monotonic()
        self._step, self._words = 0, ""

    def show(self, status: Status) -> None:
        now, words = time.monotonic(), words_of(status)
        further = status.step - self._step >= LINE_FRACTION * status.steps if status.steps else False
        if now - self._printed < LINE_SECONDS or not (further or words != self._words):
            return
        self._printed, self._step, self._words = now, status.step, words
        steps = f", step {status.step} of {status.steps}" if status.steps else ""
        speed = f", {status.steps_per_second:.3g} steps/s" if steps and status.steps_per_second else ""
        self.stream.write(f"{words}{steps}{speed}\n")
        self.stream.flush()

    def close(self) -> None:
        """Nothing is left to say: the command prints what came of it."""


def image_lines(stream: TextIO) -> Callable[[int, int], None]:
    """Takes how many images are done, of how many, and writes lines by the rules of a trial's; fewer than before, or of
    another number, begin anew, as where a command makes images and then writes them."""
    printed, shown_images, last = time.monotonic(), 0, (0, 0)
    started: tuple[float, int] | None = None

    def show(done: int, total: int) -> None:
        nonlocal printed, shown_images, last, started
        now = time.monotonic()
        if started is None or done < last[0] or total != last[1]:
            # Images that an earlier command made say nothing of the speed.
            started, shown_images = (now, done), 0
        last = done, total
        if now - printed < LINE_SECONDS or (shown_images and done - shown_images < LINE_FRACTION * total):
            return
        printed, shown_images = now, done
        seconds, images = now - started[0], done - started[1]
        left = f", about {(total - done) * seconds / images:.0f} s left" if images and done < total else ""
        with suppress(OSError, ValueError):
            stream.write(f"images: {done} of {total}{left}\n")
            stream.flush()

    return show


class _Bar:
    """A bar that is gone when the trial has ended."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
        )  # fmt: skip
        self.progress: Progress = Progress(
            *columns, console=Console(file=stream), transient=True, redirect_stdout=False
        )
        self.task = self.progress.add_task("starting", total=None, speed="")
        self.progress.start()

    def show(self, status: Status) -> None:
        rate = status.steps_per_second
        speed = f"{rate:.3g} steps/s" if rate else ""
        if rate and status.phase == "train":
            speed += f", {(status.steps - status.step) / rate:.0f} s left"
        total = status.steps or None
        self.progress.update(self.task, description=words_of(status), completed=status.step, total=total, speed=speed)

    def close(self) -> None:
        self.progress.stop()
