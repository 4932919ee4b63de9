"""What people and programs see of a run."""

from __future__ import annotations

import io
import json

import pytest

from mmvae_bench.runs.status import Status
from mmvae_bench.sweep.events import (
    Event,
    JsonConsole,
    LiveConsole,
    PlainConsole,
    Progress,
    Running,
    describe,
    table_of,
    watcher,
)

FAILED = Event(event="failed", finished=2, total=6, key="0123", label="jvae [x]", error="nan\nat 3", log="a.log")
RUNNING = Status(state="running", phase="train", stage="fit", step=30, steps=100, steps_per_second=12.34)
PROGRESS = Progress(
    total=6, done=1, failed=1, waiting=2, elsewhere=1, seconds=30.0, seconds_left=400.0, stopping=False,
    running=[Running("telbo [bold]", 5.0, RUNNING, 70.0), Running("data", 1.0, None, None)],
)  # fmt: skip


def drawn(progress: Progress) -> str:
    """The table as text."""
    from rich.console import Console

    stream = io.StringIO()
    Console(file=stream, width=120).print(table_of(progress))
    return stream.getvalue()


def test_a_failure_says_why_and_where_to_read_more() -> None:
    assert describe(FAILED) == ["[2/6] failed jvae [x]", "    nan", "    at 3", "    log: a.log"]


def test_plain_lines() -> None:
    stream = io.StringIO()
    console = PlainConsole(stream)
    console.event(Event(event="run", finished=1, total=6, done=1, failed=0))
    console.event(Event(event="running", finished=1, total=6, label="jvae"))
    console.event(Event(event="done", finished=2, total=6, label="jvae", seconds=75.2))
    console.event(Event(event="end", finished=2, total=6))
    console.tick(lambda: pytest.fail("nobody looks"))
    assert stream.getvalue() == "6 trials, 1 done before\n[1/6] running jvae\n[2/6] done jvae in 75 s\n"


def test_json_lines() -> None:
    stream = io.StringIO()
    console = JsonConsole(stream)
    console.event(FAILED)
    assert json.loads(stream.getvalue()) == {
        "event": "failed", "finished": 2, "total": 6, "key": "0123", "label": "jvae [x]", "error": "nan\nat 3",
        "log": "a.log",
    }  # fmt: skip


def test_the_table_shows_what_runs_and_the_totals() -> None:
    text = drawn(PROGRESS)
    for part in ("telbo [bold]", "train fit", "30/100", "12.3", "70 s", "1 of 6 done, 1 failed", "2 waiting",
                 "1 with other drivers", "after 30 s", "about 7 min left"):  # fmt: skip
        assert part in text


def test_the_live_table_draws_failures_in_red_above_it() -> None:
    from rich.console import Console

    stream = io.StringIO()
    console = LiveConsole(stream)
    console.live.console = Console(file=stream, force_terminal=True, width=120, color_system="standard")
    with console:
        console.event(FAILED)
        console.tick(lambda: PROGRESS)
        console.tick(lambda: pytest.fail("drawn a moment ago"))
    text = stream.getvalue()
    assert "\x1b[31m[2/6] failed jvae [x]" in text
    assert "30/100" in text


class Gone(io.StringIO):
    """A terminal that was closed."""

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


def test_a_terminal_that_is_gone_ends_no_run() -> None:
    PlainConsole(Gone()).event(FAILED)
    JsonConsole(Gone()).event(FAILED)


def test_who_watches() -> None:
    stdout, stderr = io.StringIO(), io.StringIO()
    assert isinstance(watcher(as_json=True, stdout=stdout, stderr=stderr), JsonConsole)
    assert isinstance(watcher(as_json=False, stdout=stdout, stderr=stderr), PlainConsole)
