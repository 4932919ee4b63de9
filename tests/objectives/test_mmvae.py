"""MMVAE: importance-weighted bounds under a mixture of experts."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import Objective
from mmvae_bench.objectives.mmvae import MMVAE, importance_bound, mmvae

from .opinions import (
    Gaussian,
    Make,
    assert_agree,
    log_normal,
    log_px,
    log_py,
    modality_experts,
    prior_of,
    redraw,
)

MODALITIES = pytest.mark.parametrize("modalities", ["two", "per_attribute"])


def log_weights(
    model: Objective, batch: Batch, z: Tensor, experts: list[Gaussian], decoders: tuple[torch.nn.Module, ...]
) -> Tensor:
    log_q = torch.logsumexp(torch.stack([log_normal(z, q) for q in experts]), 0) - math.log(len(experts))
    log_p = log_normal(z, prior_of(experts[0]))
    return log_p + 0.6 * log_px(decoders[0], z, batch.image) + 7.0 * log_py(decoders[1], z, batch.concept) - log_q


@MODALITIES
@pytest.mark.parametrize("bound", ["iwae", "elbo"])
def test_value_and_gradient(modalities: str, bound: str, make: Make, batch: Batch) -> None:
    model = make(
        "mmvae", modalities=modalities, bound=bound, estimator="plain", num_samples=3,
        **{"lambda": 7.0, "lambda_image": 0.6},
    ).eval()  # fmt: skip
    terms = model.terms(batch)
    experts = modality_experts(model, batch, per_attribute=modalities == "per_attribute", prior=True)
    names = ["image", *(model.schema.names if modalities == "per_attribute" else ["concept"])]
    total = torch.zeros((), dtype=torch.float64)
    for name, q in zip(names, experts, strict=True):
        weights = torch.stack(
            [
                log_weights(
                    model, batch, redraw(q, terms.latents[f"{name}/{k}"]), experts,
                    (model.image_decoder, model.concept_decoder),
                )
                for k in range(3)
            ]
        )  # fmt: skip
        one = weights.exp().mean(0).log() if bound == "iwae" else weights.mean(0)
        assert torch.isfinite(one).all()
        total = total - one.mean() / len(experts)
    assert_agree(model, terms.loss, total)


@MODALITIES
def test_value_and_gradient_doubly_reparameterised(modalities: str, make: Make, batch: Batch) -> None:
    """Tucker et al. 2019: sum_k w_k grad log p for the decoders, sum_k w_k^2 (d log w / d z) grad z for q."""
    model = make("mmvae", modalities=modalities, num_samples=3, **{"lambda": 7.0, "lambda_image": 0.6}).eval()
    terms = model.terms(batch)
    experts = modality_experts(model, batch, per_attribute=modalities == "per_attribute", prior=True)
    fixed = [(mean.detach(), scale.detach()) for mean, scale in experts]
    learning = (model.image_decoder, model.concept_decoder)
    constant = tuple(copy.deepcopy(decoder).requires_grad_(False) for decoder in learning)
    names = ["image", *(model.schema.names if modalities == "per_attribute" else ["concept"])]
    value, slope = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for name, q in zip(names, experts, strict=True):
        z = [redraw(q, terms.latents[f"{name}/{k}"]) for k in range(3)]
        of_decoders = torch.stack([log_weights(model, batch, each.detach(), fixed, learning) for each in z])
        of_encoders = torch.stack([log_weights(model, batch, each, fixed, constant) for each in z])
        shares = torch.softmax(of_decoders.detach(), 0)
        value = value - (torch.logsumexp(of_decoders, 0) - math.log(3)).mean() / len(experts)
        slope = slope - (shares * of_decoders + shares**2 * of_encoders).sum(0).mean() / len(experts)
    assert_agree(model, terms.loss, value, slope)


def test_the_importance_bound_rises_to_the_likelihood() -> None:
    """z ~ N(0, 1), x | z ~ N(z, 0.5): log p(x) is known. With one sample it is the ELBO."""
    torch.manual_seed(0)
    x, noise = torch.tensor(1.3, dtype=torch.float64), 0.5
    exact = Normal(0.0, math.sqrt(1 + noise**2)).log_prob(x)
    q = Normal(torch.tensor(0.4, dtype=torch.float64), 0.8)
    z = q.sample(torch.Size([64, 20_000]))
    log_weights = Normal(0.0, 1.0).log_prob(z) + Normal(z, noise).log_prob(x) - q.log_prob(z)
    bounds = [importance_bound(log_weights[:number], bound="iwae").mean() for number in (1, 4, 16, 64)]
    assert bounds == sorted(bounds)
    assert all(bound < exact for bound in bounds)
    assert exact - bounds[-1] < 0.02 < 0.3 < exact - bounds[0]
    # E_q[log p(z)], E_q[log p(x|z)] and the entropy of q, one log sqrt(2 pi) left of three.
    elbo_exact = -0.5 * (0.16 + 0.64) - 0.5 * (0.81 + 0.64) / 0.25 - math.log(0.5) + math.log(0.8) + 0.5
    elbo_exact -= 0.5 * math.log(2 * math.pi)
    sampled = importance_bound(log_weights, bound="elbo").mean().item()
    assert sampled == pytest.approx(elbo_exact, abs=4 * log_weights.std().item() / math.sqrt(log_weights.numel()))
    assert torch.equal(importance_bound(log_weights[:1], bound="iwae"), importance_bound(log_weights[:1], bound="elbo"))


def test_mmvae_of_one_modality_is_its_elbo(make: Make, batch: Batch) -> None:
    """Where no attribute is specified the image is the only modality, and the mixture its expert."""
    model = make("mmvae", bound="elbo", num_samples=400, lambda_image=0.6).eval()
    alone = Batch(batch.image, torch.full_like(batch.concept, -1), batch.index)
    torch.manual_seed(0)
    with torch.no_grad():
        terms = model.terms(alone)
        q = model.posterior(image=batch.image)
        wanted = 0.6 * terms.parts["image/log_px"] - kl_divergence(q, model.prior(q))
        torch.testing.assert_close(-terms.loss, terms.parts["image/bound"].mean())
    # log p(z) - log q(z) of 400 samples in place of -KL.
    assert (terms.parts["image/bound"] - wanted).abs().max() < 0.4
    assert (terms.parts["image/bound"] - wanted).mean().abs() < 0.1


def test_mmvae_averages_over_the_modalities_present() -> None:
    bounds = torch.tensor([[-1.0, -3.0], [-5.0, torch.nan]], dtype=torch.float64)
    present = torch.tensor([[True, True], [True, False]])
    assert mmvae(bounds, present=present).item() == pytest.approx((2 + 5) / 2)


@pytest.mark.parametrize("estimator", ["dreg", "plain"])
def test_one_sample_of_iwae_is_the_elbo_form(estimator: str, make: Make, batch: Batch) -> None:
    losses = []
    for parameters in ({"bound": "iwae", "estimator": estimator}, {"bound": "elbo"}):
        model = make("mmvae", num_samples=1, **parameters)
        torch.manual_seed(5)
        losses.append(model.terms(batch).loss)
    torch.testing.assert_close(losses[0], losses[1])


def test_both_estimators_have_the_same_value(make: Make, batch: Batch) -> None:
    losses = []
    for estimator in ("dreg", "plain"):
        torch.manual_seed(5)
        losses.append(make("mmvae", estimator=estimator).terms(batch).loss)
    torch.testing.assert_close(losses[0], losses[1])


def test_mmvae_draws_from_each_modality(make: Make, batch: Batch) -> None:
    """With an expert all but certain, its samples are its mean."""
    model = make("mmvae", num_samples=4, modalities="per_attribute")
    assert isinstance(model, MMVAE)
    with torch.no_grad():
        for head in (model.image_encoder.head, model.concept_encoder.heads[1]):  # type: ignore[index,union-attr]
            head.log_scale.weight.zero_()  # type: ignore[union-attr]
            head.log_scale.bias.fill_(-12.0)  # type: ignore[union-attr]
    terms = model.terms(batch)
    for k in range(4):
        torch.testing.assert_close(
            terms.latents[f"image/{k}"], model.posterior(image=batch.image).mean, atol=1e-4, rtol=0
        )
        scale_only = batch.concept.masked_fill(torch.arange(4) != 1, -1)
        torch.testing.assert_close(
            terms.latents[f"scale/{k}"], model.posterior(concept=scale_only).mean, atol=1e-4, rtol=0
        )
