"""A run of stub trials for every test."""

from __future__ import annotations

from pathlib import Path

import pytest

from .support import StubRun


@pytest.fixture
def stub(tmp_path: Path) -> StubRun:
    """Three trials that take no time and succeed, unless the test changes that."""
    return StubRun(tmp_path)
