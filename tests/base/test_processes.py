"""Requests to stop are counted inside the block, and the handlers from before are back after it; a process that leaves
at once has lost nothing; imports without garbage collection."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from mmvae_bench.base.processes import SAFE_PYTHON, StopSignals, handlers_kept, interruptible, leave, uncollected

ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _same_handlers_afterwards() -> Iterator[None]:
    found = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # The tests may run under nohup, which ignores it.
    before = {number: signal.getsignal(number) for number in ALL}
    yield
    after = {number: signal.getsignal(number) for number in ALL}
    for number, handler in (before | {signal.SIGHUP: found}).items():
        signal.signal(number, handler)
    assert after == before


@pytest.mark.parametrize("number", ALL)
def test_signals_are_counted_and_not_obeyed(number: signal.Signals) -> None:
    with StopSignals() as signals:
        assert not signals.requested()
        signal.raise_signal(number)
        signal.raise_signal(number)
        assert signals.requested()
    assert signals.requests == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_that_interrupt(number: signal.Signals) -> None:
    handlers = [signal.getsignal(each) for each in ALL]
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(number)
    assert [signal.getsignal(each) for each in ALL] == handlers
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with interruptible():
        signal.raise_signal(signal.SIGHUP)
    assert signal.signal(signal.SIGHUP, before) == signal.SIG_IGN


def test_only_the_given_signals_are_caught() -> None:
    """A trial saves and stops at SIGINT and SIGTERM; SIGHUP keeps its own handler."""
    before = signal.getsignal(signal.SIGHUP)
    with StopSignals(signal.SIGINT, signal.SIGTERM) as signals:
        assert signal.getsignal(signal.SIGHUP) == before
        signal.raise_signal(signal.SIGTERM)
    assert signals.requests == 1


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopSignals() as signals:
        signal.raise_signal(signal.SIGHUP)
    assert signals.requests == 0
    signal.signal(signal.SIGHUP, before)


def test_another_thread_changes_no_handler() -> None:
    seen: list[object] = []

    def work() -> None:
        with StopSignals() as signals:
            seen.extend([*(signal.getsignal(number) for number in ALL), signals.requested()])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [*(signal.getsignal(number) for number in ALL), False]


def test_a_librarys_handler_of_sigterm_does_not_stay() -> None:
    with handlers_kept():
        signal.signal(signal.SIGTERM, lambda *_: None)


# What a process has to do at its end: buffered text of Python and of C, atexit. And what it need not do: __del__.
LEAVES = """
import atexit, ctypes, sys, threading, time
from mmvae_bench.base.processes import leave

class Module:
    def __del__(self):
        print("taken apart")

module = Module()
atexit.register(print, "at the end")
ctypes.CDLL(None).printf(b"printed in C\\n")
print("printed")
if "thread" in sys.argv:
    threading.Thread(target=lambda: (time.sleep(0.2), print("the thread is done"))).start()
leave(3)
"""


def leaving(*how: str) -> tuple[int, list[str]]:
    done = subprocess.run([*SAFE_PYTHON, "-c", LEAVES, *how], stdout=subprocess.PIPE, text=True, timeout=60)
    return done.returncode, sorted(done.stdout.splitlines())


@pytest.mark.in_check
def test_a_process_that_leaves_has_said_and_done_everything() -> None:
    assert leaving() == (3, ["at the end", "printed", "printed in C"])


@pytest.mark.in_check
def test_a_process_waits_for_its_threads() -> None:
    code, lines = leaving("thread")
    assert code == 3
    assert {"at the end", "printed", "printed in C", "the thread is done"} <= set(lines)


@pytest.mark.in_check
def test_output_that_cannot_be_written_is_no_clean_end() -> None:
    command = [*SAFE_PYTHON, "-c", "from mmvae_bench.base.processes import leave; print(1); leave(0)"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, env=environment)
    assert done.returncode == 120, "as with sys.exit"
    assert "No space left on device" in done.stderr


def test_an_end_with_a_thread_that_is_waited_for_is_an_ordinary_one() -> None:
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait)
    thread.start()
    try:
        with pytest.raises(SystemExit) as end:
            leave(7)
        assert end.value.code == 7
    finally:
        go_on.set()
        thread.join()


@pytest.mark.parametrize("enabled", [True, False])
def test_nothing_is_collected_in_the_block_nor_looked_at_after_it(enabled: bool) -> None:
    before = gc.isenabled()
    try:
        gc.enable() if enabled else gc.disable()
        with suppress(KeyError), uncollected():
            assert not gc.isenabled()
            made: list[object] = [{} for _ in range(1000)]
            raise KeyError
        assert gc.isenabled() == enabled
        assert gc.get_freeze_count() > len(made)
        assert not any(each is made for each in gc.get_objects())
    finally:
        gc.unfreeze()
        gc.enable() if before else gc.disable()


def test_a_signal_inside_of_two_blocks_is_known_to_both() -> None:
    """The outer one goes on after the inner one has ended."""
    with StopSignals(signal.SIGTERM) as outer:
        with StopSignals(signal.SIGTERM) as inner:
            os.kill(os.getpid(), signal.SIGTERM)
            assert inner.requested()
        assert outer.requests == 1
