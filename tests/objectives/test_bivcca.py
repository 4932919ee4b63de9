"""BiVCCA: both modalities decoded from the posterior of either one."""

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
    product,
)


def test_value_and_gradient(make: Make, batch: Batch) -> None:
    model = make("bivcca", **{"lambda": 7.0, "mu": 0.7})
    terms = model.terms(batch)
    q_image = gaussian(model.image_encoder(batch.image))  # type: ignore[operator]
    value = torch.zeros((), dtype=torch.float64)
    for weight, q, name in ((0.7, q_image, "image"), (0.3, product(model, batch.concept), "concept")):
        value = value - weight * bound(model, batch, q, terms.latents[name], 1.0, 7.0).mean()
    assert_agree(model, terms.loss, value)


def test_parts_add_up(make: Make, batch: Batch) -> None:
    weights = {
        "image/log_px": -0.7,
        "image/log_py": -4.9,
        "image/kl": 0.7,
        "concept/log_px": -0.3,
        "concept/log_py": -2.1,
        "concept/kl": 0.3,
    }
    assert_parts_add_up(make("bivcca", **{"lambda": 7.0, "mu": 0.7}).terms(batch), weights, batch_size=len(batch))


@pytest.mark.parametrize(("mu", "untouched"), [(1.0, "concept_encoder"), (0.0, "image_encoder")])
def test_bivcca_at_the_ends_never_touches_one_posterior(mu: float, untouched: str, make: Make, batch: Batch) -> None:
    model = make("bivcca", mu=mu)
    model.terms(batch).loss.backward()  # type: ignore[no-untyped-call]
    for name in model.network_names:
        gradients = [parameter.grad for parameter in getattr(model, name).parameters()]
        assert all(gradient is None for gradient in gradients) == (name == untouched)


def test_bivcca_has_no_joint_posterior(make: Make, batch: Batch) -> None:
    with pytest.raises(CapabilityError, match=r"bivcca trains no q\(z\|x,y\); it has q\(z\|y\), q\(z\|x\)"):
        make("bivcca").posterior(batch.image, batch.concept)
