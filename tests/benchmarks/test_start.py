"""How long commands take to do what they are called for: what is counted, and when."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import start

BUSY = "import time\nwhile time.process_time() < {seconds}: pass\n"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_time_of_all_processes_counts_those_that_have_ended_too(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time, pathlib\n"
        f"subprocess.run([sys.executable, '-c', {BUSY.format(seconds=0.3)!r}])\n"
        f"running = subprocess.Popen([sys.executable, '-c', {BUSY.format(seconds=0.4)!r} + 'time.sleep(30)'], "
        "start_new_session=True)\n"
        "while not pathlib.Path(f'/proc/{running.pid}/wchan').exists(): pass\n"
        f"{BUSY.format(seconds=0.5)}"
        "time.sleep(30)\n"
    )
    before = start.processor_seconds(os.getpid())
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        deadline = time.monotonic() + 60
        # Rounded down to a hundredth for each process: 1.2 may never be reached.
        while start.processor_seconds(process.pid) <= 1.15 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)
        assert 1.15 < start.processor_seconds(process.pid) < 2.0
        assert start.processor_seconds(os.getpid()) - before >= 1.15
    finally:
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(child), 9)
        process.kill()
        process.wait()


def test_a_run_that_makes_no_step_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "GRID", start.GRID.replace("jmvae", "jmvea"))
    with pytest.raises(RuntimeError, match="unknown objective 'jmvea'"):
        start.first_step(tmp_path)


def test_commands_keep_what_they_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a terminal, whatever this process was told; where it is kept is for the user to say."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path / "cache"))
    (tmp_path / "imported.py").write_text("")
    start.whole([sys.executable, "-c", f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; import imported"])
    assert list((tmp_path / "cache").rglob("imported.*.pyc"))

    # A stand-in for the command says what it was given: no step is made.
    monkeypatch.setattr(start, "COMMAND", (sys.executable, "-c", "import os; print(dict(os.environ))"))
    with pytest.raises(RuntimeError, match="PYTHONPYCACHEPREFIX") as caught:
        start.first_step(tmp_path)
    assert "PYTHONDONTWRITEBYTECODE" not in str(caught.value)


def test_a_row_has_median_least_and_greatest() -> None:
    assert start.row("it", [(3.0, 6.0), (1.0, 5.0), (2.0, 9.0)]) == (
        "| it | 2.00 (1.00 to 3.00) | 6.00 (5.00 to 9.00) |"
    )
