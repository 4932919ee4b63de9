"""Each loss against an independent computation: value, and gradient of every parameter, in double precision.

The second opinion shares with the code under test only the networks' outputs and the noise that was drawn. Densities
are built anew from their parameters with plain torch.distributions, KL divergences are written out, and decoders that
must not learn are deep copies.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import Objective, Terms

from .opinions import Gaussian, assert_agree, gaussian, kl, log_px, log_py, prior_of, product, redraw

Make = Callable[..., Objective]


def joint_bound(model: Objective, batch: Batch, z: Tensor, lambda_: float) -> tuple[Tensor, Gaussian]:
    q = gaussian(model.joint_encoder(batch.image, batch.concept))  # type: ignore[operator]
    z = redraw(q, z)
    px, py = log_px(model.image_decoder, z, batch.image), log_py(model.concept_decoder, z, batch.concept)
    return px + lambda_ * py - kl(q, prior_of(q)), q


def independent_jvae(model: Objective, batch: Batch, terms: Terms) -> Tensor:
    bound, _ = joint_bound(model, batch, terms.latents["joint"], 7.0)
    return -bound.mean()


def independent_jmvae(model: Objective, batch: Batch, terms: Terms) -> Tensor:
    bound, q = joint_bound(model, batch, terms.latents["joint"], 7.0)
    q_image = gaussian(model.image_encoder(batch.image))  # type: ignore[operator]
    return -(bound - 0.3 * (kl(q, product(model, batch.concept)) + kl(q, q_image))).mean()


def independent_telbo(model: Objective, batch: Batch, terms: Terms) -> Tensor:
    bound, _ = joint_bound(model, batch, terms.latents["joint"], 7.0)
    image_decoder, concept_decoder = copy.deepcopy(model.image_decoder), copy.deepcopy(model.concept_decoder)
    image_decoder.requires_grad_(False)
    concept_decoder.requires_grad_(False)
    q_image = gaussian(model.image_encoder(batch.image))  # type: ignore[operator]
    z_image = redraw(q_image, terms.latents["image"])
    image_bound = log_px(image_decoder, z_image, batch.image) - kl(q_image, prior_of(q_image))
    q_concept = product(model, batch.concept)
    z_concept = redraw(q_concept, terms.latents["concept"])
    concept_bound = 3.0 * log_py(concept_decoder, z_concept, batch.concept) - kl(q_concept, prior_of(q_concept))
    return -(bound + image_bound + concept_bound).mean()


def independent_bivcca(model: Objective, batch: Batch, terms: Terms) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    q_image = gaussian(model.image_encoder(batch.image))  # type: ignore[operator]
    for weight, q, name in ((0.7, q_image, "image"), (0.3, product(model, batch.concept), "concept")):
        z = redraw(q, terms.latents[name])
        px, py = log_px(model.image_decoder, z, batch.image), log_py(model.concept_decoder, z, batch.concept)
        total = total - weight * (px + 7.0 * py - kl(q, prior_of(q))).mean()
    return total


CASES = {
    "jvae": ({"lambda": 7.0}, independent_jvae),
    "jmvae": ({"lambda": 7.0, "alpha": 0.3}, independent_jmvae),
    "telbo": ({"lambda": 7.0, "gamma": 3.0}, independent_telbo),
    "bivcca": ({"lambda": 7.0, "mu": 0.7}, independent_bivcca),
}


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient(name: str, make: Make, batch: Batch) -> None:
    parameters, independent = CASES[name]
    model = make(name, **parameters)
    terms = model.terms(batch)
    assert_agree(model, terms.loss, independent(model, batch, terms))


@pytest.mark.parametrize("name", CASES)
def test_parts_are_means_of_the_formula(name: str, make: Make, batch: Batch) -> None:
    """The named parts are per example, in nats: the loss is their weighted sum."""
    parameters, _ = CASES[name]
    terms = make(name, **parameters).terms(batch)
    parts = {key: value.mean() for key, value in terms.parts.items()}
    assert all(value.shape == (len(batch),) for value in terms.parts.values())
    weights = {
        "jvae": {"joint/log_px": -1, "joint/log_py": -7, "joint/kl": 1},
        "jmvae": {
            "joint/log_px": -1,
            "joint/log_py": -7,
            "joint/kl": 1,
            "joint/kl_to_concept": 0.3,
            "joint/kl_to_image": 0.3,
        },
        "telbo": {
            "joint/log_px": -1,
            "joint/log_py": -7,
            "joint/kl": 1,
            "image/log_px": -1,
            "image/kl": 1,
            "concept/log_py": -3,
            "concept/kl": 1,
        },
        "bivcca": {
            "image/log_px": -0.7,
            "image/log_py": -4.9,
            "image/kl": 0.7,
            "concept/log_px": -0.3,
            "concept/log_py": -2.1,
            "concept/kl": 0.3,
        },
    }[name]
    assert set(parts) == set(weights)
    expected = sum(weights[key] * value for key, value in parts.items())
    torch.testing.assert_close(terms.loss, torch.as_tensor(expected))
