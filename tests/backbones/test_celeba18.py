"""The CelebA-18 networks against the sizes that the paper prints."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mmvae_bench.backbones.base import Backbone
from mmvae_bench.backbones.dcgan import steady_normal_image
from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.distributions.pixels import QuantisedNormal, quantised_normal_image
from mmvae_bench.specs.components import backbones

from .test_mnist_a import linear_sizes

FLAGS = Schema(tuple(Attribute(f"flag_{number}", ("no", "yes")) for number in range(18)))


@pytest.fixture
def backbone() -> Backbone:
    built = backbones.parse("celeba18").build(schema=FLAGS, image_shape=(3, 64, 64))
    assert isinstance(built, Backbone)
    return built


def test_fully_connected_sizes(backbone: Backbone) -> None:
    assert linear_sizes(backbone.image_encoder()) == [(1024, 512), (512, 512), (512, 18), (512, 18)]
    joint = [(32, 512)] * 18 + [(18 * 512, 512), (512, 512), (1024 + 512, 512)] + [(512, 18)] * 2
    assert linear_sizes(backbone.joint_encoder()) == joint
    assert linear_sizes(backbone.concept_encoder()) == [(32, 512)] * 18 + [(512, 18)] * 36
    assert linear_sizes(backbone.concept_decoder()) == [(18, 128), (128, 128), (128, 2)] * 18
    assert backbone.concept_decoder().l2 == 5e-6


def test_trunk_and_decoder_are_mnist_as_with_three_channels_and_a_scale_for_each(backbone: Backbone) -> None:
    convolutions = [m for m in backbone.image_encoder().modules() if isinstance(m, nn.Conv2d)]
    assert [(m.in_channels, m.out_channels, m.stride[0]) for m in convolutions] == [
        (3, 32, 1),
        (32, 64, 2),
        (64, 128, 2),
        (128, 16, 2),
    ]
    decoder = backbone.image_decoder().eval()
    assert [m.out_channels for m in decoder.modules() if isinstance(m, nn.ConvTranspose2d)] == [1024, 512, 256, 128, 6]
    px = decoder(torch.zeros(1, 18))
    assert px.event_shape == (3, 64, 64)
    assert isinstance(px.base_dist, QuantisedNormal)


def test_an_unspecified_attribute_widens_the_posterior_and_none_specified_is_the_prior(backbone: Backbone) -> None:
    network = backbone.concept_encoder()
    concept = torch.ones(3, 18, dtype=torch.long)
    concept[1, 9:], concept[2] = -1, -1
    scale = network(concept).base_dist.scale
    assert bool((scale[0] < scale[1]).all())
    assert bool((scale[1] < scale[2]).all())
    assert torch.equal(scale[2], torch.ones(18))


def test_scales_are_exponentials_up_to_a_size_that_no_picture_has() -> None:
    """Bit for bit in value and gradient: nothing that was trained changes."""
    s = torch.cat([torch.linspace(-60, 9.95, 1399), torch.tensor([10.0])]).reshape(1, 1, -1, 1).requires_grad_()
    found, plain = (
        image(torch.cat([torch.zeros_like(s), s], 1)).base_dist.scale
        for image in (steady_normal_image, quantised_normal_image)
    )
    assert torch.equal(found, plain)
    weights = torch.randn(s.shape, generator=torch.Generator().manual_seed(0))
    slopes = [torch.autograd.grad((each * weights).sum(), s)[0] for each in (found, plain)]
    assert torch.equal(*slopes)


def test_a_scale_beyond_it_stays_finite_and_is_made_smaller(backbone: Backbone) -> None:
    """The first steps take the log scale of some pixel beyond 88, whose exponential is infinite."""
    decoder = backbone.image_decoder().eval()
    bias = next(each for each in decoder.modules() if isinstance(each, nn.ConvTranspose2d) and each.bias is not None)
    for size in (10.5, 100.0, 1e6):
        with torch.no_grad():
            bias.bias[3:] = size
        px = decoder(torch.zeros(1, 18))
        tangent = math.exp(10) / 2 * (1 + size - 10)
        assert px.base_dist.scale.mean().item() == pytest.approx(tangent, rel=0.1)
        log_px = px.log_prob(torch.full((1, 3, 64, 64), 0.5))
        assert bool(log_px.isfinite())
        (slope,) = torch.autograd.grad(log_px, bias.bias)
        assert bool((slope[3:] < 0).all())
