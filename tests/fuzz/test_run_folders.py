"""Damaged and hostile run folders: read without a traceback, a wait, or a number that is another one.

A sample of the corruptions of ``tests/drills/test_run_folders.py``.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .checks import Numbers, check, check_report, numbers_of
from .run_folders import build_run, damage


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str], Numbers]:
    """The run, its keys and its numbers; not to be changed."""
    root = tmp_path_factory.mktemp("built") / "run"
    keys = build_run(root)
    return root, keys, numbers_of(root)


@pytest.mark.parametrize("number", range(30))
def test_a_damaged_file(
    number: int, built: tuple[Path, dict[str, str], Numbers], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, keys, whole = built
    run = shutil.copytree(root, tmp_path / "run")
    check(run, keys, whole, damage(run, keys, number), capsys)
    if number % 10 == 0:
        check_report(run)
