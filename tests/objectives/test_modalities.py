"""What MVAE, MMVAE, MoPoE and MVTCAE share: posteriors fused from one expert per modality."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from mmvae_bench.backbones.thin import ThinBackbone
from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.data.batch import Batch
from mmvae_bench.distributions.latents import diagonal_normal
from mmvae_bench.objectives.common.modalities import MultimodalObjective
from mmvae_bench.specs.components import backbones, datasets, objectives

from .opinions import (
    Make,
    attribute_experts,
    gaussian,
    modality_experts,
    multiplied,
    nonempty_subsets,
    product,
    random_values,
    uniform_mixture,
)

FUSED = ("mvae", "mmvae", "mopoe", "mvtcae")


MODALITIES = pytest.mark.parametrize("modalities", ["two", "per_attribute"])


PARTIAL = torch.tensor([[4, 1, -1, -1], [-1, 0, 2, 3], [7, -1, -1, -1]])


@MODALITIES
@pytest.mark.parametrize("name", ["mvae", "mvtcae"])
def test_the_joint_product_holds_the_prior_once(name: str, modalities: str, make: Make, batch: Batch) -> None:
    """The concept encoder's product has a prior of its own, which must not be counted again."""
    model = make(name, modalities=modalities)
    image, attributes = gaussian(model.image_encoder(batch.image)), attribute_experts(model, batch.concept)  # type: ignore[operator]
    bare = name == "mvtcae" and modalities == "per_attribute"
    prior = [] if bare else [(torch.zeros_like(image[0]), torch.ones_like(image[1]))]
    mean, scale = multiplied([*prior, image, *attributes])
    found = model.posterior(batch.image, batch.concept)
    torch.testing.assert_close(found.mean, mean)
    torch.testing.assert_close(found.stddev, scale)


@pytest.mark.parametrize("name", FUSED)
def test_the_image_posterior(name: str, make: Make, batch: Batch) -> None:
    """The image's expert, times the prior where that is a factor."""
    model = make(name)
    mean, scale = gaussian(model.image_encoder(batch.image))  # type: ignore[operator]
    if name == "mvae":
        mean, scale = mean / (1 + scale**2), scale / (1 + scale**2).sqrt()
    found = model.posterior(image=batch.image)
    torch.testing.assert_close(found.mean, mean)
    torch.testing.assert_close(found.stddev, scale)


@pytest.mark.parametrize("name", FUSED)
def test_two_modalities_take_the_concept_encoder_as_it_is(name: str, make: Make, batch: Batch) -> None:
    model = make(name)
    for concept in (batch.concept, PARTIAL):
        found, wanted = model.posterior(concept=concept), model.concept_encoder(concept)  # type: ignore[operator]
        torch.testing.assert_close(found.mean, wanted.mean)
        torch.testing.assert_close(found.stddev, wanted.stddev)
    mean, scale = product(model, batch.concept)
    torch.testing.assert_close(model.posterior(concept=batch.concept).mean, mean)
    torch.testing.assert_close(model.posterior(concept=batch.concept).stddev, scale)


@MODALITIES
@pytest.mark.parametrize("name", FUSED)
def test_nothing_specified_is_the_prior(name: str, modalities: str, make: Make, batch: Batch) -> None:
    model = make(name, modalities=modalities)
    nothing = torch.full((12, 4), -1)
    q, z = model.posterior(concept=nothing), random_values(7, 12, 3) * 6 - 3
    torch.testing.assert_close(q.log_prob(z), Normal(0.0, 1.0).log_prob(z).sum(-1))
    alone, beside = model.posterior(image=batch.image), model.posterior(batch.image, nothing)
    torch.testing.assert_close(beside.log_prob(z), alone.log_prob(z))


@MODALITIES
@pytest.mark.parametrize("name", FUSED)
def test_an_unspecified_attribute_has_no_influence(name: str, modalities: str, make: Make, batch: Batch) -> None:
    """Not even where its expert is broken; a specified one's has."""
    model = make(name, modalities=modalities)
    z = random_values(12, 3)
    concept = batch.concept.clone()
    concept[:, 2] = -1

    def answers() -> list[Tensor]:
        return [model.posterior(concept=concept).log_prob(z), model.posterior(batch.image, concept).log_prob(z)]

    before = answers()
    with torch.no_grad():
        for parameter in model.concept_encoder.heads[2].parameters():  # type: ignore[index,union-attr]
            parameter.fill_(torch.nan)
    assert all(torch.equal(a, b) for a, b in zip(before, answers(), strict=True))
    with torch.no_grad():
        for parameter in model.concept_encoder.heads[1].parameters():  # type: ignore[index,union-attr]
            parameter.add_(0.5)
    assert not any(torch.allclose(a, b) for a, b in zip(before, answers(), strict=True))


