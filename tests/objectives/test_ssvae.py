"""SSVAE: a classifier inside a VAE; its estimators against enumeration, its supervised terms against their formulas."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, kl_divergence

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import CapabilityError, Objective
from mmvae_bench.report.notes import caution
from mmvae_bench.specs.components import datasets, objectives

from .opinions import Make, assert_agree, kl, log_px, prior_of, redraw

OPEN = (0, 2)
"""The attributes without a label in these tests: ten digits, three orientations."""


def hidden(batch: Batch, positions: tuple[int, ...] = OPEN, *, rows: slice = slice(None)) -> Batch:
    concept = batch.concept.clone()
    concept[rows, list(positions)] = -1
    return replace(batch, concept=concept)


def logits_of(model: Objective, image: Tensor) -> list[Tensor]:
    """The classifier written out: the layers of q(z|x), and a linear map for each attribute."""
    network = model.describer
    features = network.hidden(network.trunk(image))  # type: ignore[operator]
    return [features @ head.weight.T + head.bias for head in network.heads]  # type: ignore[union-attr]


def one_hot(concept: Tensor, sizes: tuple[int, ...]) -> list[Tensor]:
    return [torch.eye(size, dtype=torch.float64)[concept[:, k]] for k, size in enumerate(sizes)]


def conditional_bound(model: Objective, batch: Batch, values: list[Tensor], z: Tensor) -> Tensor:
    """log p(x|y,z) - KL(q(z|x,y) || p(z)) at a y given as shares of values: the networks' first layers are linear."""
    encoder = model.joint_encoder
    tables = encoder.values.tables()  # type: ignore[union-attr,operator]
    features = torch.cat([value @ table for value, table in zip(values, tables, strict=True)], -1)
    joined = torch.cat([encoder.trunk(batch.image), encoder.concept(features)], -1)  # type: ignore[operator,union-attr]
    mean, log_scale = encoder.head(encoder.hidden(joined))  # type: ignore[operator,union-attr]
    q = (mean, log_scale.exp())
    told = torch.cat([redraw(q, z), *values], -1)
    return log_px(model.image_decoder.decoder, told, batch.image) - kl(q, prior_of(q))  # type: ignore[arg-type]


def labelled_terms(model: Objective, batch: Batch) -> tuple[Tensor, Tensor]:
    """log p(y_O) and log q(y_O|x)."""
    log_p, log_q = torch.zeros(len(batch), dtype=torch.float64), torch.zeros(len(batch), dtype=torch.float64)
    for k, logits in enumerate(logits_of(model, batch.image)):
        known = batch.concept[:, k] >= 0
        log_p = log_p - known * math.log(logits.shape[1])
        log_q = log_q + known * Categorical(logits=logits).log_prob(batch.concept[:, k].clamp_min(0))
    return log_p, log_q


def kl_of_open(model: Objective, batch: Batch) -> Tensor:
    total = torch.zeros(len(batch), dtype=torch.float64)
    for k, logits in enumerate(logits_of(model, batch.image)):
        q = Categorical(logits=logits)
        total = total + (batch.concept[:, k] < 0) * kl_divergence(q, Categorical(logits=torch.zeros_like(logits)))
    return total


def exact(model: Objective, batch: Batch, latents: dict[str, Tensor]) -> Tensor:
    """Row by row, over the values of the attributes that the row has no label of: no row shares a sum with another."""
    spec, rows = model.spec, []
    sizes = model.schema.sizes
    anywhere = [k for k in range(len(sizes)) if bool((batch.concept[:, k] < 0).any())]
    order = list(itertools.product(*(range(sizes[k]) for k in anywhere)))
    log_p, log_q = labelled_terms(model, batch)
    probabilities = [logits.softmax(-1) for logits in logits_of(model, batch.image)]
    for i in range(len(batch)):
        one = Batch(batch.image[i : i + 1], batch.concept[i : i + 1], batch.index[i : i + 1])
        total = torch.zeros((), dtype=torch.float64)
        for number, chosen in enumerate(order):
            full, weight = one.concept.clone(), torch.ones((), dtype=torch.float64)
            for k, value in zip(anywhere, chosen, strict=True):
                if one.concept[0, k] < 0:
                    full[0, k] = value
                    weight = weight * probabilities[k][i, value]
                elif one.concept[0, k] != value:
                    weight = weight * 0
            name = "joint" if len(order) == 1 else f"joint/{number}"
            z = latents[name][i : i + 1]
            total = total + weight * conditional_bound(model, one, one_hot(full, sizes), z)[0]
        rows.append(total)
    bound = torch.stack(rows) - kl_of_open(model, batch) + log_p + spec.alpha * log_q  # type: ignore[attr-defined]
    labelled = (batch.concept >= 0).any(1)
    return -torch.where(labelled, spec.gamma * bound, bound).mean()  # type: ignore[attr-defined]


