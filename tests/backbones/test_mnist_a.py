"""The MNIST-A networks against the sizes that the paper and the released code print."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmvae_bench.backbones.base import Backbone
from mmvae_bench.backbones.layers import ConceptDecoder, ValueFeatures, mlp
from mmvae_bench.base.errors import ConfigError
from mmvae_bench.specs.components import backbones, datasets
from mmvae_bench.specs.trial import TrialSpec


def build(name: str) -> Backbone:
    dataset = datasets.parse({"name": "mnist_a"})
    built = backbones.parse(name).build(schema=dataset.concept_schema(), image_shape=dataset.image_shape())
    assert isinstance(built, Backbone)
    return built


def linear_sizes(network: nn.Module) -> list[tuple[int, int]]:
    return [(m.in_features, m.out_features) for m in network.modules() if isinstance(m, nn.Linear)]


@pytest.mark.parametrize(
    ("name", "flat", "sides"),
    [
        ("mnist_a_paper", 1024, [64, 32, 16, 8]),
        ("mnist_a_released", 3136, [64, 32, 14, 14]),
    ],
)
def test_trunk(name: str, flat: int, sides: list[int]) -> None:
    trunk = build(name).image_encoder().trunk
    image, found = torch.zeros(2, 1, 64, 64), []
    for layer in trunk:  # type: ignore[union-attr]
        image = layer(image)
        if isinstance(layer, nn.Conv2d):
            found.append((layer.out_channels, image.shape[-1]))
    assert found == list(zip([32, 64, 128, 16], sides, strict=True))
    assert image.shape == (2, flat)


def test_fully_connected_sizes_of_the_paper() -> None:
    backbone = build("mnist_a_paper")
    assert linear_sizes(backbone.image_encoder()) == [(1024, 512), (512, 512), (512, 10), (512, 10)]
    joint = linear_sizes(backbone.joint_encoder())
    assert joint == [(32, 512), (512, 512)] * 4 + [(2048, 512), (512, 512), (1536, 512), (512, 512)] + [(512, 10)] * 2
    assert linear_sizes(backbone.concept_decoder())[:3] == [(10, 128), (128, 128), (128, 10)]


def test_fully_connected_sizes_of_the_released_code() -> None:
    """Four layers of 512 after the trunk, and in each attribute's expert; the joint encoder joins all of them."""
    backbone = build("mnist_a_released")
    branch = [(32, 512)] + [(512, 512)] * 3
    assert linear_sizes(backbone.concept_encoder()) == branch * 4 + [(512, 10)] * 8
    image = [(3136, 512)] + [(512, 512)] * 3
    assert linear_sizes(backbone.joint_encoder()) == image + branch * 4 + [(2560, 512), (512, 512)] + [(512, 10)] * 2
    assert linear_sizes(build("mnist_a_released").image_encoder())[:5] == [(3136, 512)] + [(512, 512)] * 3 + [(512, 10)]


def test_same_padding_at_a_stride_of_two_puts_the_odd_zero_last() -> None:
    """As the released code's framework does: pad one before and two after."""
    trunk = build("mnist_a_released").image_encoder().trunk
    pad, convolution = (next(m for m in trunk if isinstance(m, kind)) for kind in (nn.ZeroPad2d, nn.Conv2d))
    assert pad.padding == (1, 2, 1, 2)
    assert convolution.padding == (2, 2)


def test_normalisation_of_the_last_convolution() -> None:
    for name, count in (("mnist_a_paper", 4), ("mnist_a_released", 3)):
        trunk = build(name).image_encoder().trunk
        assert sum(isinstance(m, nn.BatchNorm2d) for m in trunk.modules()) == count  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["mnist_a_paper", "mnist_a_released"])
def test_decoder_is_dcgan(name: str) -> None:
    decoder = build(name).image_decoder()
    convolutions = [m for m in decoder.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [m.out_channels for m in convolutions] == [1024, 512, 256, 128, 1]
    assert [m.kernel_size[0] for m in convolutions] == [4, 5, 5, 5, 5]
    assert decoder.eval()(torch.zeros(1, 10)).mean.shape == (1, 1, 64, 64)


def test_value_features_equal_the_network_run_over_the_batch() -> None:
    schema = datasets.parse({"name": "mnist_a"}).concept_schema()
    values = ValueFeatures(schema, embedding=5, sizes=(7, 6))
    concept = torch.tensor([[3, 1, 2, 0], [9, 0, 1, 3], [3, 0, 0, 0]])
    parts = [
        network(embedding(concept[:, k]))
        for k, (embedding, network) in enumerate(zip(values.embeddings, values.networks, strict=True))
    ]
    torch.testing.assert_close(values(concept), torch.cat(parts, 1))


def test_penalties() -> None:
    schema = datasets.parse({"name": "mnist_a"}).concept_schema()
    decoder = ConceptDecoder(schema, latent_size=3, sizes=(4,), l1=0.1, l2=0.01)
    weights = torch.cat([p.flatten() for name, p in decoder.named_parameters() if name.endswith("weight")])
    penalty = decoder.penalty()
    assert penalty is not None
    torch.testing.assert_close(penalty, 0.1 * weights.abs().sum() + 0.01 * weights.square().sum())
    assert ConceptDecoder(schema, latent_size=3, sizes=(4,)).penalty() is None
    assert build("mnist_a_released").concept_decoder().l1 == 5e-6
    assert build("mnist_a_paper").concept_decoder().l2 == 5e-6


def test_mlp_of_one_size_is_the_identity() -> None:
    x = torch.randn(2, 3)
    assert torch.equal(mlp((3,))(x), x)


CANVASES = [("mnist_a_paper", 32), ("mnist_a_released", 48), ("mnist_a_thin", 30)]


@pytest.mark.parametrize(("backbone", "canvas"), CANVASES)
def test_a_canvas_that_does_not_fit(backbone: str, canvas: int) -> None:
    values = {"dataset": {"name": "mnist_a", "canvas": canvas}, "backbone": backbone, "objective": "jvae"}
    with pytest.raises(ConfigError, match=f"backbone.name: backbone {backbone} takes .*{canvas}x{canvas}"):
        TrialSpec.parse(values)
