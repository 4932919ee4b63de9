"""VLVAE, q_True and q_Agg: one model, and the two posteriors of a concept that are fitted to it."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, MixtureSameFamily, Normal, kl_divergence

from mmvae_bench.backbones.flows import ConditionalFlow, PartialConceptFeatures
from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import CapabilityError
from mmvae_bench.objectives.common.staged import mask_at_random
from mmvae_bench.objectives.vlvae import q_agg
from mmvae_bench.specs.components import backbones, objectives
from mmvae_bench.specs.trial import TrainingSpec
from mmvae_bench.training.fit import fit

from .opinions import (
    Make,
    assert_agree,
    assert_parts_add_up,
    bound,
    from_base,
    gaussian,
    log_flow,
    log_normal,
    log_py,
    networks_with_gradients,
    standard,
    tame,
    to_base,
)

VLVAE = {"image_weight": 0.3, "concept_weight": 7.0, "prior_flow": True}


@pytest.mark.parametrize("inference", ["image", "joint"])
@pytest.mark.parametrize("name", ["vlvae", "q_agg", "q_true"])
def test_value_and_gradient(name: str, inference: str, make: Make, batch: Batch) -> None:
    """At two draws; the second has a z far out for q(z|x), where one attribute's value is all but impossible."""
    extra = {} if name == "vlvae" else {"mask_probability": 0.0} | ({"gamma": 3.0} if name == "q_true" else {})
    model = tame(make(name, inference=inference, **VLVAE, **extra))
    for seed in (0, 68):
        torch.manual_seed(seed)
        terms = model.terms(batch)
        inputs = (batch.image,) if inference == "image" else (batch.image, batch.concept)
        q = gaussian(getattr(model, f"{inference}_encoder")(*inputs))
        z = terms.latents[inference].detach()
        value = -bound(model, batch, q, z, 0.3, 7.0)
        value = value - log_flow(model.prior_flow.flow, z, standard(z))  # type: ignore[union-attr,arg-type]
        if name != "vlvae":
            flow, context = model.concept_encoder.flow, model.concept_encoder.features(batch.concept)  # type: ignore[union-attr,operator]
            if name == "q_agg":
                value = value - log_flow(flow, z, standard(z), context)  # type: ignore[arg-type]
            else:
                noise = to_base(flow, terms.latents["concept"], context)[0].detach()  # type: ignore[arg-type]
                drawn = from_base(flow, noise, context)  # type: ignore[arg-type]
                decoder = copy.deepcopy(model.concept_decoder).requires_grad_(False)
                value = value - 3.0 * log_py(decoder, drawn, batch.concept) - log_normal(drawn, standard(z))
                value = value + log_flow(flow, drawn, standard(z), context)  # type: ignore[arg-type]
        assert_agree(model, terms.loss, value.mean())


@pytest.mark.parametrize("name", ["q_agg", "q_true"])
def test_parts_add_up(name: str, make: Make, batch: Batch) -> None:
    weights = {"image/log_px": -0.3, "image/log_py": -7, "image/kl": 1, "prior/log_q": -1} | {
        "q_agg": {"concept/log_q": -1},
        "q_true": {"concept/log_py": -3, "concept/log_pz": -1, "concept/log_q": 1},
    }[name]
    model = tame(make(name, **VLVAE, **({"gamma": 3.0} if name == "q_true" else {})))
    assert_parts_add_up(model.terms(batch), weights, batch_size=len(batch))


def test_the_flow_is_asked_about_the_concept_that_is_left(make: Make, batch: Batch) -> None:
    model = tame(make("q_agg", mask_probability=0.7)).eval()
    z = torch.randn(len(batch), 3, dtype=torch.float64)
    torch.manual_seed(9)
    log_q = model.flow_terms("concept", batch, z).parts["concept/log_q"]  # type: ignore[operator]
    torch.manual_seed(9)
    left = mask_at_random(batch.concept, 0.7)
    assert bool((left < 0).any())
    torch.testing.assert_close(log_q, model.posterior(concept=left).log_prob(z))
    assert not torch.allclose(log_q, model.posterior(concept=batch.concept).log_prob(z))


def test_outside_of_stages_the_flows_do_not_teach_the_model(make: Make, batch: Batch) -> None:
    """q_agg's concept term alone: no gradient to what gave it z."""
    model = make("q_agg", prior_flow=True)
    z = model.bound(batch).latents["image"].detach()  # type: ignore[operator]
    for stage, network in model.flow_stages.items():  # type: ignore[union-attr,operator]
        model.zero_grad(set_to_none=True)
        model.flow_terms(stage, batch, z).loss.backward()  # type: ignore[operator]
        assert networks_with_gradients(model) == {network}


