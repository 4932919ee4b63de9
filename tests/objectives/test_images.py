"""Images of another size, type or range are refused, instead of being turned into some answer."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from mmvae_bench.data.batch import Batch
from mmvae_bench.evaluation.fitting import fit_latents

from .opinions import Make


def off(image: Tensor, value: float) -> Tensor:
    image = image.clone()
    image[0, 0, 0, 0] = value
    return image


GIVEN = {
    "shades": (lambda x: (x * 255).to(torch.uint8), TypeError, "torch.uint8: divide shades of 0 to 255 by 255"),
    "array": (lambda x: x.numpy(), TypeError, "got ndarray"),
    "single": (lambda x: x[0], ValueError, "a single image needs a batch of one, image[None]"),
    "flat": (lambda x: x.flatten(1), ValueError, "got shape (12, "),
    "larger": (lambda x: torch.cat([x, x], -1), ValueError, "got shape (12, "),
    "shades as floats": (lambda x: off(x, 255.0), ValueError, "must be in [0, 1], got values from 0 to 255"),
    "negative": (lambda x: off(x, -1.0), ValueError, "must be in [0, 1], got values from -1 to "),
    "not a number": (lambda x: off(x, float("nan")), ValueError, "must be in [0, 1], got values from nan"),
}


@pytest.mark.parametrize("name", ["jmvae", "ssvae"])
@pytest.mark.parametrize("given", GIVEN)
def test_what_is_no_such_image_is_refused(make: Make, batch: Batch, name: str, given: str) -> None:
    change, error, message = GIVEN[given]
    model, images = make(name), batch.image.clamp(0, 1)
    model.describe(images)
    model.reconstruct(images)
    calls = [model.describe, model.reconstruct]
    # Optimisation asks for the shape alone: what is occluded may be anything.
    calls += [lambda x: fit_latents(model, x, steps=1)] * (name == "jmvae" and "in [0, 1], got values" not in message)
    for call in calls:
        with pytest.raises(error, match=re.escape(message)):
            call(change(images))


def test_channels_that_come_last_are_named(make: Make, batch: Batch) -> None:
    model = make("jmvae")
    channel, height, width = model.image_shape
    with pytest.raises(ValueError, match="the channel comes first"):
        model.describe(torch.rand(2, height, width, channel))
