"""The CelebA-18 networks against the sizes that the paper prints."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmvae_bench.backbones.base import Backbone
from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.distributions.pixels import QuantisedNormal
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
