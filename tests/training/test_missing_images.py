"""Missing images: which examples have none, what a step sees, what each objective learns from y alone, and resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from mmvae_bench.base.errors import BenchmarkError, ConfigError
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.data.missing import MissingImagesLoader, divided_rows, without_image
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.components import backbones, objectives, of_domain
from mmvae_bench.specs.missing import MissingImagesSpec, imageless_share
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.training.rehearsal import rehearse
from mmvae_bench.trial import build_objective, run_trial

from ..conformance.worlds import objectives_on
from .conftest import Run, same

LEARNS = ("bivcca", "meme", "mmvae", "mopoe", "mvae", "mvtcae", "telbo")


def loader(
    data: ConceptDataModule, *, start: int = 0, stop: int = 40, share: float | None = None, **settings: Any
) -> MissingImagesLoader:
    missing = MissingImagesSpec.parse({"fraction": 0.3, **settings})
    share = missing.fraction if share is None else share
    return MissingImagesLoader(data, missing, share=share, batch_size=16, seed=0, stage="fit", start=start, stop=stop)


@pytest.mark.parametrize("fraction", [0.3, 0.9, 0.001])
def test_so_many_examples_have_no_image_chosen_by_the_seed_alone(fraction: float, digits: ConceptDataModule) -> None:
    rows = digits.rows("train")
    if fraction == 0.001:
        with pytest.raises(BenchmarkError, match=r"missing_images\.fraction: 0\.001 of 2\d\d training examples leaves"):
            divided_rows(digits, MissingImagesSpec(fraction=fraction))
        return
    whole, without = divided_rows(digits, MissingImagesSpec(fraction=fraction))
    assert len(without) == round(fraction * len(rows))
    assert sorted([*whole.tolist(), *without.tolist()]) == sorted(rows.tolist())
    again, other = (divided_rows(digits, MissingImagesSpec(fraction=fraction, seed=seed))[1] for seed in (0, 1))
    assert torch.equal(again, without)
    assert not torch.equal(other, without)


def test_a_step_is_wholly_with_images_or_wholly_without(digits: ConceptDataModule) -> None:
    whole, without = (set(rows.tolist()) for rows in divided_rows(digits, MissingImagesSpec(fraction=0.3)))
    batches = list(loader(digits))
    assert [batch.imageless for batch in batches] == [(t + 1) * 3 // 10 > t * 3 // 10 for t in range(40)]
    for batch in batches:
        assert set(batch.index.tolist()) <= (without if batch.imageless else whole)
        assert torch.equal(batch.concept, digits.store.concepts[batch.index])
        assert bool(batch.image.any()) != batch.imageless
        assert (batch.known_image is None) == batch.imageless
    assert not any(batch.imageless for batch in loader(digits, share=0.0))
    seen = {row for batch in loader(digits, stop=200) for row in batch.index.tolist()}
    assert seen == whole | without


@pytest.mark.parametrize("start", [1, 3, 17, 39])
def test_going_on_from_any_step_gives_the_same_batches(start: int, digits: ConceptDataModule) -> None:
    whole, rest = list(loader(digits)), list(loader(digits, start=start))
    assert len(rest) == 40 - start
    for mine, other in zip(rest, whole[start:], strict=True):
        assert mine.imageless == other.imageless
        assert torch.equal(mine.index, other.index)
        assert torch.equal(mine.image, other.image)


def trial(name: str, *, missing: object, **settings: Any) -> TrialSpec:
    return TrialSpec.parse(
        {
            "dataset": {"name": "mnist_a", "canvas": 16, "num_sources": 100, "replicas": 3},
            "backbone": {"name": "mlp", "hidden": 16, "latent_size": 3},
            "objective": {"name": name, **settings},
            "training": {"steps": 20, "batch_size": 16, "validations": 1, "missing_images": missing},
            "evaluation": {
                "protocols": ["paper"],
                "num_samples": 2,
                "query_repeats": 1,
                "classifier": {"name": "conv_thin", "width": 2, "hidden": 4, "steps": 2},
            },
        }
    )


def elbo_of_y(model: Objective, y: Tensor, z: Tensor, *, weight: float) -> Tensor:
    """``E_q(z|y)[weight log p(y|z)] - KL(q(z|y) || p(z))`` of each example, with q(z|y) the product of N(0, I) and an
    expert for each attribute, by torch's distributions."""
    means, log_scales = model.concept_encoder.experts(y)  # type: ignore[operator,union-attr]
    precision = 1 + (-2 * log_scales).exp().sum(1)
    q = Normal(((-2 * log_scales).exp() * means).sum(1) / precision, precision**-0.5)
    logits = model.concept_likelihood(z).log_probs  # type: ignore[attr-defined]
    log_py = sum(torch.distributions.Categorical(logits=part).log_prob(y[:, k]) for k, part in enumerate(logits))
    return weight * log_py - kl_divergence(q, Normal(0.0, 1.0)).sum(1)


