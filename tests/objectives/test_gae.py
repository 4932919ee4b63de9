"""GAE and VGAE: their loss by value and gradient against dense sums, their networks, training and resume."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli
from torch.nn import functional as F

from mmvae_bench.data.batch import Batch
from mmvae_bench.data.graph import Graph, normalised
from mmvae_bench.data.graphs import GraphDataModule, GraphStore
from mmvae_bench.objectives.base import CapabilityError
from mmvae_bench.objectives.gae import GAE, NODES_AT_ONCE, log_adjacency
from mmvae_bench.specs.components import backbones, datasets, objectives, of_domain
from mmvae_bench.specs.trial import TrainingSpec
from mmvae_bench.training.fit import Control, TrainingInterrupted, fit, validation_terms
from mmvae_bench.training.stages import Stages

from ..conformance.learning import assert_gradients_reach_what_is_trained, losses_on

NAMES = of_domain(objectives, "graph")
NUM_NODES = 150
WEIGHTINGS = ("released", "none")


@pytest.fixture(scope="module", params=["words", "none"])
def data(request: pytest.FixtureRequest) -> GraphDataModule:
    found = datasets.parse({"name": "cora", "num_nodes": NUM_NODES, "features": request.param}).build()
    assert isinstance(found, GraphDataModule)
    found.setup()
    return found


@pytest.fixture(scope="module")
def batch(data: GraphDataModule) -> Batch:
    (found,) = data.batches("train")
    return found


def build(name: str, data: GraphDataModule, *, seed: int = 0, **settings: object) -> GAE:
    backbone = backbones.parse("gcn").build(schema=data.schema, image_shape=data.image_shape)
    found = objectives.parse({"name": name, **settings}).build(backbone, seed=seed)
    assert isinstance(found, GAE)
    return found


def dense(links: Tensor) -> Tensor:
    """A, without the diagonal."""
    matrix = torch.zeros(NUM_NODES, NUM_NODES, dtype=torch.float64)
    matrix[links[0], links[1]] = matrix[links[1], links[0]] = 1
    return matrix


def released_cost(mean: Tensor, log_scale: Tensor | None, noise: Tensor, linked: Tensor) -> Tensor:
    """The loss of the authors' ``optimizer.py``, term by term: means over all entries, and the KL as they write it."""
    n, target = len(mean), linked + torch.eye(len(mean), dtype=mean.dtype)
    total = linked.sum()
    z = mean if log_scale is None else mean + noise * log_scale.exp()
    cost = (n**2 / (2 * (n**2 - total))) * F.binary_cross_entropy_with_logits(
        z @ z.T, target, pos_weight=(n**2 - total) / total
    )
    if log_scale is None:
        return cost
    return cost - (0.5 / n) * (1 + 2 * log_scale - mean**2 - log_scale.exp() ** 2).sum(1).mean()


