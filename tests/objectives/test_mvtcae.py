"""MVTCAE: a product of experts that stays close to each of them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.common.elbo import joint_elbo as jvae
from mmvae_bench.objectives.mvtcae import mvtcae
from mmvae_bench.objectives.vae import vae

from .opinions import (
    Make,
    assert_agree,
    kl,
    log_px,
    log_py,
    modality_experts,
    multiplied,
    prior_of,
    random_values,
    redraw,
)

MODALITIES = pytest.mark.parametrize("modalities", ["two", "per_attribute"])


@MODALITIES
def test_value_and_gradient(modalities: str, make: Make, batch: Batch) -> None:
    model = make("mvtcae", modalities=modalities, **{"lambda": 7.0, "lambda_image": 0.6, "alpha": 0.3, "beta": 1.7})
    terms = model.terms(batch)
    experts = modality_experts(model, batch, per_attribute=modalities == "per_attribute", prior=True)
    number = len(experts)
    q = multiplied(experts)
    z = redraw(q, terms.latents["joint"])
    told_all = 0.6 * log_px(model.image_decoder, z, batch.image) + 7.0 * log_py(model.concept_decoder, z, batch.concept)
    away = sum(kl(q, each) for each in experts) / number
    bound = (number - 0.3) / number * told_all - 1.7 * (0.7 * kl(q, prior_of(q)) + 0.3 * away)
    assert_agree(model, terms.loss, -bound.mean())


def mvtcae_of(*, kl: Tensor, kl_to_each: Tensor, alpha: float, beta: float, log_px: Tensor, log_py: Tensor) -> Tensor:
    present = torch.ones(kl_to_each.shape, dtype=torch.bool)
    return mvtcae(
        log_px=log_px, log_py=log_py, kl=kl, kl_to_each=kl_to_each, present=present,
        lambda_image=1.0, lambda_=7.0, alpha=alpha, beta=beta,
    )  # fmt: skip


def test_mvtcae_at_the_ends_of_alpha() -> None:
    """0: the joint ELBO of a product. 1: no prior at all, and of M parts of the likelihood one is left out."""
    log_px, log_py, kl, away = -random_values(6), -random_values(6, seed=1), random_values(6), random_values(6, 3)
    values = {"log_px": log_px, "log_py": log_py, "kl": kl, "kl_to_each": away}
    torch.testing.assert_close(
        mvtcae_of(alpha=0.0, beta=1.0, **values), jvae(log_px=log_px, log_py=log_py, kl=kl, lambda_=7.0).loss
    )
    wanted = -(2 / 3 * (log_px + 7 * log_py) - 1.7 * away.mean(1)).mean()
    torch.testing.assert_close(mvtcae_of(alpha=1.0, beta=1.7, **values), wanted)


def test_the_divergences_of_mvtcae_from_equal_experts(make: Make, batch: Batch) -> None:
    """The product of M equal experts has the same mean and 1/sqrt(M) of the scale: closed forms."""
    model = make("mvtcae", modalities="per_attribute")
    with torch.no_grad():
        for head in (model.image_encoder.head, *model.concept_encoder.heads):  # type: ignore[union-attr]
            for layer, value in ((head.mean, 0.3), (head.log_scale, -0.4)):  # type: ignore[union-attr]
                layer.weight.zero_()  # type: ignore[union-attr]
                layer.bias.fill_(value)  # type: ignore[union-attr]
    parts = model.terms(batch).parts
    each = 3 * (0.5 * math.log(5) + 0.5 / 5 - 0.5)
    for name in ("image", "digit", "scale", "orientation", "location"):
        torch.testing.assert_close(parts[f"joint/kl_to_{name}"], torch.full((12,), each, dtype=torch.float64))
    variance = math.exp(-0.8) / 5
    kl = 3 * 0.5 * (variance + 0.09 - 1 - math.log(variance))
    torch.testing.assert_close(parts["joint/kl"], torch.full((12,), kl, dtype=torch.float64))


def test_mvtcae_of_one_modality_present(make: Make, batch: Batch) -> None:
    """The product is the image's expert, its distance from itself nothing: (1 - alpha) times a beta-VAE."""
    model = make("mvtcae", alpha=0.3, beta=1.7)
    terms = model.terms(Batch(batch.image, torch.full_like(batch.concept, -1), batch.index))
    wanted = vae(log_px=terms.parts["joint/log_px"], kl=terms.parts["joint/kl"], beta=1.7).loss
    torch.testing.assert_close(terms.loss, 0.7 * wanted)
