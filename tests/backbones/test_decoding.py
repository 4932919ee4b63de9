"""What a CPU does faster where no gradient is wanted: the same images as the plain way."""

from __future__ import annotations

import torch
from torch import nn

from mmvae_bench.backbones.layers import DECODED_AT_ONCE, ImageDecoder
from mmvae_bench.distributions.pixels import image_likelihood


def decoder() -> ImageDecoder:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(5, 12), nn.Unflatten(1, (3, 2, 2)), nn.BatchNorm2d(3))
    return ImageDecoder(layers, image_likelihood("bernoulli"))


def test_many_latents_are_decoded_in_parts_to_the_same_images() -> None:
    made, sizes = decoder().eval(), list[int]()
    made.network.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    z = torch.randn(3 * DECODED_AT_ONCE + 3, 5)
    with torch.no_grad():
        found = made(z).mean
        in_parts, whole = list(sizes), made.likelihood.distribution(made.network(z)).mean
    assert in_parts == [DECODED_AT_ONCE] * 3 + [3]
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-6)
    sizes.clear()
    with torch.no_grad():
        made(z[:-3])
    assert sizes == [3 * DECODED_AT_ONCE], "so few gain nothing"
    sizes.clear()
    made(z)
    assert sizes == [len(z)], "with gradients all are decoded at once"


def test_batch_norm_on_the_statistics_of_all_latents_is_not_taken_apart() -> None:
    made = decoder().eval()
    made.network[2].train()
    z = torch.randn(4 * DECODED_AT_ONCE, 5)
    with torch.no_grad():
        logits = made(z).base_dist.logits
    channels = logits.transpose(0, 1).flatten(1)
    torch.testing.assert_close(channels.mean(1), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(channels.var(1, correction=0), torch.ones(3), rtol=1e-3, atol=0)
