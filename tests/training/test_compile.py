"""Training with compiled networks: whole graphs, few of them, and nothing left behind.

The graphs are captured as ``torch.compile`` captures them, and run by torch itself in place of generated code, which
takes minutes to build.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.components import backbones, objectives
from mmvae_bench.specs.trial import TrainingSpec
from mmvae_bench.training.fit import fit

from .conftest import same

NUM_GRAPHS = 14
"""Of TELBO: five networks, each in training and in validation, and the two decoders once more in each, frozen."""


def trained(digits: ConceptDataModule, *, compiled: bool) -> Objective:
    backbone = backbones.parse({"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3})
    objective = objectives.parse("telbo").build(backbone.build(schema=digits.schema, image_shape=digits.image_shape))
    assert isinstance(objective, Objective)
    fit(objective, digits, TrainingSpec(steps=8, batch_size=32, validations=4, compile=compiled), key="k", seed=0)
    return objective


@pytest.fixture(scope="module")
def compiled(digits: ConceptDataModule) -> tuple[Objective, list[torch.fx.GraphModule]]:
    """An objective trained with compiled networks, and the graphs captured. A break in one is an error."""
    captured: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        captured.append(graph)
        return graph.forward

    def compile_network(network: nn.Module) -> None:
        network._compiled_call_impl = torch.compile(network._call_impl, backend=backend, fullgraph=True)

    torch._dynamo.reset()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Module, "compile", compile_network)
        return trained(digits, compiled=True), captured


def test_the_weights_are_those_of_a_training_without(
    digits: ConceptDataModule, compiled: tuple[Objective, list[torch.fx.GraphModule]]
) -> None:
    assert same(compiled[0].state_dict(), trained(digits, compiled=False).state_dict())


def test_no_network_is_compiled_again_and_again(compiled: tuple[Objective, list[torch.fx.GraphModule]]) -> None:
    assert len(compiled[1]) == NUM_GRAPHS


def test_the_networks_are_as_before_when_training_ends(
    compiled: tuple[Objective, list[torch.fx.GraphModule]],
) -> None:
    objective, graphs = compiled
    assert all(getattr(objective, name)._compiled_call_impl is None for name in objective.network_names)
    num_graphs = len(graphs)
    for num_queries in (1, 2, 7):
        objective.imagine(torch.zeros(num_queries, 4, dtype=torch.long), num_samples=3)
    assert len(graphs) == num_graphs
