"""Cremer and Kushman's networks against the sizes that the paper and its code print."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmvae_bench.backbones.base import Backbone
from mmvae_bench.backbones.two_object_resnet import ResidualBlock, ResidualLayers
from mmvae_bench.base.errors import ConfigError
from mmvae_bench.data.batch import Batch
from mmvae_bench.distributions.pixels import ConstrainedBeta
from mmvae_bench.specs.components import backbones, objectives

from .test_mnist_a import linear_sizes
from .test_rgb_thin import CAPTION


def build(side: int = 112, **settings: object) -> Backbone:
    built = backbones.parse({"name": "two_object_resnet", **settings}).build(
        schema=CAPTION, image_shape=(3, side, side)
    )
    assert isinstance(built, Backbone)
    return built


def convolutions(network: nn.Module) -> list[tuple[int, int, int, int]]:
    return [
        (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0])
        for m in network.modules()
        if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)
    ]


def test_image_encoder() -> None:
    network = build().image_encoder()
    expected = [(3, 64, 7, 1), (64, 128, 3, 2), (128, 256, 3, 2), *[(256, 256, 3, 1)] * 6, (256, 10, 3, 1)]
    assert convolutions(network) == expected
    assert linear_sizes(network) == [(7840, 1000), (1000, 200), (200, 500), (500, 500), (500, 50), (500, 50)]
    assert sum(isinstance(m, ResidualBlock) for m in network.modules()) == 3


def test_image_decoder() -> None:
    network = build().image_decoder()
    expected = [(10, 256, 3, 1), *[(256, 256, 3, 1)] * 6, (256, 128, 3, 2), (128, 64, 3, 2), (64, 3, 7, 1)]
    assert convolutions(network) == expected
    shared = [(50, 500), (500, 500), (500, 500), (500, 500), (500, 200)]
    assert linear_sizes(network) == [*shared, (200, 1000), (1000, 7840)]
    assert linear_sizes(build().concept_decoder())[:5] == shared


def test_joint_encoder_joins_two_encodings_of_200() -> None:
    sizes = linear_sizes(build(16).joint_encoder())
    assert sizes[-4:] == [(400, 500), (500, 500), (500, 50), (500, 50)]
    assert sizes[2:12] == [(100, 200)] * 9 + [(1800, 200)]


def test_the_decoder_gives_a_constrained_beta_of_the_image() -> None:
    px = build(20, width=2).image_decoder().eval()(torch.zeros(2, 50))
    assert px.event_shape == (3, 20, 20)
    assert isinstance(px.base_dist, ConstrainedBeta)
    assert px.base_dist.concentration == 100


def test_residual_layers_add_a_narrow_input_with_zeros_after_it() -> None:
    layers, x = ResidualLayers(3, hidden=5, num_pairs=2).double(), torch.randn(7, 3, dtype=torch.float64)
    expected = torch.cat([x, torch.zeros(7, 2).double()], 1)
    for i, pair in enumerate(layers.pairs):
        first, norm, _, second = pair  # type: ignore[misc]
        hidden = (x if i == 0 else expected) @ first.weight.T
        hidden = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + norm.eps).sqrt()
        expected = expected + F.leaky_relu(hidden, 0.01) @ second.weight.T + second.bias
    torch.testing.assert_close(layers(x), expected)
    with pytest.raises(ValueError, match="the input has 6 features, more than the 5 of the layers"):
        ResidualLayers(6, hidden=5, num_pairs=1)


def test_a_residual_block_against_its_formula() -> None:
    block, x = ResidualBlock(2).double(), torch.randn(3, 2, 5, 6, dtype=torch.float64)
    first, second = (m.weight for m in block.modules() if isinstance(m, nn.Conv2d))

    def normalised(image: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        image = F.conv2d(F.pad(image, (1, 1, 1, 1), mode="reflect"), weight)
        mean, variance = image.mean((2, 3), keepdim=True), image.var((2, 3), unbiased=False, keepdim=True)
        return (image - mean) / (variance + 1e-5).sqrt()

    torch.testing.assert_close(block(x), x + normalised(normalised(x, first).relu(), second))


def test_images_do_not_see_each_other_in_evaluation() -> None:
    network = build(16, width=2).image_encoder().eval()
    images = torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(network(images).mean[:1], network(images[:1]).mean, rtol=1e-4, atol=1e-5)


def test_a_latent_wider_than_the_shared_layers_is_refused() -> None:
    with pytest.raises(ConfigError, match="latent_size"):
        backbones.parse({"name": "two_object_resnet", "latent_size": 501})


@pytest.mark.parametrize("width", [4, pytest.param(64, marks=pytest.mark.slow)])
def test_a_training_step_at_the_published_canvas(width: int) -> None:
    objective = objectives.parse("telbo").build(build(width=width))
    objective.train()
    optimizer = objective.configure_optimizers()
    concept = torch.stack([torch.zeros(9), torch.ones(9)]).long()
    batch = Batch(torch.rand(2, 3, 112, 112), concept, torch.arange(2))
    before = {key: value.clone() for key, value in objective.named_parameters()}
    terms = objective.terms(batch)
    terms.loss.backward()
    optimizer.step()
    assert bool(terms.loss.isfinite())
    assert all(bool(value.isfinite().all()) for value in objective.parameters())
    # Of an embedding only the rows in the batch are trained.
    assert all(not torch.equal(before[key], value) for key, value in objective.named_parameters())