def test_q_true_and_q_agg_and_vlvae_have_one_model_between_them(digits: ConceptDataModule) -> None:
    """To the bit, after all stages: only q(z|y) tells them apart, so it alone is compared."""
    states = {}
    for name in ("vlvae", "q_true", "q_agg"):
        backbone = backbones.parse({"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3})
        built = backbone.build(schema=digits.schema, image_shape=digits.image_shape)
        model = objectives.parse({"name": name}).build(built, seed=3)
        start = {key: value.clone() for key, value in model.state_dict().items()}
        fit(model, digits, TrainingSpec(steps=4, batch_size=16, learning_rate=1e-2), key="k", seed=3)
        states[name] = model.state_dict()
        assert all(
            not torch.equal(value, start[key]) for key, value in states[name].items() if key.endswith("hyper.0.weight")
        )
    for key, value in states["vlvae"].items():
        assert torch.equal(value, states["q_true"][key]), key
        assert torch.equal(value, states["q_agg"][key]), key
    flows = [key for key in states["q_agg"] if key.startswith("concept_encoder")]
    assert states["q_true"].keys() == states["q_agg"].keys()
    assert any(not torch.equal(states["q_true"][key], states["q_agg"][key]) for key in flows)


def test_the_kl_warms_up_in_training_and_nowhere_else(make: Make, batch: Batch) -> None:
    model = make("vlvae")
    (stage,) = model.stages(TrainingSpec(steps=400))
    assert model.kl_weight() == 1  # type: ignore[operator]
    model.begin_stage(stage)
    model.train()
    weights = []
    for step in (0, 5, 10, 20, 399):
        model.step_done = step
        weights.append(model.kl_weight())  # type: ignore[operator]
    assert weights == [0, 0.25, 0.5, 1, 1]
    model.step_done = 5
    torch.manual_seed(0)
    terms = model.terms(batch)
    parts = {key: value.mean().item() for key, value in terms.parts.items()}
    expected = -parts["image/log_px"] - 50 * parts["image/log_py"] + 0.25 * parts["image/kl"]
    assert terms.loss.item() == pytest.approx(expected)
    model.eval()
    assert model.kl_weight() == 1  # type: ignore[operator]
    at_once = make("vlvae", kl_warmup_steps=0)
    at_once.begin_stage(stage)
    assert at_once.train().kl_weight() == 1  # type: ignore[operator]


def test_vlvae_says_why_it_cannot_imagine(make: Make, batch: Batch) -> None:
    with pytest.raises(CapabilityError, match=r"vlvae trains no q\(z\|y\); it has q\(z\|x\).*3 C's"):
        make("vlvae").imagine(batch.concept[0])
    with pytest.raises(CapabilityError, match="set prior_flow: true"):
        make("vlvae").aggregate_prior()  # type: ignore[operator]
    q = make("vlvae", prior_flow=True).aggregate_prior()  # type: ignore[operator]
    assert q.log_prob(q.sample((5,))).shape == (5,)


def test_a_flow_that_saw_full_concepts_only_is_asked_no_other(make: Make) -> None:
    concept = torch.tensor([[1, -1, 0, 2]])
    assert make("q_agg").imagine(concept, num_samples=2).shape == (1, 2, 1, 16, 16)
    with pytest.raises(CapabilityError, match="q_agg takes fully specified concepts only"):
        make("q_agg", mask_probability=0.0).imagine(concept)


# ---------------------------------------------------------------- where the aggregate and true posteriors are known


SCHEMA = Schema((Attribute("first", ("a", "b")), Attribute("second", ("c", "d"))))
COMBINATIONS = SCHEMA.combinations()
CENTRES = torch.tensor([[-1.0, -0.6], [-0.8, 0.9], [1.1, -0.5], [0.7, 0.8]], dtype=torch.float64)
SLOPE, SPREAD, NOISE = 0.8, 0.5, 0.4
"""Given a concept, x ~ N(its centre, SPREAD^2); q(z|x) = N(SLOPE x, NOISE^2). So the aggregate is Gaussian too."""
AGGREGATE_SCALE = math.hypot(SLOPE * SPREAD, NOISE)


def draw(count: int) -> tuple[Tensor, Tensor]:
    """Concepts Long[B, A], all equally probable, and z ~ q(z|x) for an image of each."""
    rows = torch.randint(4, (count,))
    x = CENTRES[rows] + SPREAD * torch.randn(count, 2, dtype=torch.float64)
    return COMBINATIONS[rows], SLOPE * x + NOISE * torch.randn(count, 2, dtype=torch.float64)


def aggregate(concept: list[int]) -> MixtureSameFamily:
    """q^{y_O}(z), the mixture over the concepts that have the attributes y_O."""
    wanted = torch.tensor(concept)
    rows = ((wanted < 0) | (wanted == COMBINATIONS)).all(1)
    parts = Independent(Normal(SLOPE * CENTRES[rows], AGGREGATE_SCALE), 1)
    return MixtureSameFamily(torch.distributions.Categorical(logits=torch.zeros(int(rows.sum()))), parts)


def test_the_loss_is_least_at_the_aggregate_posterior() -> None:
    """Its gradient vanishes there, and away from it the loss rises by the divergence (Eq. 5)."""
    torch.manual_seed(0)
    concepts, z = draw(200_000)
    rows = 2 * concepts[:, 0] + concepts[:, 1]

    def part(shift: Tensor, log_scale: Tensor) -> Tensor:
        q = Independent(Normal((SLOPE * CENTRES + shift)[rows], AGGREGATE_SCALE * log_scale.exp()[rows]), 1)
        return q_agg(log_q=q.log_prob(z)).loss

    shift, log_scale = torch.zeros(4, 2, dtype=torch.float64), torch.zeros(4, 2, dtype=torch.float64)
    shift.requires_grad_()
    log_scale.requires_grad_()
    least = part(shift, log_scale)
    entropy = 2 * (0.5 * math.log(2 * math.pi * math.e) + math.log(AGGREGATE_SCALE))
    assert least.item() == pytest.approx(entropy, abs=0.02)
    for gradient in torch.autograd.grad(least, (shift, log_scale)):
        assert float(gradient.abs().max()) < 0.01
    for amount in (0.3, -0.3):
        moved = Independent(Normal(SLOPE * CENTRES + amount, AGGREGATE_SCALE * math.exp(amount)), 1)
        true = Independent(Normal(SLOPE * CENTRES, torch.tensor(AGGREGATE_SCALE).double()).expand((4, 2)), 1)
        constant = torch.full((4, 2), amount, dtype=torch.float64)
        rise = part(constant, constant) - least
        torch.testing.assert_close(rise, kl_divergence(true, moved).mean(), rtol=0.05, atol=0.0)


def test_a_flow_fitted_with_masked_concepts_is_the_aggregate_of_every_partial_concept() -> None:
    torch.manual_seed(0)
    features = PartialConceptFeatures(SCHEMA, num_features=20)
    flow = ConditionalFlow(features, num_features=20, latent_size=2).double()
    num_steps = 400
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, num_steps)
    for _ in range(num_steps):
        concepts, z = draw(512)
        optimizer.zero_grad()
        q_agg(log_q=flow(mask_at_random(concepts, 0.5)).log_prob(z)).loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    for concept in itertools.product((-1, 0, 1), repeat=2):
        target = aggregate(list(concept))
        z = target.sample((4000,))
        with torch.no_grad():
            fitted = flow(torch.tensor([concept])).log_prob(z)
        divergence = (target.log_prob(z) - fitted).mean().item()
        assert divergence < 0.06, concept
        # What the test could not tell from the aggregate if the flow did not hear what is specified.
        blind = (target.log_prob(z) - aggregate([-1, -1]).log_prob(z)).mean().item()
        assert blind > 0.3 or concept == (-1, -1)


def test_the_loss_of_q_true_is_the_bound_on_the_concepts_probability(make: Make, batch: Batch) -> None:
    """-log p(y_O) plus KL(q(z|y_O) || p(z|y_O)), both by integration over a grid of z."""
    model = make("q_true", latent_size=2).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("concept_encoder"):
                parameter *= 0.4
    side = torch.linspace(-8, 8, 161, dtype=torch.float64)
    grid, cell = torch.cartesian_prod(side, side), float(side[1] - side[0]) ** 2
    for concept in ([4, 1, 2, 3], [4, -1, -1, 0], [-1, -1, -1, -1]):
        one = torch.tensor([concept])
        with torch.no_grad():
            log_p = model.concept_likelihood(grid).log_prob(one.expand(len(grid), -1)) - 0.5 * grid.square().sum(1)
            log_p = log_p - math.log(2 * math.pi)
            log_q = model.posterior(concept=one).log_prob(grid[:, None])[:, 0]
            evidence = (log_p.exp().sum() * cell).log()
            assert log_q.exp().sum() * cell == pytest.approx(1, abs=1e-3)
            divergence = (log_q.exp() * (log_q - (log_p - evidence))).sum() * cell
            many = one.expand(2000, -1)
            torch.manual_seed(2)
            terms = model.concept_terms(model.posterior(concept=many), many, torch.empty(0))  # type: ignore[operator]
            parts = terms.parts
            values = parts["concept/log_q"] - parts["concept/log_py"] - parts["concept/log_pz"]
        assert divergence > 0.05, "nothing to tell apart"
        error = float(values.std()) / len(values) ** 0.5
        assert float(terms.loss) == pytest.approx(float(divergence - evidence), abs=5 * error + 1e-3)
    assert float(evidence) == pytest.approx(0, abs=1e-6), "nothing specified is certain"
