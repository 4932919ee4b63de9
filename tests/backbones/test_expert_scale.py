"""The bound on the scale of an attribute's expert: its formula, that an expert behind it returns, what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from mmvae_bench.backbones.layers import ConceptExperts
from mmvae_bench.base.errors import ConfigError
from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.objectives.common.concept_encoders import ExpertsAlone
from mmvae_bench.specs.components import backbones
from mmvae_bench.specs.trial import TrialSpec

SCHEMA = Schema((Attribute("size", ("small", "big")), Attribute("colour", ("red", "green", "blue"))))


def experts(largest_scale: float | None) -> ConceptExperts:
    torch.manual_seed(0)
    return ConceptExperts(SCHEMA, embedding=4, sizes=(8,), latent_size=3, largest_scale=largest_scale)


def test_a_scale_is_bounded_by_the_formula_and_a_mean_is_not_touched() -> None:
    free, bounded = experts(None), experts(3.0)
    concept = torch.tensor([[0, 2], [1, -1]])
    (mean, log_scale), (same, found) = free.experts(concept), bounded.experts(concept)
    assert torch.equal(mean, same)
    # 1 / s' = 1 / s + 1 / 3, which is the formula in scales.
    torch.testing.assert_close(found.exp(), 1 / ((-log_scale).exp() + 1 / 3))
    with torch.no_grad():
        bounded.heads[0].log_scale.bias += 20
    assert bounded.experts(concept)[1].max() <= math.log(3)


def test_the_mean_of_an_expert_that_tells_nothing_returns_only_with_a_bound() -> None:
    """Both start at log scales of 10, beyond JMVAE's worst, and learn by KL(p || q(z|y)); a scale need not return."""
    means = torch.tensor([[-1.5, 0, 1], [1.5, 0, -1]])
    target = Independent(Normal(means, torch.full((2, 3), 0.3)), 1)
    concept = torch.tensor([[0, -1], [1, -1]])
    away: dict[float | None, float] = {}
    for bound in (None, 3.0):
        model = experts(bound)
        with torch.no_grad():
            model.heads[0].log_scale.bias += 10
        optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
        for _ in range(800):
            loss = kl_divergence(target, model(concept)).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        away[bound] = float((model(concept).mean.detach() - means).abs().max())
    assert away[3.0] < 0.05 < 1.4 < away[None]


def test_experts_without_the_prior_have_the_same_bound() -> None:
    bounded = experts(3.0)
    concept = torch.tensor([[0, 2]])
    alone = ExpertsAlone(bounded)
    assert all(torch.equal(*pair) for pair in zip(alone.experts(concept), bounded.experts(concept), strict=True))
    precision = (-2 * bounded.experts(concept)[1]).exp().sum(1)
    torch.testing.assert_close(alone(concept).stddev, precision.rsqrt())


@pytest.mark.parametrize("name", ["patches", "rgb_thin", "mnist_a_thin", "mlp"])
def test_the_setting_reaches_the_networks_and_leaves_other_keys(name: str) -> None:
    plain = backbones.parse(name)
    assert "largest_expert_scale" not in plain.canonical()
    spec = backbones.parse({"name": name, "largest_expert_scale": 3})
    assert spec.canonical()["largest_expert_scale"] == 3
    shape = (1, 16, 16) if name in ("mnist_a_thin", "mlp") else (3, 16, 16)
    for each, expected in ((plain, None), (spec, 3)):
        encoder = each.build(schema=SCHEMA, image_shape=shape).concept_encoder()
        assert isinstance(encoder, ConceptExperts)
        assert encoder.largest_scale == expected


def test_captions_have_no_expert_for_an_attribute() -> None:
    settings = {
        "backbone": {"name": "patches", "largest_expert_scale": 3},
        "objective": "jmvae",
        "training": {"steps": 1},
    }
    TrialSpec.parse({**settings, "dataset": "sprites"})
    with pytest.raises(ConfigError, match=r"backbone.largest_expert_scale: only applies where y is told by values"):
        TrialSpec.parse({**settings, "dataset": {"name": "sprites", "view": "text"}})
    with pytest.raises(ConfigError, match="largest_expert_scale"):
        backbones.parse({"name": "patches", "largest_expert_scale": 0})
