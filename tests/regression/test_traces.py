"""A change that moves a number by accident fails here, and names the objective.

Bits differ between processors (vector widths, fused operations), and twelve steps of Adam spread such differences, so
the comparison is to one part in a thousand: a wrong sign or a forgotten term moves the trace far more.
"""

from __future__ import annotations

import json

import pytest
import torch

from mmvae_bench.objectives import jmvae
from mmvae_bench.objectives.base import Terms

from .traces import STORED, cases, trace

TOLERANCE = 1e-3


def difference(name: str) -> float:
    """The largest relative difference to the stored trace, over steps and parts."""
    stored, now = json.loads(STORED.read_text())[name], trace(cases()[name])
    assert stored.keys() == now.keys(), f"the parts of {name} have changed"
    return max(
        abs(a - b) / max(1.0, abs(a)) for part, values in stored.items() for a, b in zip(values, now[part], strict=True)
    )


def test_every_objective_has_a_trace() -> None:
    assert set(json.loads(STORED.read_text())) == set(cases()), "record it: python -m tests.regression.traces"


@pytest.mark.parametrize("name", cases())
def test_trace(name: str) -> None:
    found = difference(name)
    assert found <= TOLERANCE, f"the loss of {name} has moved by {found:.2%} from its stored trace"


def test_a_sign_error_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    original = jmvae.jmvae

    def wrong(**arguments: torch.Tensor | float) -> Terms:
        return original(**{**arguments, "alpha": -0.1})  # type: ignore[arg-type]

    monkeypatch.setattr(jmvae, "jmvae", wrong)
    assert difference("jmvae") > 3 * TOLERANCE
