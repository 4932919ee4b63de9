"""The time of the backward pass is counted for the network whose gradient it computes.

In place of the time of each event the number of its operations is taken, which is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import profiles
import pytest
import torch
from profiles import OTHER, Shares, named, part, shares
from torch import Tensor, nn
from torch.autograd.profiler_util import FunctionEvent

from mmvae_bench.objectives.common.staged import frozen_call

DEVICE = torch.device("cpu")


@pytest.fixture(autouse=True)
def operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event takes a microsecond, and one more per floating-point operation of a product of matrices."""
    monkeypatch.setattr(profiles, "profile", partial(torch.profiler.profile, with_flops=True))
    monkeypatch.setattr(FunctionEvent, "self_cpu_time_total", property(lambda event: 1 + (event.flops or 0)))


def profiled(networks: dict[str, nn.Module], loss: Callable[[Tensor], Tensor]) -> Shares:
    inputs = torch.randn(8, 4, requires_grad=True)

    def step() -> None:
        with part("loss"):
            value = loss(inputs)
        value.backward()

    step()
    with named(networks):
        return shares(step, num_steps=3, device=DEVICE)


def test_forward_and_backward_go_to_their_networks() -> None:
    heavy = nn.Sequential(nn.Linear(4, 2000), nn.ELU(), nn.Linear(2000, 2000), nn.ELU(), nn.Linear(2000, 4))
    light = nn.Linear(4, 4)
    found = profiled({"heavy": heavy, "light": light}, lambda x: light(heavy(light(x))).square().sum())
    assert found.backward["heavy"] > 0.5 * sum(found.backward.values())
    assert 0 < found.backward["light"] < 0.1 * found.backward["heavy"]
    assert found.forward["heavy"] > found.forward["light"] > 0
    assert found.forward["loss"] > 0
    assert found.backward["loss"] > 0
    assert found.parts()[0] == "heavy"


def test_a_frozen_network_has_the_gradient_of_its_inputs() -> None:
    network, first = nn.Linear(1000, 1000), nn.Linear(4, 1000)
    found = profiled({"it": network}, lambda x: frozen_call(network, first(x)).sum())
    assert network.weight.grad is None
    assert found.forward["it"] > 0
    assert found.backward["it"] > found.backward[OTHER]


def test_a_network_without_a_gradient_has_no_backward() -> None:
    cut, used = nn.Linear(4, 4), nn.Linear(4, 4)
    found = profiled({"cut": cut, "used": used}, lambda x: used(cut(x).detach()).sum())
    assert found.forward["cut"] > 0
    assert found.backward["cut"] == 0
    assert found.backward["used"] > 0


def test_the_parts_are_the_whole() -> None:
    network = nn.Linear(4, 4)
    found = profiled({"it": network}, lambda x: network(x).sum())
    assert found.total == sum(found.forward.values()) + sum(found.backward.values())
    assert set(found.parts()) <= {"it", "loss", OTHER}
