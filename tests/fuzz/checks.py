"""What must hold whatever a run folder has become."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from mmvae_bench.cli import main
from mmvae_bench.report import comparison as report
from mmvae_bench.report.gather import read_run
from mmvae_bench.report.html import render_html
from mmvae_bench.report.latex import render_latex
from mmvae_bench.report.markdown import render_markdown
from mmvae_bench.report.terminal import render_terminal

from .run_folders import COVERED, EARLY, SEALED

SECONDS = 5.0
OBEYED = ("\x1b", "\x9b", "\u202e", "\x07")
Numbers = dict[str, dict[Any, Any]]


@contextmanager
def prompt() -> Iterator[None]:
    """Fails if the block needs more than five seconds of this processor, or waits for ever."""

    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError("waits for something")

    before, start = signal.signal(signal.SIGALRM, late), time.process_time()
    signal.alarm(60)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert time.process_time() - start < SECONDS


def numbers_of(run: Path) -> Numbers:
    """Every number of the run's trials that are done."""
    record = read_run(run)
    done = [trial.key for trial in record.trials if trial.state == "done"]
    return {key: {question: score.to_json() for question, score in record.frames.scores(key).items()} for key in done}


def check(run: Path, keys: dict[str, str], whole: Numbers, damaged: tuple[str, str, str], capsys: Any) -> None:
    """No traceback, no wait, no escape, and no number that is another one."""
    trial, name, _ = damaged
    with prompt():
        assert main(["status", str(run)]) in (0, 2)
    with prompt():
        code = main(["verify", str(run)])
        assert code in (0, 1, 2)
        if trial == SEALED and name in COVERED and (run / "trials" / keys[trial] / name).is_file():
            assert code == 1, "unnoticed"
    with prompt():
        assert main(["compare", str(run), str(run)]) in (0, 1, 2)
    with prompt():
        found = numbers_of(run)
    for key, numbers in found.items():
        if key != keys[EARLY]:
            assert numbers == whole[key], "a number has changed silently"
    assert whole.keys() - found.keys() <= {keys[trial]}, "another trial is lost"
    printed = capsys.readouterr()
    assert not any(sign in text for sign in OBEYED for text in printed)


def check_report(run: Path) -> None:
    """The whole report, in every rendering."""
    with prompt():
        compared = report.compare(read_run(run))
        texts = {render(compared) for render in (render_terminal, render_markdown, render_latex, render_html)}
    for text in texts:
        assert not any(sign in text for sign in OBEYED)
        assert "<script>alert" not in text
        assert "root:x:0:0" not in text
