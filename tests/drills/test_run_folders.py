"""Five hundred corruptions of a run folder; ``tests/fuzz/test_run_folders.py`` has a sample of others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ..fuzz.checks import check, check_report, numbers_of
from ..fuzz.run_folders import build_run, damage

NUM_CORRUPTIONS = 500
_GROUPS = 20


@pytest.mark.slow
@pytest.mark.parametrize("group", range(_GROUPS))
def test_damaged_files(group: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "whole" / "run"
    keys = build_run(root)
    whole = numbers_of(root)
    for number in range(1000 + group, 1000 + NUM_CORRUPTIONS, _GROUPS):
        run = shutil.copytree(root, tmp_path / str(number) / "run")
        damaged = damage(run, keys, number)
        try:
            check(run, keys, whole, damaged, capsys)
            if number % 3 == 0:
                check_report(run)
        except Exception as error:
            error.add_note(f"corruption {number}: {damaged}")
            raise
        shutil.rmtree(run)
