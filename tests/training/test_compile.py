"""Training with compiled networks, or a compiled loss: whole graphs, few of them, and nothing left behind.

The graphs are captured as ``torch.compile`` captures them, and run by torch itself in place of generated code, which
takes minutes to build.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributions.kl import _KL_MEMOIZE

from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.components import backbones, objectives
from mmvae_bench.specs.trial import TrainingSpec
from mmvae_bench.training.compiling import compiled as compiled_code
from mmvae_bench.training.fit import fit

from .conftest import same

FEW = {"labels_per_class": 20, "attributes": ["location"], "rate": 0.5}
NUM_GRAPHS = 14
"""Of TELBO: five networks, each in training and in validation, and the two decoders once more in each, frozen."""


def built(digits: ConceptDataModule, settings: object) -> Objective:
    backbone = backbones.parse({"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3})
    networks = backbone.build(schema=digits.schema, image_shape=digits.image_shape)
    objective = objectives.parse(settings).build(networks)
    assert isinstance(objective, Objective)
    return objective


def trained(digits: ConceptDataModule, settings: object = "telbo", **training: Any) -> Objective:
    objective = built(digits, settings)
    fit(objective, digits, TrainingSpec(steps=8, validations=4, **{"batch_size": 32} | training), key="k", seed=0)
    return objective


def into(captured: list[torch.fx.GraphModule]) -> Callable[..., object]:
    """A backend that keeps each graph there, and lets torch itself run it."""

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        captured.append(graph)
        return graph.forward

    return backend


@pytest.fixture(scope="module")
def compiled(digits: ConceptDataModule) -> tuple[Objective, list[torch.fx.GraphModule]]:
    """An objective trained with compiled networks, and the graphs captured. A break in one is an error."""
    captured: list[torch.fx.GraphModule] = []

    def compile_network(network: nn.Module) -> None:
        network._compiled_call_impl = torch.compile(network._call_impl, backend=into(captured), fullgraph=True)

    torch._dynamo.reset()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Module, "compile", compile_network)
        return trained(digits, compile=True), captured


def test_the_weights_are_those_of_a_training_without(
    digits: ConceptDataModule, compiled: tuple[Objective, list[torch.fx.GraphModule]]
) -> None:
    assert same(compiled[0].state_dict(), trained(digits).state_dict())


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


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.fx.GraphModule]]:
    """The graphs of compiled losses, run by torch itself."""
    captured: list[torch.fx.GraphModule] = []
    compile_ = torch.compile

    def capture(function: Callable[..., object], *, options: dict[str, object]) -> object:
        assert options == {"fallback_random": True}, "random numbers that are not torch's"
        return compile_(function, backend=into(captured))

    monkeypatch.setattr(torch, "compile", capture)
    torch._dynamo.reset()
    yield captured
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("settings", "num_graphs"),
    [
        ("telbo", 1),
        ({"name": "vlvae", "kl_warmup_steps": 6}, 2),  # The weight is a constant at the first step, then a variable.
    ],
    ids=["telbo", "vlvae"],
)
def test_a_compiled_loss_is_one_graph(
    settings: object, num_graphs: int, digits: ConceptDataModule, graphs: list[torch.fx.GraphModule]
) -> None:
    _KL_MEMOIZE.clear()  # As in a new process; torch's search for the formula of a divergence breaks a graph.
    objective = trained(digits, settings, compile="loss")
    assert len(graphs) == num_graphs, "validation is not compiled, nor a step anew"
    assert same(objective.state_dict(), trained(digits, settings).state_dict())
    assert "terms" not in vars(objective)


def test_what_was_compiled_before_decides_nothing(
    digits: ConceptDataModule, graphs: list[torch.fx.GraphModule]
) -> None:
    """After a training with another batch size, torch would make the size of a batch a variable."""
    graphs_of = []
    for size in (16, 32):
        graphs.clear()
        trained(digits, "jmvae", compile="loss", batch_size=size)
        graphs_of.append([node.target for graph in graphs for node in graph.graph.nodes])
    assert graphs_of[0] == graphs_of[1]


@pytest.mark.parametrize(
    ("settings", "training"),
    [
        ("telbo", {"supervision": FEW}),
        ("telbo", {"missing_images": {"fraction": 0.3}}),
        ("jmvae", {"supervision": FEW, "missing_images": {"fraction": 0.3}}),
    ],
    ids=["few labels", "missing images", "labels and images missing"],
)
def test_what_cannot_be_captured_runs_between_graphs(
    settings: object, training: dict[str, Any], digits: ConceptDataModule, graphs: list[torch.fx.GraphModule]
) -> None:
    """Where a loss looks at values, such as which labels there are."""
    objective = trained(digits, settings, compile="loss", **training)
    assert same(objective.state_dict(), trained(digits, settings, **training).state_dict())
    assert graphs, "nothing was compiled"


def test_the_loss_is_as_before_when_training_breaks_off(
    digits: ConceptDataModule, graphs: list[torch.fx.GraphModule]
) -> None:
    objective = built(digits, "jmvae")

    def fail() -> None:
        with compiled_code(objective, what="loss"):
            assert "terms" in vars(objective)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert "terms" not in vars(objective)
