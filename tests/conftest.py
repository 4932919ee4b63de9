"""What every test may use: a cache of its own, and a small dataset."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.specs.components import datasets


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