@pytest.mark.parametrize("name", ["mmvae", "mopoe"])
def test_partial_concepts_mix_what_is_specified(name: str, make: Make, batch: Batch) -> None:
    """MMVAE: the specified attributes' experts. MoPoE: the products over the subsets of the specified attributes."""
    model = make(name, modalities="per_attribute")
    q, z = model.posterior(concept=PARTIAL), random_values(3, 3) * 4 - 2
    for row, concept in enumerate(PARTIAL):
        chosen = [k for k, value in enumerate(concept.tolist()) if value >= 0]
        experts = attribute_experts(model, concept.clamp_min(0)[None])
        subsets = [(k,) for k in range(len(chosen))] if name == "mmvae" else nonempty_subsets(len(chosen))
        parts = [multiplied([experts[chosen[k]] for k in subset]) for subset in subsets]
        torch.testing.assert_close(q.log_prob(z)[row], uniform_mixture(z[row], parts)[0])


@MODALITIES
@pytest.mark.parametrize("name", ["mmvae", "mopoe"])
def test_the_joint_mixture(name: str, modalities: str, make: Make, batch: Batch) -> None:
    model = make(name, modalities=modalities)
    experts = modality_experts(model, batch, per_attribute=modalities == "per_attribute", prior=True)
    subsets = [(m,) for m in range(len(experts))] if name == "mmvae" else nonempty_subsets(len(experts))
    z = random_values(12, 3) * 4 - 2
    parts = [multiplied([experts[m] for m in subset]) for subset in subsets]
    torch.testing.assert_close(model.posterior(batch.image, batch.concept).log_prob(z), uniform_mixture(z, parts))


class _WholeEncoder(nn.Module):
    """A concept encoder without an expert an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 6)

    def forward(self, concept: Tensor) -> Distribution:
        mean, log_scale = self.head(concept.to(self.head.weight.dtype)).chunk(2, -1)
        return diagonal_normal(mean, log_scale)


class _WholeBackbone(ThinBackbone):
    def concept_encoder(self) -> nn.Module:
        return _WholeEncoder()


@pytest.mark.parametrize("name", FUSED)
def test_a_concept_encoder_without_experts_is_one_expert(name: str, batch: Batch) -> None:
    dataset = datasets.parse({"name": "mnist_a", "canvas": 16})
    spec = backbones.parse({"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3})
    backbone = _WholeBackbone(spec, schema=dataset.concept_schema(), image_shape=dataset.image_shape())
    model = objectives.parse({"name": name}).build(backbone, seed=0).double()
    found, own = model.posterior(concept=batch.concept), model.concept_encoder(batch.concept)
    if name == "mvae":
        wanted = multiplied([(own.mean, own.stddev), (torch.zeros_like(own.mean), torch.ones_like(own.mean))])
    else:
        wanted = own.mean, own.stddev
    torch.testing.assert_close(found.mean, wanted[0])
    torch.testing.assert_close(found.stddev, wanted[1])
    assert bool(model.terms(batch).loss.isfinite())
    with pytest.raises(BenchmarkError, match=f"{name}: modalities per_attribute needs .* one expert per attribute"):
        objectives.parse({"name": name, "modalities": "per_attribute"}).build(backbone)


@pytest.mark.parametrize("name", FUSED)
def test_no_network_sees_both_modalities(name: str, make: Make) -> None:
    model = make(name)
    assert isinstance(model, MultimodalObjective)
    assert model.network_names == ("image_encoder", "concept_encoder", "image_decoder", "concept_decoder")
    assert not hasattr(model, "joint_encoder")


def test_posterior_needs_something(make: Make) -> None:
    with pytest.raises(ValueError, match="an image, a concept or both"):
        make("mvae").posterior()


def test_the_experts_of_the_networks_are_normal(make: Make, batch: Batch) -> None:
    q = make("mmvae").posterior(image=batch.image)
    assert isinstance(q, Independent)
    assert isinstance(q.base_dist, Normal)
