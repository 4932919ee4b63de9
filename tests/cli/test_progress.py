"""What ``train`` shows while it works."""

from __future__ import annotations

import io
import itertools
import os
import time
from pathlib import Path

import pytest

from mmvae_bench.cli import progress
from mmvae_bench.cli.progress import image_lines, shown
from mmvae_bench.runs.status import Status, write_status

RUNNING = Status(state="running", phase="train", stage="fit", steps=100, steps_per_second=25.0)


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


def work(directory: Path, stream: io.StringIO, steps: range) -> None:
    """A trial that comes to these steps, one after the other, and then evaluates."""
    with shown(directory, stream):
        for step in steps:
            write_status(directory, Status(**{**_fields(RUNNING), "step": step}))
            time.sleep(0.03)
        write_status(directory, Status(**{**_fields(RUNNING), "step": 100, "phase": "evaluate"}))
        time.sleep(0.1)


def _fields(status: Status) -> dict[str, object]:
    return {name: getattr(status, name) for name in Status.__dataclass_fields__}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOOK_SECONDS", 0.005)


def test_a_terminal_gets_a_bar_with_stage_steps_speed_and_what_is_left(tmp_path: Path) -> None:
    stream = Terminal()
    work(tmp_path, stream, range(10, 60, 5))
    said = stream.getvalue()
    for part in ("training (fit)", "/100", "25 steps/s, ", "s left", "evaluating"):
        assert part in said


def test_elsewhere_there_are_plain_lines_for_each_tenth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    stream = io.StringIO()
    work(tmp_path, stream, range(1, 31))
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("training (fit), step ")
    assert lines[0].endswith(" of 100, 25 steps/s")
    assert lines[-1] == "evaluating, step 100 of 100, 25 steps/s"
    steps = [int(line.split()[3]) for line in lines[:-1]]
    assert all(later - earlier >= 10 for earlier, later in itertools.pairwise(steps))
    assert 2 <= len(lines) <= 5
    assert "\x1b" not in stream.getvalue()


def test_no_two_lines_within_ten_seconds(tmp_path: Path) -> None:
    assert progress.LINE_SECONDS == 10
    stream = io.StringIO()
    work(tmp_path, stream, range(0, 100, 10))
    assert stream.getvalue() == ""


def test_a_stream_that_is_gone_and_a_status_of_an_earlier_process_harm_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    write_status(tmp_path, RUNNING)
    stream = io.StringIO()
    with shown(tmp_path, stream):
        time.sleep(0.05)
    assert stream.getvalue() == ""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        work(tmp_path, closed, range(3))  # type: ignore[arg-type]
        with pytest.raises(BrokenPipeError):
            closed.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), closed.fileno())


def test_images_of_a_dataset_get_a_line_for_each_tenth_with_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(step=4)  # Every look at the clock is four seconds after the one before.
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    stream = io.StringIO()
    show = image_lines(stream)
    for done in range(50, 101, 2):  # An earlier command made 50.
        show(done, 100)
    lines = stream.getvalue().splitlines()
    # Third look, so after 12 s; 2 images in 4 s, 46 are left.
    assert lines[0] == "images: 54 of 100, about 92 s left"
    assert lines[1:] == [f"images: {done} of 100, about {2 * (100 - done)} s left" for done in (64, 74, 84, 94)]


def test_images_that_are_made_quickly_get_no_line() -> None:
    stream = io.StringIO()
    show = image_lines(stream)
    for done in range(101):
        show(done, 100)
    assert stream.getvalue() == ""


def test_a_first_line_comes_when_little_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    stream = io.StringIO()
    image_lines(stream)(1, 100_000)
    assert stream.getvalue() == "images: 1 of 100000\n"


def test_what_follows_in_the_same_command_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(step=20)
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    stream = io.StringIO()
    show = image_lines(stream)
    for done in (40, 100, 40, 100):  # Made, then written.
        show(done, 100)
    show(10, 20)
    assert stream.getvalue().splitlines() == [
        "images: 40 of 100", "images: 100 of 100", "images: 40 of 100", "images: 100 of 100", "images: 10 of 20"
    ]  # fmt: skip
