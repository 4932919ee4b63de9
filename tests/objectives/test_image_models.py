"""VAE, beta-VAE and CVAE: what they answer, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from mmvae_bench.data.batch import Batch
from mmvae_bench.evaluation.evaluate import answerable
from mmvae_bench.evaluation.queries import Queries
from mmvae_bench.evaluation.samples import prior_images
from mmvae_bench.objectives.base import CapabilityError, Objective
from mmvae_bench.objectives.cvae import CVAE

from .opinions import product

Make = Callable[..., Objective]
FULL, PARTIAL = torch.tensor([[4, 1, 2, 3]]), torch.tensor([[4, -1, 2, -1]])


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


def test_a_cvae_says_what_it_cannot(make: Make, batch: Batch) -> None:
    model = make("cvae")
    assert model.can_imagine
    assert not model.can_describe
    with pytest.raises(CapabilityError, match=r"cvae trains no q\(z\|x\); it has .*, so it cannot describe"):
        model.describe(batch.image)
    with pytest.raises(CapabilityError, match=r"p\(x\|y,z\) but no p\(x\|z\): its image decoder needs the concept"):
        model.image_likelihood(torch.zeros(1, 3, dtype=torch.float64))
    with pytest.raises(CapabilityError, match="fully specified concepts only; imagine fills in the unspecified ones"):
        model.posterior(concept=PARTIAL)
    assert model.reconstruct(batch.image, batch.concept).shape == batch.image.shape


def test_a_cvae_can_be_set_to_refuse(make: Make) -> None:
    model = make("cvae", unspecified="refuse")
    assert model.spec.partial_concepts is False
    assert make("cvae").spec.partial_concepts is True
    with pytest.raises(CapabilityError, match=r"cvae takes fully specified concepts only$"):
        model.imagine(PARTIAL)
    assert model.imagine(FULL, num_samples=3).shape == (1, 3, 1, 16, 16)
    asked = [Queries("test", level, FULL) for level in (2, 4)]
    assert [each.level for each in answerable(model, asked)] == [4]
    assert [each.level for each in answerable(make("cvae"), asked)] == [2, 4]


def test_the_prior_of_a_cvae(make: Make, batch: Batch) -> None:
    conditional = make("cvae").posterior(concept=batch.concept)
    mean, scale = product(make("cvae"), batch.concept)
    torch.testing.assert_close(conditional.mean, mean)
    torch.testing.assert_close(conditional.stddev, scale)
    standard = make("cvae", prior="standard")
    assert standard.network_names == ("joint_encoder", "image_decoder")
    z = torch.randn(12, 3, dtype=torch.float64)
    torch.testing.assert_close(
        standard.posterior(concept=batch.concept).log_prob(z), Normal(0.0, 1.0).log_prob(z).sum(-1)
    )


def test_prior_and_decoder_are_told_the_same_completed_concept(
    make: Make, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A completion for each sample: what is specified stays, the rest is of one training concept."""
    model = make("cvae").train()
    assert isinstance(model, CVAE)
    model.terms(batch)
    asked: dict[str, Tensor] = {}
    prior, decoder = model.concept_encoder.forward, model.image_decoder.forward

    def spy_prior(concept: Tensor) -> object:
        asked["prior"] = concept
        return prior(concept)

    def spy_decoder(z: Tensor, concept: Tensor) -> object:
        asked["decoder"] = concept
        return decoder(z, concept)

    monkeypatch.setattr(model.concept_encoder, "forward", spy_prior)
    monkeypatch.setattr(model.image_decoder, "forward", spy_decoder)
    query = batch.concept[:2].masked_fill(torch.tensor([False, True, False, True]), -1)
    model.imagine(query, num_samples=40, generator=torch.Generator().manual_seed(0))
    assert torch.equal(asked["prior"], asked["decoder"])
    told = asked["decoder"].unflatten(0, (2, 40))
    assert bool(((told == query[:, None]) | (query < 0)[:, None]).all())
    # Those that agree in the most of the two specified attributes, and each of them comes up.
    for row, query_row in zip(told, query, strict=True):
        agreeing = (batch.concept == query_row).sum(1)
        closest = batch.concept[agreeing == agreeing.max()]
        wanted = {tuple(each) for each in torch.where(query_row < 0, closest, query_row).tolist()}
        assert {tuple(each) for each in row.tolist()} == wanted


def test_a_cvae_remembers_in_training_only(make: Make, batch: Batch) -> None:
    model = make("cvae")
    assert isinstance(model, CVAE)
    model.eval().terms(batch)
    assert int(model.memory.num_seen) == 0
    model.train().terms(batch)
    assert int(model.memory.num_seen) == 12
    assert torch.equal(model.memory.concepts[:12], batch.concept)


def test_the_decoder_of_a_cvae_is_told_each_value(make: Make) -> None:
    model = make("cvae").eval()
    z = torch.randn(1, 3, dtype=torch.float64)
    images = [model.image_likelihood(z, FULL).mean]
    for k, size in enumerate(model.schema.sizes):
        other = FULL.clone()
        other[0, k] = (other[0, k] + 1) % size
        images.append(model.image_likelihood(z, other).mean)
    for i in range(5):
        for j in range(i):
            assert not torch.allclose(images[i], images[j])
