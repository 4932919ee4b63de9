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
    """By a large tensor that is made after a larger one was freed.

    One of the same size need not fit: glibc looks for the size and what aligning it may cost.
    """
    torch.ones(BYTES + 2**20, dtype=torch.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(BYTES, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


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
