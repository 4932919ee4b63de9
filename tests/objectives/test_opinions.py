"""The independent computations are exact where a clamp would not be."""

from __future__ import annotations

import math

import pytest
import torch

from .opinions import (
    log_pixels,
    log_value,
)


def test_the_opinions_hold_where_a_value_is_improbable() -> None:
    """A draw of z far out makes values of probability e^-60; clamped at e^-36, an opinion has no slope there."""
    logits = torch.tensor([[0.0, -60.0, 3.0]], dtype=torch.float64, requires_grad=True)
    value, pixels = torch.tensor([1]), torch.ones(1, 3, dtype=torch.float64)
    exact = -63 - math.log1p(math.exp(-3) + math.exp(-63))
    found = log_value(logits, value)
    assert found.item() == pytest.approx(exact, rel=1e-12)
    (slope,) = torch.autograd.grad(found.sum(), logits)
    assert slope[0, 1].item() == pytest.approx(1, rel=1e-12)
    found = log_pixels(logits, pixels)
    assert found.item() == pytest.approx(-math.log(2) - 60 - math.log1p(math.exp(-3)), rel=1e-12)
    (slope,) = torch.autograd.grad(found.sum(), logits)
    assert slope[0, 1].item() == pytest.approx(1, rel=1e-12)