@pytest.mark.parametrize("given", ["labelled", "unlabelled", "in part", "mixed"])
def test_exact_is_the_sum_over_every_value(given: str, make: Make, batch: Batch) -> None:
    model = make("ssvae", estimator="exact", gamma=2.0, alpha=3.0).eval()
    batch = {
        "labelled": batch,
        "unlabelled": hidden(batch, (1, 2)),
        "in part": hidden(batch, (0,)),
        "mixed": hidden(batch, (1, 2), rows=slice(0, 5)),
    }[given]
    terms = model.terms(batch)
    assert_agree(model, terms.loss, exact(model, batch, terms.latents))


def test_without_any_label_nothing_is_weighted_and_the_classifier_learns_from_the_bound(
    make: Make, batch: Batch
) -> None:
    model = make("ssvae", estimator="plug_in", gamma=2.0, alpha=3.0)
    batch = hidden(batch, (0, 1, 2, 3))
    terms = model.terms(batch)
    values = [logits.softmax(-1) for logits in logits_of(model, batch.image)]
    bound = conditional_bound(model, batch, values, terms.latents["joint"]) - kl_of_open(model, batch)
    assert_agree(model, terms.loss, -bound.mean())


def test_plug_in_is_exact_where_the_classifier_is_certain(make: Make, batch: Batch) -> None:
    """E[h(y)] = h(E[y]) for a one-hot y (Sec. 3, plug-in estimation)."""
    unlabelled = hidden(batch)
    models = [make("ssvae", estimator=name).eval() for name in ("plug_in", "exact")]
    for model in models:
        with torch.no_grad():
            for head in model.describer.heads:  # type: ignore[union-attr]
                head.bias[1] += 1e4
    full = batch.concept.clone()
    full[:, OPEN] = 1
    noise, found = torch.zeros(12, 3, dtype=torch.float64), []
    for model in models:
        terms = model.terms(unlabelled)
        number = 1 * model.schema.sizes[OPEN[1]] + 1  # Of the completion (1, 1), in product order.
        z = terms.latents["joint" if "joint" in terms.latents else f"joint/{number}"]
        at_mean = conditional_bound(model, batch, one_hot(full, model.schema.sizes), z)
        found.append((terms.parts["joint/log_px"] - terms.parts["joint/kl"] - at_mean).detach())
    assert all(torch.allclose(each, noise[:, 0], atol=1e-6) for each in found)


def test_concrete_is_a_relaxed_sample_that_gradients_reach(make: Make, batch: Batch) -> None:
    """At a temperature near zero a relaxed sample is one-hot, with the probabilities of q(y|x)."""
    model = make("ssvae", estimator="concrete", temperature=1e-3)
    image = batch.image[:1].expand(4000, -1, -1, -1)
    q_y = model.describer(image)  # type: ignore[operator]
    values, weights = model._completions(q_y, torch.full((4000, 4), -1))  # type: ignore[operator]
    assert torch.equal(weights, torch.ones(1, 4000, dtype=torch.float64))
    shares, expected = values[0].mean(0), torch.cat([each[0].exp() for each in q_y.log_probs])
    assert float((values[0].max(0).values).min()) > 0.9
    torch.testing.assert_close(shares, expected, atol=4 * 0.5 / math.sqrt(4000), rtol=0)
    soft = make("ssvae", estimator="concrete")
    soft.terms(hidden(batch)).loss.backward()  # type: ignore[no-untyped-call]
    assert all(bool(parameter.grad.abs().sum() > 0) for parameter in soft.describer.parameters())  # type: ignore[union-attr]


@pytest.mark.parametrize("given", ["labelled", "unlabelled", "in part", "mixed"])
def test_concrete_is_the_bound_at_the_gumbel_softmax_of_its_noise(given: str, make: Make, batch: Batch) -> None:
    """softmax((log q + g) / temperature) with g = -log(-log u) (Maddison et al. 2017, Eq. 10), at the same u."""
    model = make("ssvae", estimator="concrete", temperature=0.4, gamma=2.0, alpha=3.0).eval()
    batch = {
        "labelled": batch,
        "unlabelled": hidden(batch, (0, 1, 2, 3)),
        "in part": hidden(batch),
        "mixed": hidden(hidden(batch, (0, 1, 2, 3), rows=slice(0, 5)), rows=slice(8, 12)),
    }[given]
    torch.manual_seed(7)
    terms = model.terms(batch)
    torch.manual_seed(7)
    values, labels = [], one_hot(batch.concept.clamp_min(0), model.schema.sizes)
    for k, logits in enumerate(logits_of(model, batch.image)):
        noise = -torch.log(-torch.log(torch.rand(logits.shape, dtype=torch.float64)))
        relaxed = torch.softmax((logits + noise) / 0.4, -1)
        values.append(torch.where(batch.concept[:, k, None] < 0, relaxed, labels[k]))
    log_p, log_q = labelled_terms(model, batch)
    bound = conditional_bound(model, batch, values, terms.latents["joint"])
    bound = bound - kl_of_open(model, batch) + log_p + 3 * log_q
    weight = torch.where((batch.concept >= 0).any(1), 2.0, 1.0)
    assert_agree(model, terms.loss, -(weight * bound).mean())


