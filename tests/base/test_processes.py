"""Requests to stop are counted inside the block, and the handlers from before are back after it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from mmvae_bench.base.processes import StopSignals, handlers_kept

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
