"""A sample of damaged sources, caches and exports; ``make drills`` tries three hundred."""

from __future__ import annotations

from pathlib import Path

import pytest

from .corruption import WRITERS, corrupt

ROUNDS = 6


@pytest.mark.not_in_check
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_change_nothing_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = corrupt(tmp_path, monkeypatch, rounds=ROUNDS, seed=0)
    assert sum(outcomes.values()) == ROUNDS * len(WRITERS)
    assert not outcomes["a traceback"]
    assert outcomes["refused"] > 5
    assert outcomes["the same"] > 5
