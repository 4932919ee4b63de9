"""Freed memory is kept inside the block, and handed back after it: in a process that has done nothing else, because
whether a tensor fits in the memory of an old one depends on all that came before."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CODE = """
import json, resource, torch
from mmvae_bench.base.allocation import freed_memory_kept

BYTES, PAGE = 2**26, resource.getpagesize()

def fetched():
    # One of the same size need not fit: glibc looks for the size and what aligning it may cost.
    torch.ones(BYTES + 2**20, dtype=torch.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(BYTES, dtype=torch.uint8)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / (BYTES // PAGE)

def resident():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * PAGE / BYTES

with freed_memory_kept():
    inside = fetched()
    kept = resident()
print(json.dumps({"inside": inside, "handed_back": kept - resident(), "outside": fetched()}))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc is told")
def test_freed_memory_is_kept_inside_the_block_only() -> None:
    """As shares of a large tensor."""
    ended = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    found = json.loads(ended.stdout)
    assert found["inside"] < 1 / 16
    assert found["handed_back"] > 1 / 2
    assert found["outside"] > 1 / 2
