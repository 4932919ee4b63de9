"""``arithmetic: fast`` against torch's own convolutions: the same parameters, values and gradients."""

from __future__ import annotations

from itertools import product
from math import prod

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from mmvae_bench.backbones.base import Backbone, seeded
from mmvae_bench.backbones.fast import ChannelsLast, DoublingConvolution, correlation, doubled
from mmvae_bench.specs.components import backbones, datasets

NAMES = {"mnist_a_paper": "mnist_a", "mnist_a_released": "mnist_a", "celeba18": "celeba18"}


def build(name: str, arithmetic: str) -> Backbone:
    dataset = datasets.parse({"name": NAMES[name]})
    spec = backbones.parse({"name": name, "arithmetic": arithmetic})
    return spec.build(schema=dataset.concept_schema(), image_shape=dataset.image_shape())


def test_a_correlation_is_what_its_matrices_make_of_it() -> None:
    torch.manual_seed(0)
    for size, points in [(4, (0, 1, -1, 0.5, -2)), (4, (0, 1, -1, 0.5)), (2, (0, 1, -1)), (3, (0, 1, -1, 2))]:
        output, weight, data = correlation(size, points)
        d, g = torch.randn(len(points) + 1).double(), torch.randn(len(points) + 2 - size).double()
        torch.testing.assert_close(output @ ((weight @ g) * (data @ d)), F.conv1d(d[None], g[None, None])[0])


def with_gradients(function, *inputs: Tensor) -> list[Tensor]:  # type: ignore[no-untyped-def]
    """The output, and the gradients of a weighted sum of it, with respect to each input."""
    given = [each.detach().requires_grad_() for each in inputs]
    output = function(*given)
    weights = torch.cos(torch.arange(output.numel(), dtype=output.dtype)).reshape(output.shape)
    return [output.detach(), *torch.autograd.grad((output * weights).sum(), given)]


def plain(image: Tensor, weight: Tensor) -> Tensor:
    return F.conv_transpose2d(image, weight, stride=2, padding=2, output_padding=1)


def test_doubling_is_the_transposed_convolution_in_value_and_gradient() -> None:
    torch.manual_seed(0)
    image, weight = torch.randn(3, 5, 4, 4).double(), torch.randn(5, 7, 5, 5).double()
    for found, wanted in zip(with_gradients(doubled, image, weight), with_gradients(plain, image, weight), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_no_images_are_doubled_to_none() -> None:
    assert doubled(torch.zeros(0, 5, 4, 4), torch.zeros(5, 7, 5, 5)).shape == (0, 7, 8, 8)


def test_doubling_in_float32_errs_by_at_most_a_hundred_thousandth() -> None:
    """Of the largest value, at the published size of a layer's input; torch's own is off by a fifth of that."""
    torch.manual_seed(0)
    image, weight = torch.randn(4, 1024, 4, 4), torch.randn(1024, 64, 5, 5) / 100
    exact = with_gradients(plain, image.double(), weight.double())
    for found, wanted in zip(with_gradients(doubled, image, weight), exact, strict=True):
        assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()


@pytest.mark.parametrize(("shape", "most"), [((256, 4, 4), 0.45), ((256, 8, 8), 1.01), ((16, 4, 4), 1.01)])
def test_fewer_products_where_that_is_faster(shape: tuple[int, int, int], most: float) -> None:
    layer, image = DoublingConvolution(shape[0], 256), torch.zeros(64, *shape)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        layer(image)
    share = counter.get_total_flops() / (2 * 25 * prod(shape) * 64 * 256)
    assert share <= most
    assert (most > 1) == (share > 0.99)


@pytest.mark.parametrize(("name", "network"), list(product(NAMES, ["image_encoder", "joint_encoder"])))
def test_encoders(name: str, network: str) -> None:
    """Bit by bit the same parameters; the same q(z|.) and gradients of what it is made from."""
    first, second = (
        seeded(getattr(build(name, arithmetic), network), seed=0, name=network).double()
        for arithmetic in ("plain", "fast")
    )
    same_parameters(first, second)
    assert any(isinstance(part, ChannelsLast) for part in second.modules())
    torch.manual_seed(0)
    dataset = datasets.parse({"name": NAMES[name]})
    image = torch.rand(2, *dataset.image_shape()).double()
    concept = [torch.zeros(2, len(dataset.concept_schema()), dtype=torch.long)] * (network == "joint_encoder")
    for found, wanted in zip(values(second, image, *concept), values(first, image, *concept), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def same_parameters(first: nn.Module, second: nn.Module) -> None:
    left, right = first.state_dict(), second.state_dict()
    assert list(left) == list(right)
    assert all(torch.equal(left[name], right[name]) for name in left)


def values(network: nn.Module, image: Tensor, *concept: Tensor) -> list[Tensor]:
    q = network(image, *concept)
    (q.mean.sin().sum() + q.variance.sum()).backward()
    return [q.mean, q.variance, *(each.grad for each in network.parameters() if each.grad is not None)]


@pytest.mark.parametrize("name", ["mnist_a_released", "celeba18"])
def test_decoders(name: str) -> None:
    """Bit by bit the same parameters; the same pixels, in float32."""
    first, second = (
        seeded(build(name, arithmetic).image_decoder, seed=0, name="image_decoder") for arithmetic in ("plain", "fast")
    )
    same_parameters(first, second)
    assert sum(isinstance(part, DoublingConvolution) for part in second.modules()) == 3
    z = torch.randn(4, backbones.parse(name).latent_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted, found = first.network(z), second.network(z)
    assert not torch.equal(found, wanted)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))


def test_the_default_is_no_part_of_a_key() -> None:
    for name in NAMES:
        assert "arithmetic" not in backbones.parse({"name": name, "arithmetic": "plain"}).canonical()
        assert backbones.parse({"name": name, "arithmetic": "fast"}).canonical()["arithmetic"] == "fast"
