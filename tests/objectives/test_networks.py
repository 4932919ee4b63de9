"""Networks that objectives have in common."""

from __future__ import annotations

import pytest
import torch

from mmvae_bench.objectives.base import Objective

from .opinions import (
    Make,
)


@pytest.mark.parametrize("name", ["telbo", "jmvae", "bivcca"])
def test_nothing_specified_gives_exactly_the_prior(name: str, make: Make) -> None:
    model = make(name)
    q = model.posterior(concept=torch.full((2, 4), -1))
    assert torch.equal(q.mean, torch.zeros(2, 3, dtype=torch.float64))
    assert torch.equal(q.stddev, torch.ones(2, 3, dtype=torch.float64))


def test_common_networks_start_equal_whatever_the_objective(make: Make) -> None:
    states = [make(name).state_dict() for name in ("jvae", "telbo", "jmvae", "bivcca")]
    for key in states[1]:
        shared = [state[key] for state in states if key in state]
        assert "decoder" not in key or len(shared) == 4
    telbo, jmvae = states[1], states[2]
    # The fixture's perturbation runs over the parameters in one order, so equal sets stay equal.
    assert all(torch.equal(telbo[key], jmvae[key]) for key in telbo)


def test_a_method_that_would_be_ignored_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Old\.networks\(\) is not called any more: give network_names instead"):
        type("Old", (Objective,), {"networks": lambda self: ("joint_encoder",)})
