"""The events of a run, and how they are shown: a live table on a terminal, plain lines elsewhere, JSON for programs.

rich is imported only for the live table.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TextIO

from ..base.printable import counted
from ..runs.status import Status

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

Kind = Literal[
    "run", "preparing", "prepared", "prepare_failed", "running", "elsewhere", "done", "failed", "retry", "hung",
    "interrupted", "stale", "held", "rehearsing", "other_code", "stopping", "killed", "end",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change.

    Attributes:
        event: run: the driver starts; preparing, prepared, prepare_failed: the preparation of a dataset and its
            classifier has begun, succeeded or failed; running: a trial starts; elsewhere: another driver is running it,
            and this one waits; done, failed, interrupted: how a trial ended; retry: it ended and will be retried; hung:
            it makes no progress and is being stopped; stale: other code has made it, and it is left alone; rehearsing:
            the first step of each objective is tried on made-up images; held: the waiting trials of an objective will
            not be started; other_code: drivers with other code work on the same folder; stopping: the driver was asked
            to stop; killed: processes that had not ended in time were killed; end: the driver has finished.
        finished: Number of trials that are done or failed so far.
        total: Number of trials in the run.
        key: The trial's key.
        label: Its human-readable name.
        seconds: How long it took.
        attempts: How many processes have worked on it.
        error: What went wrong, in one message.
        log: Where to read more.
        message: A remark.
        done: Number of trials that are done; with ``run`` and ``end``.
        failed: Number of trials that failed; with ``run`` and ``end``.
        stale: Number of trials that other code has made and that are left alone; with ``run`` and ``end``, if any are.
        held: Number of trials that were held back; with ``held`` and ``end``.
        report: Path of the report; with ``end``.
        resume: The command that resumes the run; with ``end``, if anything is left to do.
    """

    event: Kind
    finished: int
    total: int
    key: str | None = None
    label: str | None = None
    seconds: float | None = None
    attempts: int | None = None
    error: str | None = None
    log: str | None = None
    message: str | None = None
    done: int | None = None
    failed: int | None = None
    stale: int | None = None
    held: int | None = None
    report: str | None = None
    resume: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The event without what does not apply to it."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Running:
    """A job that runs now.

    Attributes:
        label: The trial's label, or what is being prepared.
        seconds: Time since it was started.
        status: The status that the trial reports; None for a preparation.
        seconds_left: Time that it will still take; None if unknown.
    """

    label: str
    seconds: float
    status: Status | None
    seconds_left: float | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        total: Number of trials in the run.
        done: Number of trials that are done.
        failed: Number of trials that failed.
        waiting: Number of trials that no process works on.
        elsewhere: Number of trials that another driver is running.
        running: The jobs that run here.
        seconds: Time since the driver started.
        seconds_left: Time until all trials are done; None if unknown.
        stopping: Whether the driver was asked to stop.
        held: Number of trials that are held back.
    """

    total: int
    done: int
    failed: int
    waiting: int
    elsewhere: int
    running: Sequence[Running]
    seconds: float
    seconds_left: float | None
    stopping: bool
    held: int = 0


class Observer:
    """Watches a run; this one ignores everything. Observers never raise: watching must not harm the run."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def event(self, event: Event) -> None:
        """Called when something has changed."""

    def tick(self, progress: Callable[[], Progress]) -> None:
        """Called several times per second; ``progress`` may be called to see how far the run is."""


_REFRESH_SECONDS = 0.5
_WORDS = {
    "preparing": "preparing data and classifier of",
    "prepared": "prepared data and classifier of",
    "prepare_failed": "could not prepare data and classifier of",
    "stale": "made by other code, left alone:",
    "elsewhere": "waiting for another driver to finish",
    "retry": "ended early:",
    "hung": "hung:",
    "held": "held back",
    "rehearsing": "trying a first step of",
}
_AT_REST = {"pending": "starting", "done": "done", "failed": "failed", "interrupted": "saved"}
"""What the table shows for a trial whose process is running but whose state is not ``running``."""


