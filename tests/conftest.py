"""What every test may use: a cache of its own, and a small dataset; and what ``make check`` leaves out.

``pytest --check`` skips a test at the moment at which it starts a process or makes an optimiser step: there is no list
of quick tests to maintain, and none becomes slow unnoticed. A test marked ``in_check`` may do both; one marked
``not_in_check`` is skipped before it begins.
"""

from __future__ import annotations

import multiprocessing.process
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.specs.components import datasets


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--check", action="store_true", help="skip tests when they start a process or train")


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
def digits() -> ConceptDataModule:
    """MNIST-A from 100 real 8x8 digits at canvas 16: 300 images."""
    data = datasets.parse({"name": "mnist_a", "canvas": 16, "num_sources": 100, "replicas": 3}).build()
    data.prepare_data()
    data.setup()
    return data
