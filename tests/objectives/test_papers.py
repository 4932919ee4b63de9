"""Words and links as two modalities: losses by value and gradient against torch's distributions, networks, resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence
from torch.nn import functional as F

from mmvae_bench.backbones.papers import Bag
from mmvae_bench.data.batch import Batch
from mmvae_bench.data.papers import PapersDataModule
from mmvae_bench.distributions.links import FactorisedBernoulli
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.components import backbones, datasets, objectives
from mmvae_bench.specs.trial import TrainingSpec
from mmvae_bench.training.fit import Control, TrainingInterrupted, fit

NAMES = ("jmvae", "mvae", "telbo")


@pytest.fixture(scope="module")
def data() -> PapersDataModule:
    found = datasets.parse({"name": "cora_papers", "num_nodes": 80}).build()
    assert isinstance(found, PapersDataModule)
    found.setup()
    return found


def build(name: str, data: PapersDataModule, *, seed: int = 0, **settings: object) -> Objective:
    networks, own = ("gcn", {}) if name == "vgae" else ("papers", {"lambda": 3.0})
    backbone = backbones.parse({"name": networks, "hidden": 8, "latent_size": 3}).build(
        schema=data.schema, image_shape=data.image_shape
    )
    return objectives.parse({"name": name, **own, **settings}).build(backbone, seed=seed)


def batch_of(data: PapersDataModule, number: int = 7) -> Batch:
    return data.store.batch(data.rows("train")[:number])


@pytest.mark.parametrize("shape", [(5,), (4, 6), (2, 3, 7)])
def test_rows_of_links_are_torchs_bernoullis_by_value_and_gradient(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (4 * torch.randn(shape, generator=generator)).double().requires_grad_()
    value = torch.randint(2, shape, generator=generator)
    found = FactorisedBernoulli(logits)
    expected = Independent(Bernoulli(logits=logits), 1)
    assert torch.allclose(found.log_prob(value), expected.log_prob(value.double()), atol=1e-12)
    assert torch.allclose(found.mean, expected.mean)
    assert torch.equal(found.mode, expected.mean.gt(0.5).long())
    mine, theirs = (
        torch.autograd.grad(p.log_prob(v).sum(), logits)[0] for p, v in ((found, value), (expected, value.double()))
    )
    assert torch.allclose(mine, theirs, atol=1e-12)


def test_unknown_links_count_for_nothing_and_samples_have_their_probabilities() -> None:
    logits = torch.tensor([[2.0, -1.0, 50.0]], requires_grad=True)
    p = FactorisedBernoulli(logits)
    known = torch.tensor([[1, -1, 0]])
    assert float(p.log_prob(known).detach()) == pytest.approx(float(F.logsigmoid(torch.tensor(2.0))) - 50.0)
    gradient = torch.autograd.grad(p.log_prob(known).sum(), logits)[0]
    assert float(gradient[0, 1]) == 0
    assert float(FactorisedBernoulli(torch.tensor([[800.0]])).log_prob(torch.tensor([[0]]))) == -800
    torch.manual_seed(0)
    assert torch.allclose(p.sample((4000,)).double().mean((0, 1)), p.mean.double()[0], atol=0.03)


def reference(name: str, model: Objective, batch: Batch, latents: dict[str, Tensor]) -> Tensor:
    """The loss from the distributions of torch, at the z that the objective drew: the formulas, term by term."""
    words, links = batch.image, batch.concept

    def normal(q: object) -> Normal:
        return Normal(q.mean, q.stddev)  # type: ignore[attr-defined]

    def log_px(z: Tensor) -> Tensor:
        return Bernoulli(logits=model.image_decoder.network(z)).log_prob(words).sum((1, 2, 3))  # type: ignore[union-attr,operator]

    def log_py(z: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        layer = model.concept_decoder.network
        # p(A_ik = 1|z_i) = sigmoid(w_k . z_i + b_k)
        logits = torch.einsum("bd,kd->bk", z, layer.weight) + layer.bias  # type: ignore[union-attr,arg-type]
        return Bernoulli(logits=logits).log_prob(links.float()).sum(1)

    def to_prior(q: Normal) -> Tensor:
        return kl_divergence(q, Normal(0.0, 1.0)).sum(1)

    q_words, q_links = normal(model.image_encoder(words)), normal(model.concept_encoder(links))
    if name == "mvae":
        total = torch.zeros(())
        for subset, members in (("joint", (q_words, q_links)), ("image", (q_words,)), ("concept", (q_links,))):
            # The product of the prior and the experts: precisions add up.
            precision = 1 + sum(q.scale**-2 for q in members)  # type: ignore[misc]
            mean = sum(q.loc * q.scale**-2 for q in members) / precision
            z = latents[subset]
            bound = -to_prior(Normal(mean, precision**-0.5))
            bound = bound + (log_px(z) if q_words in members else 0) + (3.0 * log_py(z) if q_links in members else 0)
            total = total - bound.mean()
        return total
    q = normal(model.joint_encoder(words, links))
    z = latents["joint"]
    loss = -(log_px(z) + 3.0 * log_py(z) - to_prior(q)).mean()
    if name == "jmvae":
        return loss + (kl_divergence(q, q_words) + kl_divergence(q, q_links)).sum(1).mean()
    alone = log_px(latents["image"]) - to_prior(q_words) + 2.0 * log_py(latents["concept"]) - to_prior(q_links)
    return loss - alone.mean()


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_the_papers_formulas_by_value_and_gradient(name: str, data: PapersDataModule) -> None:
    model = build(name, data, **({"gamma": 2.0} if name == "telbo" else {}))
    # Noise in the inputs would be drawn anew by each of the two computations.
    for module in model.modules():
        if isinstance(module, Bag):
            module.dropout.p = 0.0
    batch = batch_of(data)
    torch.manual_seed(3)
    terms = model.terms(batch)
    latents = {key: z.detach() for key, z in terms.latents.items()}
    expected = reference(name, model, batch, latents)
    assert float(terms.loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    # With z as given, the gradient of the decoders is that of the likelihoods alone. TELBO's unimodal terms must not
    # reach them.
    decoders = [*model.image_decoder.parameters(), *model.concept_decoder.parameters()]
    mine = torch.autograd.grad(terms.loss, decoders, retain_graph=True)
    if name == "telbo":
        z = latents["joint"]
        px, py = model.likelihood(z)
        expected = -(px.log_prob(batch.image) + 3.0 * py.log_prob(batch.concept)).mean()
    theirs = torch.autograd.grad(expected, decoders)
    for one, other in zip(mine, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_network_learns_and_the_links_are_learnt(name: str, data: PapersDataModule) -> None:
    model, batch = build(name, data), batch_of(data, 64)
    optimizer, first = torch.optim.Adam(model.parameters(), lr=0.03), None
    for step in range(60):
        torch.manual_seed(step)
        terms = model.terms(batch)
        optimizer.zero_grad()
        terms.loss.backward()
        assert all(each.grad is not None and bool(each.grad.abs().sum() > 0) for each in model.parameters())
        optimizer.step()
        first = float(terms.loss.detach()) if first is None else first
    assert float(terms.loss.detach()) < 0.9 * first  # type: ignore[operator]


def test_an_encoder_sees_no_size_and_no_unknown_link_and_hides_a_part_in_training() -> None:
    bag = Bag(0.5)
    row = torch.tensor([[1, 0, 1, 1, -1, 1], [0, 0, 0, 0, 0, 0]])
    bag.eval()
    assert torch.allclose(bag(row)[0], torch.tensor([0.5, 0.0, 0.5, 0.5, 0.0, 0.5]))
    assert torch.equal(bag(row)[1], torch.zeros(6))
    bag.train()
    torch.manual_seed(0)
    shown = torch.stack([bag(torch.ones(1, 400))[0] > 0 for _ in range(20)])
    assert float(shown.double().mean()) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("name", [*NAMES, "vgae"])
def test_weights_know_nothing_of_unseen_papers(name: str) -> None:
    """Other words, links and classes of all papers that validate or test: the same weights to the bit."""
    weights, bounds, size = [], [], 80
    for changed in (False, True):
        data = datasets.parse({"name": "cora_papers", "num_nodes": size}).build()
        assert isinstance(data, PapersDataModule)
        if changed:
            whole, random = data.whole, np.random.default_rng(0)
            unseen = torch.cat([data.parts["val"], data.parts["test"]]).numpy()
            words, between = whole.words.copy(), ~np.isin(whole.links, unseen).any(0)
            words[unseen] = random.random((len(unseen), words.shape[1])) < 0.3
            pairs = random.integers(size, size=(2, 200))
            pairs = np.sort(pairs[:, np.isin(pairs, unseen).any(0) & (pairs[0] != pairs[1])], 0)
            links = np.unique(np.concatenate([whole.links[:, between], pairs], 1), axis=1)
            data.whole = replace(whole, words=words, links=links, labels=np.zeros_like(whole.labels))
        data.setup()
        model = build(name, data)
        size_of_step = len(data.parts["train"]) if name == "vgae" else 32
        training = TrainingSpec(steps=4, batch_size=size_of_step, learning_rate=0.01, validations=1)
        bounds.append(fit(model, data, training, key="k", seed=0).history[-1]["elbo"])
        weights.append(model.state_dict())
    assert all(torch.equal(weights[0][key], value) for key, value in weights[1].items())
    assert bounds[0] != bounds[1], "the unseen papers are others"


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_training_ends_with_the_bits_of_an_uninterrupted_one(
    name: str, data: PapersDataModule, tmp_path: Path
) -> None:
    training, weights = TrainingSpec(steps=6, batch_size=32, learning_rate=0.01, validations=2), []
    for stops in ((), (2, 4)):
        asked = iter(range(1, 100))
        for stop in (*stops, None):
            model = build(name, data)
            control = Control(
                checkpoint=tmp_path / str(len(stops)), stop=lambda stop=stop, asked=asked: next(asked) == stop
            )
            if stop is None:
                fit(model, data, training, key="k", seed=0, control=control)
            else:
                with pytest.raises(TrainingInterrupted):
                    fit(model, data, training, key="k", seed=0, control=control)
        weights.append(model.state_dict())
    assert all(torch.equal(weights[0][key], value) for key, value in weights[1].items())