def duration(seconds: float) -> str:
    """A duration in human-readable form.

    >>> duration(7.4), duration(75), duration(4020), duration(200_000)
    ('7.4 s', '75 s', '67 min', '55.6 h')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7170 else f"{seconds / 3600:.1f} h"


def describe(event: Event) -> list[str]:
    """An event as lines of plain text; none if it is not worth showing.

    >>> describe(Event(event="done", finished=3, total=6, label="telbo mnist_a/digits/iid seed 0", seconds=75.0))
    ['[3/6] done telbo mnist_a/digits/iid seed 0 in 75 s']
    """
    if event.event == "run":
        counts = ((event.done, "done before"), (event.failed, "failed before"), (event.stale, "made by other code"))
        earlier = "".join(f", {n} {words}" for n, words in counts if n)
        return [f"{counted(event.total or 0, 'trial')}{earlier}", *([event.message] if event.message else [])]
    if event.event == "end":
        return []
    if event.event in ("other_code", "stopping", "killed"):
        return [event.message or event.event]
    line = f"[{event.finished}/{event.total}] {_WORDS.get(event.event, event.event)} {event.label}"
    if event.seconds is not None:
        line += f" {'in' if event.event in ('done', 'prepared') else 'after'} {duration(event.seconds)}"
    if event.message:
        line += f" ({event.message})"
    lines = [line, *(f"    {said}" for said in (event.error or "").splitlines())]
    return [*lines, f"    log: {event.log}"] if event.error and event.log else lines


class PlainConsole(Observer):
    """One line per change.

    Args:
        stream: Where the lines go. A stream that can no longer be written to (a closed terminal) does not end the run.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def event(self, event: Event) -> None:
        """Prints the event's lines."""
        with suppress(OSError, ValueError):
            self.stream.write("".join(f"{line}\n" for line in describe(event)))
            self.stream.flush()


class JsonConsole(Observer):
    """One JSON object per change, each on a line."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def event(self, event: Event) -> None:
        """Prints the event."""
        with suppress(OSError, ValueError):
            self.stream.write(json.dumps(event.to_json()) + "\n")
            self.stream.flush()


class LiveConsole(Observer):
    """A table that is redrawn twice a second, below the lines of what has ended."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self.live = Live(console=Console(file=stream), auto_refresh=False, transient=True)
        self._drawn = 0.0

    def __enter__(self) -> Self:
        with suppress(OSError):
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self.live.stop()

    def event(self, event: Event) -> None:
        """Prints what has ended above the table; what runs is in it."""
        if event.event in ("preparing", "running"):
            return
        from rich.text import Text

        bad = event.event in ("failed", "prepare_failed", "held")
        odd = event.event in ("retry", "hung", "interrupted", "stale", "other_code", "stopping", "killed")
        style = "red" if bad else "yellow" if odd else ""
        if lines := describe(event):
            with suppress(OSError):
                self.live.console.print(Text("\n".join(lines), style=style), soft_wrap=True)

    def tick(self, progress: Callable[[], Progress]) -> None:
        """Redraws the table, unless it was drawn a moment ago."""
        if time.monotonic() - self._drawn >= _REFRESH_SECONDS:
            with suppress(OSError):
                self.live.update(table_of(progress()), refresh=True)
            self._drawn = time.monotonic()


def table_of(progress: Progress) -> Group:
    """One row per running job, and the totals below."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name in ("trial", "stage", "step", "steps/s", "left"):
        table.add_column(name, justify="left" if name in ("trial", "stage") else "right", no_wrap=name != "trial")
    for item in progress.running:
        status = item.status
        stage, step, speed = "", "", ""
        if status is not None:
            working = status.state == "running"
            stage = " ".join(filter(None, (status.phase, status.stage))) if working else _AT_REST[status.state]
            step = f"{status.step}/{status.steps}" if status.steps else ""
            speed = f"{status.steps_per_second:.3g}" if status.steps_per_second else ""
        left = duration(item.seconds_left) if item.seconds_left is not None else ""
        table.add_row(Text(item.label), stage, step, speed, left)
    return Group(table, _totals(progress))


def _totals(progress: Progress) -> Text:
    from rich.text import Text

    text = Text(f"{progress.done} of {progress.total} done")
    if progress.failed:
        text.append(f", {progress.failed} failed", style="red")
    for count, word in (
        (progress.waiting, "waiting"),
        (progress.elsewhere, "with other drivers"),
        (progress.held, "held back"),
    ):
        if count:
            text.append(f", {count} {word}")
    text.append(f" after {duration(progress.seconds)}")
    if progress.stopping:
        text.append(", stopping", style="yellow")
    elif progress.seconds_left is not None:
        text.append(f", about {duration(progress.seconds_left)} left")
    return text


def watcher(*, as_json: bool, stdout: TextIO, stderr: TextIO) -> Observer:
    """The observer of a run: JSON on stdout if requested, else the live table or plain lines on stderr."""
    if as_json:
        return JsonConsole(stdout)
    return LiveConsole(stderr) if stderr.isatty() else PlainConsole(stderr)
