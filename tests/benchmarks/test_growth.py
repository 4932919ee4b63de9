"""What more images cost: measured on real sprites and on a made-up store."""

from __future__ import annotations

import growth
import pytest
import torch


@pytest.mark.parametrize("source", growth.SOURCES)
def test_a_row_has_its_numbers(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    found = growth.measure(source, 300, 2)
    assert found["most"] >= found["before"] > 0
    assert found["step"] > found["batch"] > 0


def test_the_most_that_was_in_use_is_counted_when_it_is_gone() -> None:
    block = bytearray(200 * 2**20)
    block[:: 2**12] = b"x" * len(block[:: 2**12])
    held = growth.memory("VmRSS")
    del block
    assert growth.memory("VmHWM") > held - 2  # The kernel sums counts of each processor now and then.
    assert growth.memory("VmRSS") < held - 150
