"""The thin RGB networks: any small image, any schema, either likelihood."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmvae_bench.backbones.base import Backbone
from mmvae_bench.base.errors import ConfigError
from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.specs.components import backbones

from ..conformance.worlds import BandsSpec

# Nine attributes with values as many as in a caption of two objects; the fifth is given by every query.
CAPTION = Schema(
    tuple(Attribute(f"word_{i}", tuple("abcdefgh"[:size])) for i, size in enumerate((2, 8, 2, 3, 4, 2, 8, 2, 3))),
    given=("word_4",),
)


def build(height: int, width: int, **settings: object) -> Backbone:
    built = backbones.parse({"name": "rgb_thin", "width": 4, "hidden": 16, **settings}).build(
        schema=CAPTION, image_shape=(3, height, width)
    )
    assert isinstance(built, Backbone)
    return built


@pytest.mark.parametrize(
    ("sides", "channels"),
    [
        ((16, 16), [4, 8]),
        ((32, 32), [4, 8]),
        ((36, 36), [4, 8]),
        ((48, 48), [4, 8, 16]),
        ((64, 64), [4, 8, 16]),
        ((64, 48), [4, 8, 16]),
        ((112, 112), [4, 8, 16, 16]),
        ((128, 128), [4, 8, 16, 16]),
    ],
)
@pytest.mark.parametrize("likelihood", ["quantised_normal", "beta"])
def test_sides(sides: tuple[int, int], channels: list[int], likelihood: str) -> None:
    backbone = build(*sides, likelihood=likelihood)
    encoder = backbone.image_encoder()
    assert [m.out_channels for m in encoder.modules() if isinstance(m, nn.Conv2d)] == channels
    image = torch.rand(2, 3, *sides)
    concept = torch.stack([torch.zeros(9), torch.ones(9)]).long()
    posteriors = (encoder(image), backbone.concept_encoder()(concept), backbone.joint_encoder()(image, concept))
    assert all(q.mean.shape == (2, 18) for q in posteriors)
    px = backbone.image_decoder()(posteriors[0].rsample())
    assert px.event_shape == (3, *sides)
    assert px.log_prob(image).shape == (2,)
    assert backbone.concept_decoder()(posteriors[0].mean).log_prob(concept).shape == (2,)


def test_the_likelihoods_are_the_ones_asked_for() -> None:
    z = torch.zeros(1, 18)
    kinds = [
        type(build(16, 16, likelihood=name).image_decoder().eval()(z).base_dist).__name__
        for name in ("quantised_normal", "beta")
    ]
    assert kinds == ["QuantisedNormal", "ConstrainedBeta"]


@pytest.mark.parametrize(
    ("backbone", "shape", "message"),
    [
        (
            "rgb_thin",
            (1, 16, 16),
            "takes three channels and sides divisible by 4, but the images of this bands are 1x16x16",
        ),
        ("rgb_thin", (3, 18, 16), "but the images of this bands are 3x18x16"),
        (
            "celeba18",
            (3, 32, 32),
            "takes 3x64x64 images, but the images of this bands are 3x32x32: choose a thin backbone",
        ),
        ("two_object_resnet", (3, 12, 12), "at least 16, but the images of this bands are 3x12x12"),
        ("two_object_resnet", (3, 18, 16), "sides divisible by 4"),
    ],
)
def test_images_that_do_not_fit(backbone: str, shape: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        backbones.parse(backbone).check(BandsSpec(shape=shape))


def test_an_unknown_likelihood_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="quantised_normal"):
        backbones.parse({"name": "rgb_thin", "likelihood": "quantised_norm"})


def test_a_fixed_scale_is_the_one_asked_for() -> None:
    z = torch.zeros(1, 18)
    for name, kind in (("normal", "FixedNormal"), ("laplace", "FixedLaplace")):
        px = build(16, 16, likelihood=name, likelihood_scale=0.4).image_decoder().eval()(z)
        assert type(px.base_dist).__name__ == kind
        assert bool((px.base_dist.scale == torch.tensor(0.4)).all())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"likelihood": "normal"}, "likelihood_scale: likelihood normal needs a scale"),
        ({"likelihood": "beta", "likelihood_scale": 0.5}, "likelihood_scale: only applies to likelihood normal or"),
        ({"likelihood_scale": 0.5}, "likelihood_scale: only applies to likelihood normal or laplace"),
        ({"likelihood": "laplace", "likelihood_scale": 0}, "likelihood_scale"),
    ],
)
def test_a_scale_is_given_where_it_has_a_meaning_and_nowhere_else(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        backbones.parse({"name": "rgb_thin", **settings})


def test_a_likelihood_with_a_learnt_scale_keeps_its_key() -> None:
    assert "likelihood_scale" not in backbones.parse("rgb_thin").canonical()
    fixed = {"name": "rgb_thin", "likelihood": "normal", "likelihood_scale": 0.5}
    assert backbones.parse(fixed).canonical()["likelihood_scale"] == 0.5


def test_group_norm_treats_an_image_the_same_in_any_batch_and_after_training() -> None:
    """Each group of 8 channels to mean 0 and variance 1, by hand; batch norm does neither, and keeps its key."""
    image = torch.rand(6, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    for norm, same in (("group", True), ("batch", False)):
        backbone = build(48, 48, norm=norm)
        encoder, decoder = backbone.image_encoder(), backbone.image_decoder()
        for network, x in ((encoder, image), (decoder, torch.randn(6, 18))):
            whole = network(x).mean
            assert torch.allclose(whole[:2], network(x[:2]).mean, atol=1e-5) is same
            assert torch.allclose(whole, network.eval()(x).mean, atol=1e-5) is same
    norms = [module for module in build(48, 48, norm="group").image_encoder().modules() if type(module) is nn.GroupNorm]
    assert [(each.num_channels, each.num_groups) for each in norms] == [(4, 1), (8, 1), (16, 2)]
    features = 3 * torch.rand(2, 16, 5, 5) + torch.arange(16)[:, None, None]
    groups = features.unflatten(1, (2, 8)).flatten(2)
    by_hand = (groups - groups.mean(-1, keepdim=True)) / (groups.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(norms[-1](features), by_hand.unflatten(2, (8, 25)).reshape(2, 16, 5, 5))
    assert "norm" not in backbones.parse("rgb_thin").canonical()
    assert backbones.parse({"name": "rgb_thin", "norm": "group"}).canonical()["norm"] == "group"
    with pytest.raises(ConfigError, match="norm"):
        backbones.parse({"name": "rgb_thin", "norm": "grup"})
