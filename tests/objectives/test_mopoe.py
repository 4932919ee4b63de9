"""MoPoE-VAE: an ELBO under a mixture of products of experts."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives import mopoe as mopoe_module
from mmvae_bench.objectives.mopoe import MoPoE, mopoe, subset_collection
from mmvae_bench.objectives.vae import vae

from .opinions import (
    Make,
    assert_agree,
    kl,
    log_px,
    log_py,
    modality_experts,
    multiplied,
    nonempty_subsets,
    prior_of,
    random_values,
    redraw,
    uniform_mixture,
)

MODALITIES = pytest.mark.parametrize("modalities", ["two", "per_attribute"])


@MODALITIES
def test_value_and_gradient(modalities: str, make: Make, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("mopoe", modalities=modalities, **{"lambda": 7.0, "lambda_image": 0.6, "beta": 1.3})
    assert isinstance(model, MoPoE)
    subsets = [tuple(m for m, member in enumerate(row) if member) for row in model.subsets.tolist()]
    assert sorted(subsets) == sorted(nonempty_subsets(2 if modalities == "two" else 5))
    chosen = (torch.arange(12) * 5 + 1) % len(subsets)
    monkeypatch.setattr(mopoe_module, "stratified_choice", lambda counts: chosen)
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


def test_mopoe_with_one_modality_is_a_vae(make: Make, batch: Batch) -> None:
    """The formula with one subset; and the model, where no attribute is specified and the image is all there is."""
    log_px, kl = -random_values(6), random_values(6, seed=2)
    one = mopoe(
        log_px=log_px, log_py=None, kls=kl[:, None], counts=torch.ones(6, 1, dtype=torch.bool),
        lambda_image=1.0, lambda_=7.0, beta=1.3,
    )  # fmt: skip
    torch.testing.assert_close(one.loss, vae(log_px=log_px, kl=kl, beta=1.3).loss)

    model, single = make("mopoe"), make("vae")
    weights = model.state_dict()
    single.load_state_dict({key: weights[key] for key in single.state_dict()})
    alone = Batch(batch.image, torch.full_like(batch.concept, -1), batch.index)
    terms = model.terms(alone)
    q = single.posterior(image=batch.image)
    wanted = vae(
        log_px=single.image_likelihood(terms.latents["joint"]).log_prob(batch.image),
        kl=kl_divergence(q, single.prior(q)),
        beta=1.0,
    )
    torch.testing.assert_close(terms.loss, wanted.loss)


def test_the_bound_of_mopoe_is_above_the_mixture_s_divergence(make: Make, batch: Batch) -> None:
    """KL is convex: the mean over the subsets is at least the mixture's, which a large sample estimates."""
    model = make("mopoe")
    torch.manual_seed(0)
    with torch.no_grad():
        q, bound = model.posterior(batch.image, batch.concept), model.terms(batch).parts["joint/kl"]
        z = q.sample(torch.Size([4000]))
        ratios = q.log_prob(z) - Normal(0.0, 1.0).log_prob(z).sum(-1)
    assert bool((ratios.mean(0) < bound + 4 * ratios.std(0) / math.sqrt(4000)).all())
    assert bool((ratios.mean(0) > 0).all())


def test_a_collection_of_subsets() -> None:
    rows = [tuple(row) for row in subset_collection(19, 60, seed=0).tolist()]
    assert len(set(rows)) == 60
    assert (True,) * 19 in rows
    assert sum(sum(row) == 1 for row in rows) >= 19
    assert min(map(sum, rows)) == 1
    assert rows == [tuple(row) for row in subset_collection(19, 60, seed=0).tolist()]
    assert rows != [tuple(row) for row in subset_collection(19, 60, seed=1).tolist()]
    assert len(subset_collection(5, None, seed=0)) == 31


def test_a_smaller_collection_is_what_the_model_mixes(make: Make, batch: Batch) -> None:
    model = make("mopoe", modalities="per_attribute", num_subsets=8)
    assert isinstance(model, MoPoE)
    experts = modality_experts(model, batch, per_attribute=True, prior=True)
    parts = [multiplied([experts[m] for m in row.nonzero()[:, 0].tolist()]) for row in model.subsets]
    z = random_values(12, 3)
    torch.testing.assert_close(model.posterior(batch.image, batch.concept).log_prob(z), uniform_mixture(z, parts))
    assert len(parts) == 8
