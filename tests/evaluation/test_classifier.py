from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.evaluation.classifier import IMAGES_AT_ONCE, PublishedNetwork, ThinNetwork
from mmvae_bench.specs.built_in.classifiers import ConvPublishedSpec, ConvThinSpec
from mmvae_bench.specs.built_in.datasets import MNIST_A_SCHEMA, MnistASpec
from mmvae_bench.specs.components import classifiers

from .fakes import LINES, LinesData, draw, exact_classifier


def published(side: int, **parameters: object) -> PublishedNetwork:
    return PublishedNetwork(ConvPublishedSpec.parse(parameters), schema=MNIST_A_SCHEMA, image_shape=(1, side, side))


def test_the_published_network_is_two_convolutions_and_1024_units_an_attribute() -> None:
    sizes = {name: tuple(value.shape) for name, value in published(64).named_parameters()}
    assert [shape for name, shape in sizes.items() if name.startswith("features") and "weight" in name] == [
        (32, 1, 5, 5),
        (64, 32, 5, 5),
    ]
    assert sizes["hidden.0.weight"] == (4 * 1024, 64 * 16 * 16)
    assert [shape for name, shape in sizes.items() if name.startswith("heads") and "weight" in name] == [
        (size, 1024) for size in MNIST_A_SCHEMA.sizes
    ]


def test_the_hidden_units_of_an_attribute_are_its_own() -> None:
    network = published(8, hidden=16).eval()
    image = torch.rand(3, 1, 8, 8)
    before = network(image)
    with torch.no_grad():
        network.hidden[0].weight[16:32] = 0.0
        network.hidden[0].bias[16:32] = 0.0
    for k, (was, now) in enumerate(zip(before, network(image), strict=True)):
        assert torch.equal(was, now) == (k != 1)


@pytest.mark.parametrize("side", [16, 28, 30])
@pytest.mark.parametrize("name", ["conv_published", "conv_thin"])
def test_logits_have_a_value_each(name: str, side: int) -> None:
    spec = classifiers.parse({"name": name, "hidden": 8})
    network: nn.Module = spec.build(schema=MNIST_A_SCHEMA, image_shape=(3, side, side))
    logits = network(torch.rand(2, 3, side, side))
    assert [tuple(part.shape) for part in logits] == [(2, size) for size in MNIST_A_SCHEMA.sizes]


def test_the_thin_network_tells_places_apart() -> None:
    """Pooling over the canvas would not; the means over its quarters do."""
    network = ThinNetwork(ConvThinSpec(), schema=LINES, image_shape=(1, 16, 16)).eval()
    left, right = draw(torch.tensor([[0, 0, 1], [1, 0, 1]]))
    one, other = network(left[None])[0], network(right[None])[0]
    assert not torch.allclose(one, other)


def test_predict_is_the_same_in_pieces(lines) -> None:  # type: ignore[no-untyped-def]
    classifier = exact_classifier(lines())
    images = draw(LINES.combinations().repeat(60, 1))
    assert torch.equal(classifier.predict(images), LINES.combinations().repeat(60, 1))
    assert classifier.predict(images[:0]).shape == (0, 3)


@pytest.mark.parametrize("name", ["conv_published", "conv_thin", "conv_rgb"])
def test_what_is_read_does_not_depend_on_how_many_images_are_read_at_once(
    name: str, lines: Callable[..., LinesData], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network: nn.Module = classifiers.parse({"name": name, "hidden": 8}).build(schema=LINES, image_shape=(1, 16, 16))
    for weight in (each for each in network.parameters() if each.ndim > 1):
        nn.init.normal_(weight)  # With the usual weights, and pixels in [0, 1], every image would be read alike.
    classifier = replace(exact_classifier(lines()), network=network.eval().to(memory_format=torch.channels_last))
    images = 3 * torch.randn(150, 1, 16, 16) * torch.randn(150, 1, 1, 1)
    read = []
    for number in (len(images), IMAGES_AT_ONCE, 2 * IMAGES_AT_ONCE, 7):
        monkeypatch.setattr("mmvae_bench.evaluation.classifier.IMAGES_AT_ONCE", number)
        read.append(classifier.predict(images))
    assert all(torch.equal(each, read[0]) for each in read)
    assert len(read[0].unique(dim=0)) > 1


def test_the_published_canvas_has_the_published_classifier() -> None:
    assert MnistASpec().default_classifier() == "conv_published"
    assert MnistASpec(canvas=32).default_classifier() == "conv_thin"
    assert {"conv_published", "conv_thin"} <= set(classifiers.names())


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="dropout"):
        classifiers.parse({"name": "conv_published", "dropout": 1.0})
    with pytest.raises(ConfigError, match="unknown key 'widths'"):
        classifiers.parse({"name": "conv_thin", "widths": 3})
