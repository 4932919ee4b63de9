"""Networks that take a mixture of an attribute's values: of one value alone it is that value, to the bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmvae_bench.backbones.layers import mixture
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import Objective
from mmvae_bench.objectives.discvae import DisCVAE, split_layers
from mmvae_bench.specs.components import backbones, objectives, of_domain

from ..conformance.worlds import BANDS, small, world

BACKBONES = [name for name in of_domain(backbones, "images") if "strengths" in backbones.get(name).views]


def test_somebody_takes_them() -> None:
    assert {"attribute2image", "attribute2image_thin", "rgb_thin", "patches", "celeba18", "mlp"} < {*BACKBONES}


def batch_and_model(name: str, objective: str) -> tuple[Batch, Objective]:
    data = world(name)
    built = small(name).build(schema=data.schema, image_shape=data.image_shape)
    model = objectives.parse(objective).build(built, seed=0).eval()
    return data.store.batch(torch.arange(4)), model


def weights_of(concept: Tensor) -> Tensor:
    return mixture(concept, BANDS.sizes, dtype=torch.float32)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_single_value_is_that_value_to_the_bit(name: str) -> None:
    batch, model = batch_and_model(name, "cvae")
    weights, z = weights_of(batch.concept), torch.randn(4, model.latent_size)
    assert torch.equal(weights.sum(1), torch.full((4,), 3.0))
    assert torch.equal(model.image_decoder(z, batch.concept).mean, model.image_decoder(z, weights).mean)
    by_index, by_weight = (model.joint_encoder(batch.image, y) for y in (batch.concept, weights))  # type: ignore[operator]
    assert torch.equal(by_index.mean, by_weight.mean)
    assert torch.equal(by_index.stddev, by_weight.stddev)
    prior_by_index, prior_by_weight = (model.posterior(concept=y) for y in (batch.concept, weights))
    assert torch.equal(prior_by_index.mean, prior_by_weight.mean)
    assert torch.equal(prior_by_index.stddev, prior_by_weight.stddev)


def test_the_prior_of_a_mixture_is_between_those_of_its_values() -> None:
    """Of each attribute an expert with the mixture of means and log scales; and p(z)."""
    _, model = batch_and_model("rgb_thin", "cvae")
    network = model.concept_encoder
    weights = torch.tensor([[0.25, 0.75, 0.5, 0.5, 0.0, -1.0, 2.0]])
    parts = []
    for k, (table, head) in enumerate(zip(network.features.tables(), network.heads, strict=True)):  # type: ignore
        share = weights[0].split([2, 3, 2])[k].double()
        parts.append([(share[:, None] * each.double()).sum(0) for each in head(table)])
    precisions = [(-2 * log_scale).exp() for _, log_scale in parts]
    total = 1 + sum(precisions)
    mean = sum(precision * mean for precision, (mean, _) in zip(precisions, parts, strict=True)) / total
    found = model.posterior(concept=weights)
    torch.testing.assert_close(found.mean[0].double(), mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.stddev[0].double(), total.rsqrt(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["attribute2image_thin", "rgb_thin", "patches"])
def test_between_two_values_lies_neither(name: str) -> None:
    """A picture changes all the way from one value to the other."""
    _, model = batch_and_model(name, "cvae")
    z, first = torch.randn(1, model.latent_size), weights_of(torch.tensor([[0, 1, 0]]))
    second = weights_of(torch.tensor([[1, 1, 0]]))
    pictures = [model.image_decoder(z, torch.lerp(first, second, share)).mean for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert torch.equal(pictures[0], model.image_decoder(z, torch.tensor([[0, 1, 0]])).mean)
    apart = [float((one - pictures[0]).detach().abs().mean()) for one in pictures]
    assert apart == sorted(apart)
    assert apart[0] == 0 < apart[1] < apart[-1]


def test_the_layers_take_a_mixture_too() -> None:
    batch, model = batch_and_model("attribute2image_thin", "discvae")
    assert isinstance(model, DisCVAE)
    assert batch.mask is not None
    weights, z = weights_of(batch.concept), torch.randn(4, model.latent_size)
    one, two = model.layers(z, batch.concept), model.layers(z, weights)
    assert torch.equal(one.mean, two.mean)
    assert torch.equal(one.gate.mean, two.gate.mean)
    foreground, _ = split_layers(batch.image, batch.mask)
    by_index, by_weight = (model.foreground_encoder(foreground, y) for y in (batch.concept, weights))
    assert torch.equal(by_index.mean, by_weight.mean)
    by_index, by_weight = (model.background_encoder(batch.image, y, z[:, :3]) for y in (batch.concept, weights))
    assert torch.equal(by_index.mean, by_weight.mean)


def test_as_many_weights_as_values() -> None:
    with pytest.raises(ValueError, match="7 values have as many weights, got 6"):
        mixture(torch.zeros(2, 6), BANDS.sizes, dtype=torch.float32)
