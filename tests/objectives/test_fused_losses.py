"""The losses of objectives that fuse one expert a modality, and of images alone, against independent computations."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives import mopoe
from mmvae_bench.objectives.base import Objective
from mmvae_bench.objectives.mopoe import MoPoE
from mmvae_bench.objectives.mvae import MVAE

from .opinions import (
    Gaussian,
    assert_agree,
    gaussian,
    kl,
    log_normal,
    log_px,
    log_py,
    modality_experts,
    multiplied,
    nonempty_subsets,
    prior_of,
    product,
    redraw,
)

Make = Callable[..., Objective]
MODALITIES = pytest.mark.parametrize("modalities", ["two", "per_attribute"])


def told(subset: tuple[int, ...], modalities: str) -> tuple[int, ...]:
    """Positions of the attributes that a subset of modalities tells."""
    if modalities == "two":
        return (0, 1, 2, 3) if 1 in subset else ()
    return tuple(m - 1 for m in subset if m)


@MODALITIES
def test_mvae(modalities: str, make: Make, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("mvae", modalities=modalities, **{"lambda": 7.0, "lambda_image": 0.6, "beta": 1.3})
    assert isinstance(model, MVAE)
    subsets = model.subsets()
    if modalities == "per_attribute":
        subsets["random_0"] = (True, False, True, True, False)
    monkeypatch.setattr(model, "subsets", lambda: subsets)
    terms = model.terms(batch)
    experts = modality_experts(model, batch, per_attribute=modalities == "per_attribute", prior=False)
    total = torch.zeros((), dtype=torch.float64)
    for name, members in subsets.items():
        subset = tuple(m for m, member in enumerate(members) if member)
        q = multiplied([prior_of(experts[0]), *(experts[m] for m in subset)])
        z = redraw(q, terms.latents[name])
        bound = 7.0 * log_py(model.concept_decoder, z, batch.concept, told(subset, modalities)) - 1.3 * kl(
            q, prior_of(q)
        )
        if 0 in subset:
            bound = bound + 0.6 * log_px(model.image_decoder, z, batch.image)
        total = total - bound.mean()
    assert_agree(model, terms.loss, total)


def log_weights(
    model: Objective, batch: Batch, z: Tensor, experts: list[Gaussian], decoders: tuple[torch.nn.Module, ...]
) -> Tensor:
    log_q = torch.logsumexp(torch.stack([log_normal(z, q) for q in experts]), 0) - math.log(len(experts))
    log_p = log_normal(z, prior_of(experts[0]))
    return log_p + 0.6 * log_px(decoders[0], z, batch.image) + 7.0 * log_py(decoders[1], z, batch.concept) - log_q


@MODALITIES
@pytest.mark.parametrize("bound", ["iwae", "elbo"])
def test_mmvae(modalities: str, bound: str, make: Make, batch: Batch) -> None:
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
def test_mmvae_doubly_reparameterised(modalities: str, make: Make, batch: Batch) -> None:
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


@MODALITIES
def test_mopoe(modalities: str, make: Make, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("mopoe", modalities=modalities, **{"lambda": 7.0, "lambda_image": 0.6, "beta": 1.3})
    assert isinstance(model, MoPoE)
    subsets = [tuple(m for m, member in enumerate(row) if member) for row in model.subsets.tolist()]
    assert sorted(subsets) == sorted(nonempty_subsets(2 if modalities == "two" else 5))
    chosen = (torch.arange(12) * 5 + 1) % len(subsets)
    monkeypatch.setattr(mopoe, "stratified_choice", lambda counts: chosen)
    terms = model.terms(batch)
    experts = modality_experts(model, batch, per_attribute=modalities == "per_attribute", prior=True)
    products = [multiplied([experts[m] for m in subset]) for subset in subsets]
    q = (
        torch.stack([products[k][0][row] for row, k in enumerate(chosen.tolist())]),
        torch.stack([products[k][1][row] for row, k in enumerate(chosen.tolist())]),
    )
    z = redraw(q, terms.latents["joint"])
    divergence = sum(kl(each, prior_of(each)) for each in products) / len(products)
    bound = (
        0.6 * log_px(model.image_decoder, z, batch.image)
        + 7.0 * log_py(model.concept_decoder, z, batch.concept)
        - 1.3 * divergence
    )
    assert_agree(model, terms.loss, -bound.mean())


@MODALITIES
def test_mvtcae(modalities: str, make: Make, batch: Batch) -> None:
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


@pytest.mark.parametrize(("name", "beta"), [("vae", 1.0), ("beta_vae", 2.5)])
def test_vae(name: str, beta: float, make: Make, batch: Batch) -> None:
    model = make(name, **({"beta": beta} if name == "beta_vae" else {}))
    terms = model.terms(batch)
    q = gaussian(model.image_encoder(batch.image))  # type: ignore[operator]
    bound = log_px(model.image_decoder, redraw(q, terms.latents["image"]), batch.image) - beta * kl(q, prior_of(q))
    assert_agree(model, terms.loss, -bound.mean())


@pytest.mark.parametrize("prior", ["conditional", "standard"])
def test_cvae(prior: str, make: Make, batch: Batch) -> None:
    model = make("cvae", prior=prior)
    terms = model.terms(batch)
    q = gaussian(model.joint_encoder(batch.image, batch.concept))  # type: ignore[operator]
    values = [torch.eye(size, dtype=torch.float64)[batch.concept[:, k]] for k, size in enumerate(model.schema.sizes)]
    z = torch.cat([redraw(q, terms.latents["joint"]), *values], 1)
    p = product(model, batch.concept) if prior == "conditional" else prior_of(q)
    bound = log_px(model.image_decoder.decoder, z, batch.image) - kl(q, p)  # type: ignore[arg-type]
    assert_agree(model, terms.loss, -bound.mean())
