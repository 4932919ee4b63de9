"""What an image without labels adds to the loss of each objective that learns from it, by value and gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import Objective, Terms
from mmvae_bench.specs.components import ObjectiveSpec, objectives, of_domain

from .opinions import Make, gaussian, kl, log_normal, log_px, log_py, prior_of, redraw


def unlabelled(batch: Batch) -> Batch:
    return replace(batch, concept=torch.full_like(batch.concept, -1))


def image_elbo(model: Objective, batch: Batch, z: Tensor) -> Tensor:
    """E_q(z|x) log p(x|z) - KL(q(z|x) || p(z)), for a network q(z|x)."""
    q = gaussian(model.image_encoder(batch.image))  # type: ignore[operator]
    return log_px(model.image_decoder, redraw(q, z), batch.image) - kl(q, prior_of(q))


def with_prior(model: Objective, batch: Batch, z: Tensor) -> Tensor:
    """The same with the prior as a factor of q: precision and mean of two multiplied normals, written out."""
    mean, scale = gaussian(model.image_encoder(batch.image))  # type: ignore[operator]
    precision = 1 + scale**-2
    q = (mean * scale**-2 / precision, precision**-0.5)
    return log_px(model.image_decoder, redraw(q, z), batch.image) - kl(q, prior_of(q))


def importance(model: Objective, batch: Batch, terms: Terms) -> Tensor:
    """The importance-weighted bound on log p(x), from the z of q(z|x) alone."""
    q = gaussian(model.image_encoder(batch.image))  # type: ignore[operator]
    rows = []
    for k in range(3):
        z = redraw(q, terms.latents[f"image/{k}"])
        log_w = log_normal(z, prior_of(q)) - log_normal(z, q)
        rows.append(log_w + log_px(model.image_decoder, z, batch.image))
    return torch.logsumexp(torch.stack(rows), 0) - torch.log(torch.tensor(3.0))


Bound = Callable[[Objective, Batch, Terms], Tensor]
CASES: dict[str, tuple[dict[str, object], Bound]] = {
    "vlvae": ({}, lambda model, batch, terms: image_elbo(model, batch, terms.latents["image"])),
    "telbo": ({}, lambda model, batch, terms: image_elbo(model, batch, terms.latents["image"])),
    "bivcca": ({"mu": 0.6}, lambda model, batch, terms: 0.6 * image_elbo(model, batch, terms.latents["image"])),
    "mvae": ({}, lambda model, batch, terms: with_prior(model, batch, terms.latents["joint"])),
    "mopoe": ({}, lambda model, batch, terms: image_elbo(model, batch, terms.latents["joint"])),
    "mmvae": ({"num_samples": 3, "estimator": "plain"}, importance),
    # With one view alone the bound is (1 - alpha) times that of a beta-VAE.
    "mvtcae": (
        {"alpha": 0.25, "beta": 1.0},
        lambda model, batch, terms: 0.75 * image_elbo(model, batch, terms.latents["joint"]),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_image_without_labels_has_a_bound_of_its_own(name: str, make: Make, batch: Batch) -> None:
    settings, bound = CASES[name]
    model, batch = make(name, **settings).eval(), unlabelled(batch)
    terms = model.terms(batch)
    expected = -bound(model, batch, terms).mean()
    torch.testing.assert_close(terms.loss, expected, rtol=1e-7, atol=1e-7)
    parameters = dict(model.named_parameters())
    mine = torch.autograd.grad(terms.loss, list(parameters.values()), allow_unused=True)
    other = torch.autograd.grad(expected, list(parameters.values()), allow_unused=True)
    for key, first, second in zip(parameters, mine, other, strict=True):
        zero = torch.zeros_like(parameters[key])
        first, second = zero if first is None else first, zero if second is None else second
        torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6, msg=lambda text, key=key: f"{key}: {text}")
        learns = key.split(".")[0] in ("image_encoder", "image_decoder")
        assert learns == bool(second.abs().max() > 0), f"{key}: only the image's own networks learn from it"


@pytest.mark.parametrize("name", ["bivcca", "mvae", "mopoe", "mvtcae"])
def test_labelled_and_other_images_of_a_batch_do_not_change_each_other(name: str, make: Make, batch: Batch) -> None:
    """Divergences, which depend on no z: those of a mixed batch are those of its halves, and not of a batch alike."""
    model = make(name).eval()
    first, last = (
        Batch(batch.image[rows], batch.concept[rows], batch.index[rows]) for rows in (slice(6), slice(6, 12))
    )
    mixed = Batch(batch.image, torch.cat([first.concept, unlabelled(last).concept]), batch.index)
    with torch.no_grad():
        whole, halves, labelled = (
            model.terms(mixed),
            [model.terms(first), model.terms(unlabelled(last))],
            model.terms(batch),
        )
    for key in (key for key in whole.parts if "kl" in key):
        torch.testing.assert_close(whole.parts[key], torch.cat([half.parts[key] for half in halves]))
    assert any(not torch.allclose(whole.parts[key], labelled.parts[key]) for key in whole.parts if "kl" in key)


def test_mvae_counts_each_set_of_modalities_that_an_image_has_once(make: Make, batch: Batch) -> None:
    model = make("mvae", modalities="per_attribute", num_random_subsets=0)
    concept = batch.concept.clone()
    concept[:, 1:] = -1
    concept[0] = -1
    terms = model.terms(replace(batch, concept=concept))
    kls: Mapping[str, Tensor] = {key: part for key, part in terms.parts.items() if key.endswith("/kl")}
    assert {key for key, part in kls.items() if part[0] != 0} == {"joint/kl"}
    assert {key for key, part in kls.items() if part[1] != 0} == {"joint/kl", "image/kl", "digit/kl"}
    torch.testing.assert_close(terms.parts["joint/kl"][0], _image_kl(model, batch)[0])
    logs = log_py(model.concept_decoder, terms.latents["joint"], concept.clamp_min(0), (0,))
    torch.testing.assert_close(terms.parts["joint/log_py"][1:], logs[1:])


def _image_kl(model: Objective, batch: Batch) -> Tensor:
    mean, scale = gaussian(model.image_encoder(batch.image))  # type: ignore[operator]
    precision = 1 + scale**-2
    q = (mean * scale**-2 / precision, precision**-0.5)
    return kl(q, prior_of(q))


def test_every_objective_learns_from_images_without_labels_or_says_why_not() -> None:
    learns = {name for name in objectives if objectives.get(name).unlabelled_obstacle is None}
    assert learns >= {*CASES, "ssvae", "vae", "beta_vae", "q_agg", "q_true"}
    unsaid = ObjectiveSpec.unlabelled_obstacle
    assert not [name for name in of_domain(objectives, "images") if objectives.get(name).unlabelled_obstacle == unsaid]
    reasons = {name: objectives.parse(name).leaves_out("fit") for name in ("jvae", "jmvae", "jnf", "cvae", "discvae")}
    assert all("need" in str(reason) and "the label" in str(reason) for reason in reasons.values())


@pytest.mark.parametrize(
    ("settings", "reasons"),
    [
        ({"name": "telbo", "schedule": "two_stage"}, {"fit": "needs the label", "unimodal": None}),
        ({"name": "vlvae", "inference": "joint"}, {"fit": "needs the label"}),
        ({"name": "q_agg", "mask_probability": 0}, {"fit": None, "concept": "full concepts only"}),
        ({"name": "q_true", "inference": "joint"}, {"fit": "needs the label", "concept": "needs the label"}),
        ({"name": "scan"}, {"denoise": None, "image": None, "concept": "one symbol"}),
    ],
)
def test_it_may_depend_on_the_stage(settings: dict[str, object], reasons: dict[str, str | None]) -> None:
    spec = objectives.parse(settings)
    for stage, words in reasons.items():
        found = spec.leaves_out(stage)
        assert found is None if words is None else words in str(found)
