"""A cache that cannot be written: said before anything starts, with the variable to set, unless it has everything.

/proc takes no files, not even the superuser's: as a cache it is one that cannot be written and is not empty.
"""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

import pytest

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.base.files import CACHE_VARIABLE, cache_root, data_root
from mmvae_bench.cli import main
from mmvae_bench.data.cache import build_once
from mmvae_bench.data.shards.prepare import prepare_store
from mmvae_bench.sweep import run as run_module
from mmvae_bench.sweep.run import Request

from ..data.shards.squares import Squares
from .support import StubRun, no_report

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
USED = "/proc/self/task"


@pytest.fixture
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """HOME is where nothing can be written: below a file."""
    home = tmp_path / "home"
    home.touch()
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("HOME", str(home))
    return home


def run(stub: StubRun) -> int:
    return run_module.run(Request(grid=stub.write_grid(), out=stub.out), command=stub.command, report=no_report)


def test_nothing_starts_where_home_cannot_be_written(
    stub: StubRun, no_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--grid", str(stub.write_grid()), "--out", str(stub.out)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: the cache cannot be written: {no_home}")
    assert f"Set {CACHE_VARIABLE} to a folder that can be written." in said
    assert not stub.out.exists()
    assert main(["run", "--grid", str(stub.write_grid()), "--out", str(stub.out), "--dry-run"]) == 0


def test_a_run_that_is_done_needs_no_cache(stub: StubRun, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(stub) == 0
    monkeypatch.setenv(CACHE_VARIABLE, str(stub.write_grid() / "below a file"))
    assert run(stub) == 0
    stub.seeds = range(4)
    with pytest.raises(ConfigError, match=CACHE_VARIABLE):
        run(stub)


@linux
def test_a_cache_in_use_that_has_everything_is_enough(stub: StubRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, USED)
    assert run(stub) == 0
    assert stub.counts("finish") == {0: 1, 1: 1, 2: 1}


@linux
def test_a_cache_in_use_that_lacks_something_is_refused(
    stub: StubRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here the process that looks is the real one."""
    monkeypatch.setenv(CACHE_VARIABLE, USED)
    assert main(["run", "--grid", str(stub.write_grid()), "--out", str(stub.out)]) == 2
    said = capsys.readouterr().err
    assert f"error: the cache cannot be written: {USED}" in said
    assert f"Set {CACHE_VARIABLE}" in said
    assert not stub.out.exists()


@linux
def test_whoever_writes_into_the_cache_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, USED)
    with pytest.raises(ConfigError, match=CACHE_VARIABLE):
        build_once(cache_root() / "datasets" / "some", lambda folder: {})
    with pytest.raises(ConfigError, match=CACHE_VARIABLE):
        prepare_store(cache_root() / "datasets" / "squares", Squares(4), name="squares", workers=0)
    assert main(["data", "prepare", "mnist_a", "--set", "canvas=16", "--set", "num_sources=100"]) == 2


def test_a_user_without_a_home_is_told_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container with ``--user`` and a number that the system does not know."""

    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for folder in (cache_root, data_root):
        with pytest.raises(ConfigError, match=f"Set {CACHE_VARIABLE} to a folder"):
            folder()
    monkeypatch.setenv(CACHE_VARIABLE, "~nobody-knows/cache")
    with pytest.raises(ConfigError, match=f"Set {CACHE_VARIABLE} to a folder"):
        cache_root()
    monkeypatch.setenv(CACHE_VARIABLE, os.curdir)
    assert cache_root() == Path()
