"""What every test may use: a cache of its own, and a small dataset; and what ``make check`` leaves out.

``pytest --check`` skips a test at the moment at which it starts a process or makes an optimiser step: there is no list
of quick tests to maintain, and none becomes slow unnoticed. A test marked ``in_check`` may do both; one marked
``not_in_check`` is skipped before it begins.
"""

from __future__ import annotations

import multiprocessing.process
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from torch.optim.optimizer import register_optimizer_step_pre_hook

from mmvae_bench.base.machine import num_cpus
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.specs.components import datasets

from .closing import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]
MOST_WORKERS = 4
"""Many tests start processes of their own, and some more than one."""
ROOM = 3 * 2**30
"""Bytes of memory for a worker: it imports torch, and what it has loaded grows to 2 GiB."""
LIMIT = Path("/sys/fs/cgroup/memory.max")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--check", action="store_true", help="skip tests when they start a process or train")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """What ``-n auto`` stands for; the variable of pytest-xdist goes first."""
    if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # No limit of a container, or another way of setting one.
        memory = min(memory, int(LIMIT.read_text(encoding="utf-8")))
    return max(1, min(num_cpus(), MOST_WORKERS, memory // ROOM))


class _Quick:
    """Skips the running test when it starts a process or trains, unless it is marked ``in_check``."""

    def __init__(self) -> None:
        self.allowed = True  # Until a test runs: the workers of pytest-xdist are processes too.

    def refuse(self, what: str) -> None:
        if not self.allowed:
            pytest.skip(f"{what}: left to make test")

    def install(self, patch: pytest.MonkeyPatch) -> None:
        def instead(owner: Any, name: str, what: str) -> None:
            original = getattr(owner, name)

            def guarded(*args: Any, **kwargs: Any) -> Any:
                self.refuse(what)
                return original(*args, **kwargs)

            patch.setattr(owner, name, guarded)

        instead(subprocess.Popen, "__init__", "starts a process")
        instead(multiprocessing.process.BaseProcess, "start", "starts a process")
        instead(os, "fork", "starts a process")
        register_optimizer_step_pre_hook(lambda *_: self.refuse("trains"))


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--check"):
        quick, patch = _Quick(), pytest.MonkeyPatch()
        quick.install(patch)
        config.add_cleanup(patch.undo)
        config.stash[_QUICK] = quick


_QUICK = pytest.StashKey[_Quick]()


def pytest_runtest_setup(item: pytest.Item) -> None:
    quick = item.config.stash.get(_QUICK, None)
    if quick is not None:
        if item.get_closest_marker("not_in_check"):
            pytest.skip("left to make test")
        quick.allowed = item.get_closest_marker("in_check") is not None


def pytest_runtest_teardown(item: pytest.Item) -> None:
    if (quick := item.config.stash.get(_QUICK, None)) is not None:
        quick.allowed = True


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is read from or written to the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMVAE_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        torch.set_num_threads(1)
        yield


@pytest.fixture(scope="session")
def shared_folder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], AbstractContextManager[Path]]:
    """Locks a folder that all processes of this run share; the first that finds it empty fills it for the others."""
    base = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        base = base.parent  # Each worker of pytest-xdist has a folder of its own in it.

    @contextmanager
    def locked(name: str) -> Iterator[Path]:
        with FileLock(base / f"{name}.lock"):
            folder = base / name
            folder.mkdir(exist_ok=True)
            yield folder

    return locked


@pytest.fixture(scope="session")
def digits() -> ConceptDataModule:
    """MNIST-A from 100 real 8x8 digits at canvas 16: 300 images."""
    data = datasets.parse({"name": "mnist_a", "canvas": 16, "num_sources": 100, "replicas": 3}).build()
    data.prepare_data()
    data.setup()
    return data