def test_the_printed_term_and_that_it_unlearns(make: Make, batch: Batch) -> None:
    model = make("ssvae", supervised="printed")
    terms = model.terms(batch)
    log_p, log_q = labelled_terms(model, batch)
    bound = conditional_bound(model, batch, one_hot(batch.concept, model.schema.sizes), terms.latents["joint"]) + log_p
    assert_agree(model, terms.loss, -(log_q.exp() * (bound - log_q)).mean())
    # Its gradient in the logit of the right value is positive, where that of the published form is negative.
    for supervised, sign in (("printed", 1), ("review", -1)):
        model = make("ssvae", supervised=supervised)
        with torch.no_grad():
            for head in model.describer.heads:  # type: ignore[union-attr]
                head.weight.zero_()
                head.bias.zero_()
        one = Batch(batch.image[:1], batch.concept[:1], batch.index[:1])
        model.terms(one).loss.backward()  # type: ignore[no-untyped-call]
        slopes = [head.bias.grad[value] for head, value in zip(model.describer.heads, one.concept[0], strict=True)]  # type: ignore[union-attr,arg-type]
        assert all(float(slope) * sign > 0 for slope in slopes)


def test_it_imagines_describes_and_reconstructs(make: Make, batch: Batch) -> None:
    model = make("ssvae").eval()
    assert model.can_imagine
    assert model.can_describe
    expected = torch.stack([logits.argmax(-1) for logits in logits_of(model, batch.image)], -1)
    assert torch.equal(model.describe(batch.image), expected)
    assert torch.equal(model.reconstruct(batch.image), model.reconstruct(batch.image, expected))
    assert not torch.equal(model.reconstruct(batch.image), model.reconstruct(batch.image, (expected + 1) % 2))
    z, told = model.draw_latents(torch.tensor([[3, -1, -1, 2]]), 6000)
    assert bool((told[:, [0, 3]] == torch.tensor([3, 2])).all())
    assert torch.equal(told[:, 1].unique(), torch.arange(2))
    for k, size in ((1, 2), (2, 3)):
        counts = told[:, k].bincount(minlength=size) / 6000
        torch.testing.assert_close(counts, torch.full((size,), 1 / size), atol=0.03, rtol=0)
    torch.testing.assert_close(z.std(0), torch.ones(3, dtype=torch.float64), atol=0.05, rtol=0)
    torch.testing.assert_close(z.mean(0), torch.zeros(3, dtype=torch.float64), atol=0.06, rtol=0)


def test_it_says_what_it_cannot(make: Make, batch: Batch) -> None:
    model = make("ssvae").eval()
    z = torch.zeros(12, 3, dtype=torch.float64)
    with pytest.raises(CapabilityError, match=r"^ssvae trains no q\(z\|x\); it has q\(z\|y\), q\(z\|x,y\)$"):
        model.posterior(batch.image)
    with pytest.raises(CapabilityError, match="fully specified concepts only"):
        model.image_likelihood(z, hidden(batch).concept)
    with pytest.raises(CapabilityError, match=r"p\(x\|y,z\) but no p\(x\|z\)"):
        model.image_likelihood(z)
    with pytest.raises(CapabilityError, match=r"no p\(y\|z\): z and y are independent"):
        model.concept_likelihood(z)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperature": 0.5}, "temperature: only applies to estimator concrete"),
        ({"supervised": "printed", "alpha": 1.0}, "alpha: only applies to supervised review"),
        ({"supervised": "printed", "gamma": 3.0}, "gamma: only applies to supervised review"),
    ],
)
def test_a_setting_without_effect_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        objectives.parse({"name": "ssvae", **settings})


def test_a_sum_over_too_many_concepts_is_refused() -> None:
    spec = objectives.parse({"name": "ssvae", "estimator": "exact"})
    spec.check_concepts(datasets.parse("mnist"))
    with pytest.raises(ConfigError, match=r"sum over the 240 concepts of mnist_a[^\n]*at most 64"):
        spec.check_concepts(datasets.parse("mnist_a"))


def test_a_report_warns_of_the_printed_term() -> None:
    words = "ssvae with supervised printed unlearns its labels: an ablation."
    assert caution({"name": "ssvae", "supervised": "printed"}) == words
    for settings in ({"name": "ssvae"}, {"name": "jmvae"}, {"name": "nothing"}, {"name": "ssvae", "supervised": 3}):
        assert caution(settings) is None
