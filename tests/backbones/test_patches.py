"""Networks over patches, against convolutions whose stride is their size."""

from __future__ import annotations

import pytest
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.specs.components import backbones, datasets

from ..conformance.worlds import BandsSpec

SCHEMA = Schema((Attribute("shade", ("dark", "light")), Attribute("side", ("left", "right", "both"))))


def build(height: int, width: int, channels: int = 3, **settings: object):  # type: ignore[no-untyped-def]
    spec = backbones.parse({"name": "patches", "width": 6, "hidden": 10, "latent_size": 4, **settings})
    return spec.build(schema=SCHEMA, image_shape=(channels, height, width))


def linear(network: nn.Module) -> list[nn.Linear]:
    return [module for module in network.modules() if isinstance(module, nn.Linear)]


def by_convolution(layers: list[nn.Linear], image: Tensor) -> Tensor:
    """The trunk: a convolution over 4x4 pixels, then convolutions over 2x2 patches."""
    features = F.elu(F.conv2d(image, layers[0].weight.unflatten(1, (-1, 4, 4)), layers[0].bias, stride=4))
    for layer in layers[1:]:
        kernel = rearrange(layer.weight, "out (p q c) -> out c p q", p=2, q=2)
        features = F.elu(F.conv2d(features, kernel, layer.bias, stride=2))
    return rearrange(features, "b c h w -> b (h w c)")


def by_transposed_convolution(layers: list[nn.Linear], z: Tensor, grid: tuple[int, int]) -> Tensor:
    """The decoder's network: the same the other way."""
    features = F.elu(layers[1](F.elu(layers[0](z))))
    maps = rearrange(features, "b (h w c) -> b c h w", h=grid[0], w=grid[1])
    for layer in layers[2:-1]:
        kernel = rearrange(layer.weight, "(p q c) i -> i c p q", p=2, q=2)
        # Each place of a patch has its own bias, which a transposed convolution cannot have.
        bias = rearrange(layer.bias, "(p q c) -> c p q", p=2, q=2).repeat(1, *maps.shape[2:])
        maps = F.elu(F.conv_transpose2d(maps, kernel, stride=2) + bias)
    kernel = rearrange(layers[-1].weight, "(c p q) i -> i c p q", p=4, q=4)
    bias = rearrange(layers[-1].bias, "(c p q) -> c p q", p=4, q=4).tile(1, *maps.shape[2:])
    return F.conv_transpose2d(maps, kernel, stride=4) + bias


@pytest.mark.parametrize(
    ("sides", "grid", "widths"),
    [
        ((16, 16), (4, 4), [6]),
        ((32, 32), (4, 4), [6, 12]),
        ((28, 28), (7, 7), [6]),
        ((48, 48), (3, 3), [6, 12, 24]),
        ((64, 32), (8, 4), [6, 12]),
        ((64, 64), (4, 4), [6, 12, 24]),
        ((112, 112), (7, 7), [6, 12, 24]),
        ((128, 128), (4, 4), [6, 12, 24, 24]),
    ],
)
def test_every_layer_is_a_convolution_without_overlap(
    sides: tuple[int, int], grid: tuple[int, int], widths: list[int]
) -> None:
    backbone = build(*sides, likelihood="normal", likelihood_scale=0.5)
    encoder, decoder = backbone.image_encoder().double(), backbone.image_decoder().double()
    image, z = torch.rand(2, 3, *sides, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    layers = linear(encoder.trunk)
    assert [layer.out_features for layer in layers] == widths
    torch.testing.assert_close(encoder.trunk(image), by_convolution(layers, image))
    expected = by_transposed_convolution(linear(decoder.network), z, grid)
    torch.testing.assert_close(decoder.network(z), expected)
    torch.testing.assert_close(decoder(z).mean, decoder.likelihood.distribution(expected).mean)


@pytest.mark.parametrize("likelihood", ["bernoulli", "quantised_normal", "beta", "normal", "laplace"])
def test_likelihoods_score_each_pixel_of_its_own_channel(likelihood: str) -> None:
    channels = 1 if likelihood == "bernoulli" else 3
    scale = 0.5 if likelihood in ("normal", "laplace") else None
    decoder = build(16, 16, channels, likelihood=likelihood, likelihood_scale=scale).image_decoder()
    z = torch.randn(1, 4)
    image = (torch.rand(1, channels, 16, 16) > 0.5).float()
    parameters = decoder.network(z)
    assert torch.equal(decoder(z).mean, decoder.likelihood.distribution(parameters).mean)
    parameters.retain_grad()
    # The first pixel's own density depends on its own parameters, a block of channels each, and on no other's.
    torch.manual_seed(0)
    decoder.likelihood.distribution(parameters).base_dist.log_prob(image)[0, -1, 3, 5].sum().backward()
    (touched,) = [set(map(tuple, parameters.grad[0].nonzero().tolist()))]
    assert touched == {(k, 3, 5) for k in range(channels - 1, parameters.shape[1], channels)}


def test_an_image_does_not_depend_on_its_batch() -> None:
    backbone = build(32, 32, likelihood="normal", likelihood_scale=0.5)
    encoder = backbone.image_encoder().double().train()
    images = torch.rand(5, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(encoder(images).mean[2:3], encoder(images[2:3]).mean)


@pytest.mark.parametrize(
    ("dataset", "settings", "message"),
    [
        (
            {"name": "sprites", "canvas": 30},
            {},
            "sides divisible by 4, but the images of this sprites are 3x30x30",
        ),
        ({"name": "sprites"}, {"likelihood": "bernoulli"}, "takes one channel where its likelihood is bernoulli"),
        ({"name": "sprites"}, {"word_dropout": 0.2}, "only applies to captions"),
    ],
)
def test_what_it_refuses(dataset: dict[str, object], settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        backbones.parse({"name": "patches", **settings}).check(datasets.parse(dataset))


def test_grey_images_may_have_a_bernoulli() -> None:
    backbones.parse({"name": "patches", "likelihood": "bernoulli"}).check(BandsSpec(shape=(1, 16, 16)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"likelihood": "normal"}, "likelihood normal needs a scale"),
        ({"likelihood": "bernoulli", "likelihood_scale": 0.5}, "only applies to likelihood normal or laplace"),
    ],
)
def test_a_scale_belongs_to_its_likelihoods(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        backbones.parse({"name": "patches", **settings})
