"""Networks that take a mixture of an attribute's values: of one value alone it is that value, to the bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmvae_bench.backbones.layers import mixture
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import Objective
from mmvae_bench.objectives.discvae import DisCVAE, split_layers
from mmvae_bench.specs.components import objectives

from ..conformance.worlds import BANDS, small, world

BACKBONES = ("attribute2image_thin", "rgb_thin", "patches")


def batch_and_model(name: str, objective: str) -> tuple[Batch, Objective]:
    data = world(name)
    built = small(name).build(schema=data.schema, image_shape=data.image_shape)
    model = objectives.parse(objective).build(built, seed=0).eval()
    return data.store.batch(torch.arange(8)), model


def weights_of(concept: Tensor) -> Tensor:
    return mixture(concept, BANDS.sizes, dtype=torch.float32)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_single_value_is_that_value_to_the_bit(name: str) -> None:
    batch, model = batch_and_model(name, "cvae")
    weights, z = weights_of(batch.concept), torch.randn(8, model.latent_size)
    assert torch.equal(weights.sum(1), torch.full((8,), 3.0))
    assert torch.equal(model.image_decoder(z, batch.concept).mean, model.image_decoder(z, weights).mean)
    by_index, by_weight = (model.joint_encoder(batch.image, y) for y in (batch.concept, weights))  # type: ignore[operator]
    assert torch.equal(by_index.mean, by_weight.mean)
    assert torch.equal(by_index.stddev, by_weight.stddev)


@pytest.mark.parametrize("name", BACKBONES)
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
    weights, z = weights_of(batch.concept), torch.randn(8, model.latent_size)
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