def paper_cost(mean: Tensor, log_scale: Tensor | None, noise: Tensor, linked: Tensor) -> Tensor:
    """``-E log p(A|Z) + KL(q(Z|X,A) || p(Z))`` over every entry and node, by torch's distributions, divided by N^2."""
    n, target = len(mean), linked + torch.eye(len(mean), dtype=mean.dtype)
    z = mean if log_scale is None else mean + noise * log_scale.exp()
    bound = Bernoulli(logits=z @ z.T).log_prob(target).sum()
    if log_scale is not None:
        q = torch.distributions.Normal(mean, log_scale.exp())
        bound = bound - torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum()
    return -bound / n**2


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("name", NAMES)
def test_the_loss_and_its_gradient_are_those_of_the_dense_sums(
    name: str, weighting: str, data: GraphDataModule, batch: Batch
) -> None:
    """In double precision, from A and X as they are, with no line of the product but the weights."""
    model = build(name, data, weighting=weighting)
    weights = {
        key: value.detach().double().requires_grad_()
        for key, value in model.graph_encoder.weights.items()  # type: ignore[operator, union-attr]
    }
    linked = dense(data.divided.links["train"])
    with_loops = linked + torch.eye(NUM_NODES, dtype=torch.float64)
    scale = with_loops.sum(1) ** -0.5
    adjacency = scale[:, None] * with_loops * scale
    x = torch.from_numpy(data.whole.words).double() if data.spec.features == "words" else torch.eye(NUM_NODES).double()
    hidden = (adjacency @ x @ weights["first"]).relu()
    mean = adjacency @ hidden @ weights["mean"]
    log_scale = adjacency @ hidden @ weights["log_scale"] if name == "vgae" else None
    torch.manual_seed(3)
    noise = torch.randn(mean.shape).double()
    cost = {"released": released_cost, "none": paper_cost}[weighting](mean, log_scale, noise, linked)
    (NUM_NODES * cost).backward()  # type: ignore[no-untyped-call]

    torch.manual_seed(3)
    terms = model.terms(batch)
    terms.loss.backward()  # type: ignore[no-untyped-call]
    assert float(terms.loss.detach()) == pytest.approx(NUM_NODES * float(cost.detach()), rel=1e-5)
    assert set(weights) == ({"first", "mean", "log_scale"} if name == "vgae" else {"first", "mean"})
    for key, value in weights.items():
        mine = model.graph_encoder.weights[key].grad  # type: ignore[index, union-attr]
        assert value.grad is not None
        assert torch.allclose(mine.double(), value.grad, rtol=1e-4, atol=1e-5 * float(value.grad.abs().max()))


