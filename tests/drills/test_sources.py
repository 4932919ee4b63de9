"""Three hundred damaged photographs, digits, lists, shards and exports."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.corruption import WRITERS, corrupt

from ..closing import SEED

pytestmark = [pytest.mark.not_in_check, pytest.mark.slow]
ROUNDS = 43


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_change_nothing_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = corrupt(tmp_path, monkeypatch, rounds=ROUNDS, seed=SEED + 1)
    assert sum(outcomes.values()) == ROUNDS * len(WRITERS) > 300
    assert not outcomes["a traceback"]
    assert min(outcomes["refused"], outcomes["the same"]) > 30, outcomes
    assert outcomes["made again"] > 0, outcomes
