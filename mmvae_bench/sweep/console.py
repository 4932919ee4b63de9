"""Those who watch a run: a live table on a terminal, plain lines elsewhere, one JSON object a line for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from .events import Event, Observer, Progress

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

_REFRESH_SECONDS = 0.5
_WORDS = {
    "preparing": "preparing data and classifier of",
    "prepared": "prepared data and classifier of",
    "prepare_failed": "could not prepare data and classifier of",
    "elsewhere": "waiting for another driver's",
    "retry": "ended early:",
    "hung": "hangs:",
}
_AT_REST = {"pending": "starting", "done": "done", "failed": "failed", "interrupted": "saved"}
"""What a trial does whose process runs, by a state other than running."""


def duration(seconds: float) -> str:
    """
    >>> duration(7.4), duration(75), duration(4020), duration(200_000)
    ('7.4 s', '75 s', '67 min', '55.6 h')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7170 else f"{seconds / 3600:.1f} h"


def describe(event: Event) -> list[str]:
    """An event as lines for people; none for what they need not see.

    >>> describe(Event(event="done", finished=3, total=6, label="telbo mnist_a/digits/iid seed 0", seconds=75.0))
    ['[3/6] done telbo mnist_a/digits/iid seed 0 in 75 s']
    """
    if event.event == "run":
        earlier = "".join(f", {n} {word} before" for n, word in ((event.done, "done"), (event.failed, "failed")) if n)
        return [f"{event.total} trials{earlier}"]
    if event.event == "end":
        return []
    if event.event == "stopping":
        return [event.message or "stopping"]
    line = f"[{event.finished}/{event.total}] {_WORDS.get(event.event, event.event)} {event.label}"
    if event.seconds is not None:
        line += f" {'in' if event.event in ('done', 'prepared') else 'after'} {duration(event.seconds)}"
    if event.message:
        line += f" ({event.message})"
    lines = [line, *(f"    {said}" for said in (event.error or "").splitlines())]
    return [*lines, f"    log: {event.log}"] if event.error and event.log else lines


class _Watcher:
    """An observer that sees nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def event(self, event: Event) -> None:
        """Something has changed."""

    def tick(self, progress: Callable[[], Progress]) -> None:
        """Time has passed."""


class PlainConsole(_Watcher):
    """One line a change.

    Args:
        stream: Where the lines go. That it can no longer be written to (a closed terminal) ends no run.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def event(self, event: Event) -> None:
        """Prints the event's lines."""
        with suppress(OSError, ValueError):
            self.stream.write("".join(f"{line}\n" for line in describe(event)))
            self.stream.flush()


class JsonConsole(_Watcher):
    """One JSON object a change and line."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def event(self, event: Event) -> None:
        """Prints the event."""
        with suppress(OSError, ValueError):
            self.stream.write(json.dumps(event.to_json()) + "\n")
            self.stream.flush()


class LiveConsole(_Watcher):
    """A table that is drawn anew twice a second, below the lines of what is over."""

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
        """Prints what is over above the table; what runs is in it."""
        if event.event in ("preparing", "running"):
            return
        from rich.text import Text

        bad = event.event in ("failed", "prepare_failed")
        style = "red" if bad else "yellow" if event.event in ("retry", "hung", "interrupted", "stopping") else ""
        if lines := describe(event):
            with suppress(OSError):
                self.live.console.print(Text("\n".join(lines), style=style), soft_wrap=True)

    def tick(self, progress: Callable[[], Progress]) -> None:
        """Draws the table, if the last drawing is old enough."""
        if time.monotonic() - self._drawn >= _REFRESH_SECONDS:
            with suppress(OSError):
                self.live.update(table_of(progress()), refresh=True)
            self._drawn = time.monotonic()


def table_of(progress: Progress) -> Group:
    """What runs, a row each, and the totals below."""
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
    for count, word in ((progress.waiting, "waiting"), (progress.elsewhere, "with other drivers")):
        if count:
            text.append(f", {count} {word}")
    text.append(f" after {duration(progress.seconds)}")
    if progress.stopping:
        text.append(", stopping", style="yellow")
    elif progress.seconds_left is not None:
        text.append(f", about {duration(progress.seconds_left)} left")
    return text


def watcher(*, as_json: bool, stdout: TextIO, stderr: TextIO) -> Observer:
    """Who watches a run: JSON on stdout where that is asked for, else the live table or plain lines on stderr."""
    if as_json:
        return JsonConsole(stdout)
    return LiveConsole(stderr) if stderr.isatty() else PlainConsole(stderr)