@pytest.mark.parametrize("num_nodes", [2, NODES_AT_ONCE - 1, NODES_AT_ONCE, 2 * NODES_AT_ONCE + 3])
def test_log_p_of_every_row_is_the_sum_over_its_entries(num_nodes: int) -> None:
    """Whole blocks and a last part of one: by value of each row, and by gradient."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(num_nodes, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    pairs = torch.triu_indices(num_nodes, num_nodes, 1)
    links = pairs[:, torch.rand(pairs.shape[1], generator=generator) < 0.3]
    target = torch.eye(num_nodes, dtype=torch.float64)
    target[links[0], links[1]] = target[links[1], links[0]] = 1
    each = Bernoulli(logits=z @ z.T).log_prob(target)
    weights = torch.rand(2, num_nodes, dtype=torch.float64, generator=generator)
    expected = (each * target).sum(1), (each * (1 - target)).sum(1)
    (wanted,) = torch.autograd.grad((weights[0] * expected[0] + weights[1] * expected[1]).sum(), z)
    found = log_adjacency(z, links)
    (gradient,) = torch.autograd.grad((weights[0] * found[0] + weights[1] * found[1]).sum(), z)
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-10)
    assert torch.allclose(gradient, wanted, rtol=1e-9, atol=1e-12)


def test_large_products_of_z_keep_a_finite_loss() -> None:
    """The sigmoid is 1 there in single precision; its logarithm is not minus infinity."""
    z = torch.tensor([[30.0], [30.0], [-30.0]], requires_grad=True)
    links, gaps = log_adjacency(z, torch.tensor([[0], [2]]))
    (links + gaps).sum().backward()  # type: ignore[no-untyped-call]
    assert links.tolist() == [-900.0, 0.0, -900.0]
    assert gaps.tolist() == [-900.0, -900.0, 0.0]
    assert z.grad is not None
    assert bool(z.grad.isfinite().all())


def test_nodes_in_another_order_are_embedded_alike(data: GraphDataModule, batch: Batch) -> None:
    """A network of graphs knows a node by its words and neighbours; with X = I, by its row of W0."""
    graph = batch.graph
    assert graph is not None
    order = torch.randperm(NUM_NODES, generator=torch.Generator().manual_seed(0))
    place = order.argsort()
    links = data.divided.links["train"]
    features = graph.features.to_dense()[order]
    if data.spec.features == "none":
        features = features[:, order]
    other = Graph(features.to_sparse().coalesce(), normalised(place[links], NUM_NODES), place[links])
    model = build("gae", data)
    if data.spec.features == "none":
        moved = build("gae", data)
        moved.graph_encoder.weights["first"].data = model.graph_encoder.weights["first"].data[order]  # type: ignore[index, union-attr]
    else:
        moved = model
    with torch.no_grad():
        mine, theirs = model.graph_posterior(graph).mean, moved.graph_posterior(other).mean
        assert torch.allclose(mine[order], theirs, atol=1e-6)
        store = GraphStore(other, torch.zeros(NUM_NODES, dtype=torch.long))
        loss, again = model.terms(batch).loss, moved.terms(store.batch(torch.arange(NUM_NODES))).loss
        assert float(loss) == pytest.approx(float(again), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_and_gradients_reach_every_weight(name: str, data: GraphDataModule, batch: Batch) -> None:
    assert_gradients_reach_what_is_trained(build(name, data), batch)
    (losses,) = losses_on(build(name, data), batch, steps=60, rate=0.01).values()
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


@pytest.mark.parametrize("name", NAMES)
def test_terms_are_per_node_and_follow_the_seed(name: str, data: GraphDataModule, batch: Batch) -> None:
    def terms(seed: int, noise: int) -> float:
        torch.manual_seed(noise)
        found = build(name, data, seed=seed).terms(batch)
        assert set(found.parts) == {"graph/log_links", "graph/log_gaps"} | ({"graph/kl"} if name == "vgae" else set())
        assert all(part.shape == (NUM_NODES,) for part in found.parts.values())
        assert all(bool((part >= 0).all()) == (key == "graph/kl") for key, part in found.parts.items())
        return found.loss.item()

    assert terms(0, 7) == terms(0, 7) != terms(1, 7)
    # A graph auto-encoder has no noise.
    assert (terms(0, 7) == terms(0, 8)) == (name == "gae")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_graph_is_refused(name: str, data: GraphDataModule, batch: Batch) -> None:
    model = build(name, data)
    for ask in (
        lambda: model.posterior(image=batch.image),
        lambda: model.imagine("class=1"),
        lambda: model.describe(batch.image),
        lambda: model.reconstruct(batch.image),
    ):
        with pytest.raises(CapabilityError, match=f"{name} models the links of a graph"):
            ask()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_training_ends_with_the_bits_of_an_uninterrupted_one(
    name: str, data: GraphDataModule, tmp_path: Path
) -> None:
    training, weights = TrainingSpec(steps=6, batch_size=NUM_NODES, learning_rate=0.01, validations=2), []
    for stops in ((), (2, 4)):
        asked = iter(range(1, 100))
        model = build(name, data)
        for stop in (*stops, None):
            model = build(name, data)
            control = Control(
                checkpoint=tmp_path / str(len(stops)), stop=lambda stop=stop, asked=asked: next(asked) == stop
            )
            if stop is None:
                fitted = fit(model, data, training, key="k", seed=0, control=control)
            else:
                with pytest.raises(TrainingInterrupted):
                    fit(model, data, training, key="k", seed=0, control=control)
        weights.append(model.state_dict())
        assert [record["step"] for record in fitted.history] == [3, 6]
        assert validation_terms(model, data) == validation_terms(model, data)
    assert all(torch.equal(weights[0][key], value) for key, value in weights[1].items())


def test_validation_explains_links_that_the_model_was_not_shown(data: GraphDataModule) -> None:
    model = build("gae", data)
    shown, more = (validation_terms(model, data, partition=partition) for partition in ("train", "val"))
    (train,), (val,) = data.batches("train"), data.batches("val")
    assert train.graph is not None
    assert val.graph is not None
    assert torch.equal(train.graph.adjacency.to_dense(), val.graph.adjacency.to_dense())
    hidden = data.divided.links["val"]
    with torch.no_grad():
        z = model.graph_posterior(train.graph).mean
    extra = F.logsigmoid((z[hidden[0]] * z[hidden[1]]).sum(1)).sum() * 2 / NUM_NODES
    assert more["graph/log_links"] - shown["graph/log_links"] == pytest.approx(float(extra), rel=1e-4)


def test_a_plain_lightning_trainer_trains_it(data: GraphDataModule) -> None:
    import pytorch_lightning as pl

    model = build("vgae", data)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    trainer = pl.Trainer(
        max_epochs=-1, callbacks=[Stages(steps=2)], accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    assert all(not torch.equal(before[key], value) for key, value in model.state_dict().items())