@pytest.mark.parametrize("name", ["bivcca", "mopoe", "mvae", "telbo"])
def test_without_images_a_loss_is_minus_the_elbo_of_y(name: str, digits: ConceptDataModule) -> None:
    settings = {"gamma": 3.0} if name == "telbo" else {"lambda": 3.0}
    model = build_objective(trial(name, missing=None, **settings))
    batch = without_image(digits.store.batch(digits.rows("train")[:8]))
    torch.manual_seed(0)
    terms = model.terms(batch)
    z = terms.latents["joint" if name in ("mopoe", "mvae") else "concept"].detach()
    bound = elbo_of_y(model, batch.concept, z, weight=3.0).mean()
    if name == "mvae":
        # Its sum over subsets has the bound of what an example has once, under the joint name.
        assert not bool(terms.parts["concept/kl"].any())
    if name == "bivcca":
        bound = 0.3 * bound
    assert float(terms.loss.detach()) == pytest.approx(-float(bound.detach()), rel=1e-5)
    decoder = list(model.concept_decoder.parameters())
    mine = torch.autograd.grad(terms.loss, decoder, retain_graph=True)
    theirs = torch.autograd.grad(-bound, decoder)
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(mine, theirs, strict=True))


@pytest.mark.parametrize("name", LEARNS)
def test_y_alone_trains_the_networks_of_y_and_no_other(name: str, digits: ConceptDataModule) -> None:
    """The images cannot leak into the loss, and no network of images gets a gradient."""
    model = build_objective(trial(name, missing=None))
    batch = without_image(digits.store.batch(digits.rows("train")[:8]))
    losses = []
    for image in (batch.image, torch.rand_like(batch.image)):
        batch.image = image
        torch.manual_seed(0)
        terms = model.terms(batch)
        losses.append(float(terms.loss.detach()))
    assert losses[0] == losses[1]
    assert all(bool(part.isfinite().all()) for part in terms.parts.values())
    terms.loss.backward()
    for network in model.network_names:
        moved = any(p.grad is not None and bool(p.grad.any()) for p in getattr(model, network).parameters())
        assert moved == network.startswith("concept"), network
        assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in getattr(model, network).parameters())


@pytest.mark.parametrize("name", LEARNS)
def test_nothing_of_a_network_of_images_moves_without_images(name: str, digits: ConceptDataModule) -> None:
    """Neither do the means of its batch norms: in evaluation they must be those of what it was trained on."""
    backbone = backbones.parse({"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3})
    built = backbone.build(schema=digits.schema, image_shape=digits.image_shape)
    model = objectives.parse(name).build(built).train()
    before = {key: value.clone() for key, value in model.state_dict().items() if key.startswith("image")}
    assert any("running_mean" in key for key in before)
    model.terms(without_image(digits.store.batch(digits.rows("train")[:8])))
    after = model.state_dict()
    assert [key for key, value in before.items() if not torch.equal(after[key], value)] == []


@pytest.mark.parametrize("estimator", ["plain", "dreg"])
def test_without_images_the_loss_of_mmvae_is_the_importance_weighted_bound_of_y(
    estimator: str, digits: ConceptDataModule
) -> None:
    model = build_objective(trial("mmvae", missing=None, num_samples=4, estimator=estimator, **{"lambda": 3.0}))
    batch = without_image(digits.store.batch(digits.rows("train")[:8]))
    terms = model.terms(batch)
    means, log_scales = model.concept_encoder.experts(batch.concept)  # type: ignore[operator,union-attr]
    precision = 1 + (-2 * log_scales).exp().sum(1)
    q = Normal(((-2 * log_scales).exp() * means).sum(1) / precision, precision**-0.5)
    weights = []
    for k in range(4):
        z = terms.latents[f"concept/{k}"].detach()
        bound = elbo_of_y(model, batch.concept, z, weight=3.0) + kl_divergence(q, Normal(0.0, 1.0)).sum(1)
        weights.append(bound + (Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)).sum(1))
    expected = -(torch.stack(weights).logsumexp(0) - torch.tensor(4.0).log()).mean()
    assert float(terms.loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    decoder = list(model.concept_decoder.parameters())
    mine, theirs = (torch.autograd.grad(loss, decoder, retain_graph=True) for loss in (terms.loss, expected))
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(mine, theirs, strict=True))


@pytest.mark.parametrize("alpha", [0.0, 0.75])
def test_without_images_the_loss_of_mvtcae_is_its_share_of_the_elbo_of_y(
    alpha: float, digits: ConceptDataModule
) -> None:
    model = build_objective(trial("mvtcae", missing=None, alpha=alpha, beta=2.0, **{"lambda": 6.0}))
    batch = without_image(digits.store.batch(digits.rows("train")[:8]))
    terms = model.terms(batch)
    # With one modality, q is its expert: no divergence from it is left.
    bound = (1 - alpha) * 2.0 * elbo_of_y(model, batch.concept, terms.latents["joint"].detach(), weight=3.0).mean()
    assert float(terms.loss.detach()) == pytest.approx(-float(bound.detach()), rel=1e-5)
    decoder = list(model.concept_decoder.parameters())
    mine, theirs = (torch.autograd.grad(loss, decoder, retain_graph=True) for loss in (terms.loss, -bound))
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(mine, theirs, strict=True))


