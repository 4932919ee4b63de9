"""A change that moves a number by accident fails here, and names the objective.

Bit by bit on the processor and torch of the record; elsewhere to a tolerance that is justified where it is defined.
What was done is printed at the end of the run.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import kl_divergence

from mmvae_bench.objectives import jmvae

from . import traces
from .records import check_complete, here, read
from .traces import COMMAND, STORED, TOLERANCE, check_trace, comparison, trace, traced


def test_every_objective_has_a_trace() -> None:
    check_complete(STORED, traced(), COMMAND)


@pytest.mark.in_check
@pytest.mark.parametrize("name", traced())
def test_trace(name: str) -> None:
    check_trace(name)


def negated(*arguments: torch.distributions.Distribution) -> torch.Tensor:
    return -kl_divergence(*arguments)


def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the record came from another processor."""
    monkeypatch.setattr(traces, "here", lambda: here() | {"processor": "another"})
    assert comparison("jmvae").startswith(f"to {TOLERANCE:g}, recorded elsewhere (processor another for ")


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_sign_error_is_found_and_named(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The divergences of JMVAE negated: compared bit by bit or not, the check fails, and only of that objective."""
    if where == "elsewhere":
        elsewhere(monkeypatch)
    monkeypatch.setattr(jmvae, "kl_divergence", negated)
    with pytest.raises(AssertionError, match=r"the loss of jmvae has moved, most of all \S+ after step \d+") as failure:
        check_trace("jmvae")
    assert "python -m tests.regression.traces 'jmvae' --changelog" in str(failure.value)
    check_trace("telbo")


def test_a_wrong_weight_moves_a_trace_far_beyond_the_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts stay as they are at first: it is training that goes elsewhere."""
    original = jmvae.jmvae
    monkeypatch.setattr(jmvae, "jmvae", lambda **given: original(**{**given, "alpha": -given["alpha"]}))
    stored, now = read(STORED)["jmvae"]["trace"], trace({"name": "jmvae"})
    moved = max(abs(a - b) / max(1, abs(a)) for part in stored for a, b in zip(stored[part], now[part], strict=True))
    assert moved > 100 * TOLERANCE


def test_what_is_less_than_the_bits_is_found_only_where_bits_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = read(STORED)["vae"]["trace"]
    moved = {part: [math.nextafter(value, math.inf) for value in values] for part, values in stored.items()}
    monkeypatch.setattr(traces, "trace", lambda _: moved)
    monkeypatch.setattr(traces, "here", lambda: read(STORED)["vae"]["recorded_on"])
    with pytest.raises(AssertionError, match=r"compared bitwise"):
        check_trace("vae")
    elsewhere(monkeypatch)
    check_trace("vae")


def test_not_a_number_and_another_part_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = read(STORED)["vae"]["trace"]
    elsewhere(monkeypatch)
    monkeypatch.setattr(traces, "trace", lambda _: stored | {"elbo": [math.nan] * len(stored["elbo"])})
    with pytest.raises(AssertionError, match="the loss of vae has moved"):
        check_trace("vae")
    monkeypatch.setattr(traces, "trace", lambda _: {"elbo": stored["elbo"]})
    with pytest.raises(AssertionError, match=r"the parts of vae have changed: \['image/kl', 'image/log_px'\]"):
        check_trace("vae")
