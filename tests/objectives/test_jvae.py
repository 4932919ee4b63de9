"""JVAE: the joint ELBO alone."""

from __future__ import annotations

import pytest
import torch

from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import CapabilityError

from .opinions import (
    Make,
    assert_agree,
    assert_parts_add_up,
    bound,
    gaussian,
)


def test_value_and_gradient(make: Make, batch: Batch) -> None:
    model = make("jvae", **{"lambda": 7.0})
    terms = model.terms(batch)
    q = gaussian(model.joint_encoder(batch.image, batch.concept))  # type: ignore[operator]
    assert_agree(model, terms.loss, -bound(model, batch, q, terms.latents["joint"], 1.0, 7.0).mean())


def test_parts_add_up(make: Make, batch: Batch) -> None:
    weights = {"joint/log_px": -1, "joint/log_py": -7, "joint/kl": 1}
    assert_parts_add_up(make("jvae", **{"lambda": 7.0}).terms(batch), weights, batch_size=len(batch))


def test_jvae_says_why_it_cannot_imagine(make: Make) -> None:
    model = make("jvae")
    assert not model.can_imagine
    assert not model.can_describe
    with pytest.raises(CapabilityError, match=r"jvae trains no q\(z\|y\); it has q\(z\|x,y\).*3 C's"):
        model.imagine(torch.tensor([1, 0, 0, 0]))
    with pytest.raises(CapabilityError, match=r"jvae trains no q\(z\|x\)"):
        model.describe(torch.zeros(1, 1, 16, 16, dtype=torch.float64))