def test_each_objective_says_whether_it_learns_from_y_alone() -> None:
    missing = MissingImagesSpec(fraction=0.25)
    able = {name for name in of_domain(objectives, "images") if imageless_share(missing, objectives.parse(name))}
    assert able == set(LEARNS)
    for spec in (
        {"name": "telbo", "schedule": "two_stage"},
        {"name": "bivcca", "mu": 1},
        {"name": "mvtcae", "alpha": 1},  # 1 - alpha times the ELBO of y is no loss at all.
    ):
        assert imageless_share(missing, objectives.parse(spec)) == 0
    each = objectives.parse({"name": "mvtcae", "alpha": 1, "modalities": "per_attribute"})
    assert imageless_share(missing, each) == 0.25, "there the attributes are several modalities"
    assert "q(z|x)" in str(objectives.parse("scan").imageless_obstacle), "its terms of y alone need no image"


@pytest.mark.parametrize("name", ["meme", "mvae", "telbo"])
@pytest.mark.parametrize("stop_after", [3, 8])
def test_stopped_and_resumed_is_bitwise_uninterrupted(name: str, stop_after: int, run: Run) -> None:
    missing = {"fraction": 0.3}
    whole, fitted = run(name, folder="whole", steps=12, missing_images=missing)
    run(name, folder="parts", steps=12, stop_after=stop_after, missing_images=missing)
    resumed, again = run(name, folder="parts", steps=12, missing_images=missing)
    assert fitted is not None
    assert again is not None
    assert same(resumed.state_dict(), whole.state_dict())
    assert again.history == fitted.history
    plain, _ = run(name, folder="plain", steps=12)
    assert not same(plain.state_dict(), whole.state_dict())


@pytest.mark.parametrize("name", objectives_on("mlp"))
def test_both_kinds_of_step_are_rehearsed(name: str) -> None:
    assert rehearse(trial(name, missing={"fraction": 0.5})) is None


@pytest.mark.parametrize("name", ["telbo", "jmvae"])
def test_networks_that_normalise_over_the_batch_are_rehearsed_too(name: str) -> None:
    given = trial(name, missing={"fraction": 0.5}).canonical()
    given |= {"dataset": "two_object_clevr", "backbone": {"name": "two_object_resnet", "width": 8, "latent_size": 3}}
    assert rehearse(TrialSpec.parse(given)) is None


def test_a_trial_says_what_it_had_images_of(tmp_path: Path) -> None:
    learns, needs = (
        run_trial(trial(name, missing={"fraction": 0.96}), out=tmp_path, device="cpu") for name in ("telbo", "jmvae")
    )
    told = learns.result["training"]
    total = told["missing_images"]["examples_with_image"] / 0.04
    assert told["missing_images"] == {"examples_with_image": round(0.04 * total), "imageless_steps": 19}
    have = told["missing_images"]["examples_with_image"]
    assert have < 16
    assert told["samples_seen"] == 19 * 16 + have
    assert "examples without images" not in learns.result["left_out"]
    assert needs.result["training"]["missing_images"] == {"examples_with_image": have, "imageless_steps": 0}
    assert needs.result["training"]["samples_seen"] == 20 * have
    assert needs.result["left_out"]["examples without images"] == "every term of its loss needs the image"


def test_a_trial_without_it_keeps_its_key_and_what_cannot_be_is_refused() -> None:
    plain = trial("telbo", missing=None)
    assert "missing_images" not in plain.canonical()["training"]
    keys = {trial("telbo", missing={"fraction": share}).key for share in (0.5, 0.75)} | {plain.key}
    assert len(keys) == 3
    for missing, words in (
        ({"fraction": 0}, "greater than 0"),
        ({"fraction": 1}, "less than 1"),
        ({}, "fraction"),
        ({"fraction": 0.01}, "none of 20 steps would be made on examples without images"),
        ({"share": 0.5}, "unknown key 'share'"),
    ):
        with pytest.raises(ConfigError, match=words):
            trial("telbo", missing=missing)
    both = trial("telbo", missing={"fraction": 0.5}).canonical()
    both["training"]["supervision"] = {"fraction": 0.5}
    with pytest.raises(ConfigError, match=r"choose this or training\.supervision"):
        TrialSpec.parse(both)
