"""Freed memory is kept inside the block, and handed back after it."""

from __future__ import annotations

import resource
import sys

import pytest
import torch

from mmvae_bench.base.allocation import freed_memory_kept

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc is told")
BYTES = 2**26


def pages_fetched() -> int:
    """The second time that a large tensor is made and freed."""
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(BYTES, dtype=torch.uint8)
        fetched = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return fetched


def test_freed_memory_is_fetched_anew_outside_the_block_only() -> None:
    pages = BYTES // resource.getpagesize()
    with freed_memory_kept():
        assert pages_fetched() < pages // 16
    assert pages_fetched() > pages // 2


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_what_is_free_at_the_end_is_handed_back() -> None:
    with freed_memory_kept():
        torch.ones(BYTES, dtype=torch.uint8)
        kept = resident()
    assert resident() < kept - BYTES // 2
