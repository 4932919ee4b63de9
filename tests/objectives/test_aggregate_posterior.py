"""What q_agg and q_true are fitted to, in models where the aggregate and the true posterior are known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, MixtureSameFamily, Normal, kl_divergence

from mmvae_bench.backbones.flows import ConditionalFlow, PartialConceptFeatures
from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import Objective
from mmvae_bench.objectives.common.staged import mask_at_random
from mmvae_bench.objectives.vlvae import q_agg

Make = Callable[..., Objective]

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


def test_masking_keeps_whole_concepts_and_every_size_of_part() -> None:
    torch.manual_seed(0)
    concept = torch.randint(3, (40_000, 4))
    masked = mask_at_random(concept, 0.6)
    assert bool(((masked == concept) | (masked == -1)).all())
    sizes = torch.bincount((masked >= 0).sum(1), minlength=5) / len(concept)
    torch.testing.assert_close(sizes, torch.tensor([0.15, 0.15, 0.15, 0.15, 0.4]), rtol=0, atol=0.01)
    kept = (masked >= 0).float().mean(0)
    torch.testing.assert_close(kept, torch.full((4,), 0.4 + 0.15 * 1.5), rtol=0, atol=0.01)
    assert mask_at_random(concept, 0.0) is concept
    some = mask_at_random(concept, 0.6, always=[2])
    assert torch.equal(some[:, 2], concept[:, 2])
    torch.testing.assert_close((some[:, :2] >= 0).float().mean(0), kept[:2], rtol=0, atol=0.01)


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
