"""VAE and beta-VAE: images alone."""

from __future__ import annotations

import pytest
import torch

from mmvae_bench.data.batch import Batch
from mmvae_bench.evaluation.queries import Queries, answerable
from mmvae_bench.evaluation.samples import prior_images
from mmvae_bench.objectives.base import CapabilityError

from .opinions import (
    Make,
    assert_agree,
    gaussian,
    kl,
    log_px,
    prior_of,
    redraw,
)


@pytest.mark.parametrize(("name", "beta"), [("vae", 1.0), ("beta_vae", 2.5)])
def test_value_and_gradient(name: str, beta: float, make: Make, batch: Batch) -> None:
    model = make(name, **({"beta": beta} if name == "beta_vae" else {}))
    terms = model.terms(batch)
    q = gaussian(model.image_encoder(batch.image))  # type: ignore[operator]
    bound = log_px(model.image_decoder, redraw(q, terms.latents["image"]), batch.image) - beta * kl(q, prior_of(q))
    assert_agree(model, terms.loss, -bound.mean())


FULL = torch.tensor([[4, 1, 2, 3]])


def test_a_beta_vae_with_beta_one_is_the_vae(make: Make, batch: Batch) -> None:
    losses = []
    for name, parameters in (("vae", {}), ("beta_vae", {"beta": 1.0}), ("beta_vae", {"beta": 3.0})):
        torch.manual_seed(5)
        losses.append(make(name, **parameters).terms(batch))
    assert torch.equal(losses[0].loss, losses[1].loss)
    torch.testing.assert_close(losses[2].loss - losses[0].loss, 2 * losses[0].parts["image/kl"].mean())


@pytest.mark.parametrize("name", ["vae", "beta_vae"])
def test_a_vae_never_looks_at_the_concept(name: str, make: Make, batch: Batch) -> None:
    model = make(name)
    assert model.network_names == ("image_encoder", "image_decoder")
    losses = []
    for concept in (batch.concept, batch.concept.flip(0)):
        torch.manual_seed(5)
        losses.append(model.terms(Batch(batch.image, concept, batch.index)).loss)
    assert torch.equal(losses[0], losses[1])


def test_a_vae_says_what_it_cannot(make: Make, batch: Batch) -> None:
    model = make("vae")
    assert not model.can_imagine
    assert not model.can_describe
    with pytest.raises(CapabilityError, match=r"vae trains no q\(z\|y\); it has q\(z\|x\), so the 3 C's cannot"):
        model.imagine(FULL)
    with pytest.raises(CapabilityError, match=r"vae has no p\(y\|z\): it models images only and cannot describe"):
        model.describe(batch.image)
    with pytest.raises(CapabilityError, match=r"vae has no p\(y\|z\)"):
        model.likelihood(torch.zeros(1, 3, dtype=torch.float64))
    with pytest.raises(CapabilityError, match=r"vae trains no q\(z\|x,y\)"):
        model.reconstruct(batch.image, batch.concept)
    assert model.reconstruct(batch.image).shape == batch.image.shape
    assert answerable(model, [Queries("test", 4, FULL)]) == []
    assert prior_images(model.float(), num_rows=2, num_samples=3, seed=0).shape == (2, 3, 1, 16, 16)
