from __future__ import annotations

import torch

from .fakes import LINES, draw, read_exactly


def test_every_concept_can_be_read_back() -> None:
    assert torch.equal(read_exactly(draw(LINES.combinations())), LINES.combinations())
