"""CVAE: images given concepts; what it imputes, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from mmvae_bench.data.batch import Batch
from mmvae_bench.evaluation.queries import Queries, answerable
from mmvae_bench.objectives.base import CapabilityError
from mmvae_bench.objectives.cvae import CVAE

from .opinions import (
    Make,
    assert_agree,
    gaussian,
    kl,
    log_px,
    prior_of,
    product,
    redraw,
)

FULL, PARTIAL = torch.tensor([[4, 1, 2, 3]]), torch.tensor([[4, -1, 2, -1]])


@pytest.mark.parametrize("prior", ["conditional", "standard"])
def test_value_and_gradient(prior: str, make: Make, batch: Batch) -> None:
    model = make("cvae", prior=prior)
    terms = model.terms(batch)
    q = gaussian(model.joint_encoder(batch.image, batch.concept))  # type: ignore[operator]
    values = [torch.eye(size, dtype=torch.float64)[batch.concept[:, k]] for k, size in enumerate(model.schema.sizes)]
    z = torch.cat([redraw(q, terms.latents["joint"]), *values], 1)
    p = product(model, batch.concept) if prior == "conditional" else prior_of(q)
    bound = log_px(model.image_decoder.decoder, z, batch.image) - kl(q, p)  # type: ignore[arg-type]
    assert_agree(model, terms.loss, -bound.mean())


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
