"""Two ablations of q(z|y): experts without the universal one, and attributes beside each other without a product."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal, kl_divergence

from mmvae_bench.backbones.thin import ThinBackbone
from mmvae_bench.base.errors import BenchmarkError, ConfigError
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import CapabilityError, Objective
from mmvae_bench.objectives.common.concept_encoders import ConcatenatedConcept
from mmvae_bench.specs.components import backbones, datasets, objectives
from mmvae_bench.specs.trial import TrialSpec

from .opinions import (
    Gaussian,
    Make,
    assert_agree,
    attribute_experts,
    bound,
    gaussian,
    kl,
    log_px,
    log_py,
    multiplied,
    prior_of,
    redraw,
)

NAMES = ("telbo", "jmvae", "bivcca")
PARTIAL = torch.tensor([[4, 1, -1, -1], [-1, 0, 2, 3], [7, -1, -1, -1], [-1, -1, -1, 0], [3, 1, 0, 2]])
ALONE = {"universal_expert": False}
BESIDE = {"concept_fusion": "concatenation"}


def concatenated(model: Objective, concept: Tensor) -> Gaussian:
    """q(z|y) by hand: each attribute's features in order, then the layers one by one."""
    encoder = model.concept_encoder
    parts = [
        network(embedding(concept[:, k]))
        for k, (embedding, network) in enumerate(
            zip(encoder.features.embeddings, encoder.features.networks, strict=True)  # type: ignore[union-attr,arg-type]
        )
    ]
    hidden = torch.cat(parts, 1)
    for layer in encoder.hidden:  # type: ignore[union-attr]
        if isinstance(layer, nn.Linear):
            hidden = nn.functional.elu(hidden @ layer.weight.T + layer.bias)
    mean, log_scale = encoder.head(hidden)  # type: ignore[union-attr,operator]
    return mean, log_scale.exp()


def telbo_value(model: Objective, batch: Batch, q_concept: Gaussian, latents: dict[str, Tensor]) -> Tensor:
    """The loss with lambda 7 and gamma 3, given this q(z|y)."""
    frozen = SimpleNamespace(
        image=copy.deepcopy(model.image_decoder).requires_grad_(False),
        concept=copy.deepcopy(model.concept_decoder).requires_grad_(False),
    )
    q_joint = gaussian(model.joint_encoder(batch.image, batch.concept))  # type: ignore[operator]
    q_image = gaussian(model.image_encoder(batch.image))  # type: ignore[operator]
    value = -bound(model, batch, q_joint, latents["joint"], 1.0, 7.0)
    value = (
        value - log_px(frozen.image, redraw(q_image, latents["image"]), batch.image) + kl(q_image, prior_of(q_image))
    )
    value = value - 3.0 * log_py(frozen.concept, redraw(q_concept, latents["concept"]), batch.concept)
    return (value + kl(q_concept, prior_of(q_concept))).mean()


@pytest.mark.parametrize("name", NAMES)
def test_without_the_universal_expert_the_density_is_that_of_the_specified_experts_alone(name: str, make: Make) -> None:
    """Up to its constant, by torch's own densities: a difference of log q at two points needs no constant."""
    model, generator = make(name, **ALONE), torch.Generator().manual_seed(0)
    one, other = (torch.randn(len(PARTIAL), 3, generator=generator, dtype=torch.float64) for _ in range(2))
    experts = [Normal(*expert) for expert in attribute_experts(model, PARTIAL.clamp_min(0))]

    def unnormalised(z: Tensor) -> Tensor:
        terms = [torch.where(PARTIAL[:, k] >= 0, q.log_prob(z).sum(-1), 0.0) for k, q in enumerate(experts)]
        return torch.stack(terms).sum(0)

    found = model.posterior(concept=PARTIAL)
    difference = found.log_prob(one) - found.log_prob(other)
    torch.testing.assert_close(difference, unnormalised(one) - unnormalised(other))
    with_prior = make(name).posterior(concept=PARTIAL)
    prior = Independent(Normal(torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)), 1)
    torch.testing.assert_close(
        with_prior.log_prob(one) - with_prior.log_prob(other),
        difference + prior.log_prob(one) - prior.log_prob(other),
    )


def test_an_empty_concept_is_the_prior_with_and_without_the_universal_expert(make: Make) -> None:
    """A product of nothing has no density: it is defined to be p(z)."""
    nothing = torch.full((2, 4), -1)
    for parameters in ({}, ALONE):
        q = make("telbo", **parameters).posterior(concept=nothing)
        prior = Independent(Normal(torch.zeros_like(q.mean), torch.ones_like(q.mean)), 1)
        assert kl_divergence(q, prior).tolist() == [0, 0]


def test_one_expert_alone_is_what_its_network_says(make: Make) -> None:
    """And need not be narrower than the prior: that is what the universal expert is for."""
    model = make("telbo", **ALONE)
    concept = torch.tensor([[7, -1, -1, -1]])
    with torch.no_grad():
        for head in model.concept_encoder.heads:  # type: ignore[union-attr]
            head.log_scale.weight.zero_()
            head.log_scale.bias.fill_(2.0)
    mean, scale = attribute_experts(model, concept.clamp_min(0))[0]
    found = model.posterior(concept=concept)
    torch.testing.assert_close((found.mean, found.stddev), (mean, scale))
    assert bool((found.stddev > 7).all())
    assert bool((make("telbo").posterior(concept=concept).stddev <= 1).all())


def test_value_and_gradient_without_the_universal_expert(make: Make, batch: Batch) -> None:
    model = make("telbo", **{"lambda": 7.0, "gamma": 3.0}, **ALONE)
    terms = model.terms(batch)
    value = telbo_value(model, batch, multiplied(attribute_experts(model, batch.concept)), terms.latents)
    assert_agree(model, terms.loss, value)


def test_value_and_gradient_of_the_concatenation(make: Make, batch: Batch) -> None:
    model = make("telbo", **{"lambda": 7.0, "gamma": 3.0}, **BESIDE)
    terms = model.terms(batch)
    assert_agree(model, terms.loss, telbo_value(model, batch, concatenated(model, batch.concept), terms.latents))


@pytest.mark.parametrize("name", NAMES)
def test_the_concatenation_takes_full_concepts_only(name: str, make: Make, batch: Batch) -> None:
    model = make(name, **BESIDE)
    found = model.posterior(concept=batch.concept)
    torch.testing.assert_close((found.mean, found.stddev), concatenated(model, batch.concept))
    assert not model.takes_partial_concepts
    with pytest.raises(CapabilityError, match="fully specified concepts only"):
        model.posterior(concept=PARTIAL)
    with pytest.raises(CapabilityError, match="fully specified concepts only"):
        model.imagine(PARTIAL[0])


@pytest.mark.parametrize(("name", "before", "after"), [("mnist_a_paper", 2, 4), ("celeba18", 1, 2)])
def test_the_concatenation_has_the_layers_of_the_paper(name: str, before: int, after: int) -> None:
    """A.4: two layers per attribute and four behind on MNIST-A; one and two on CelebA; 512 wide."""
    dataset = datasets.parse({"name": "celeba18" if name == "celeba18" else "mnist_a"})
    backbone = backbones.parse({"name": name})
    built = backbone.build(schema=dataset.concept_schema(), image_shape=dataset.image_shape())
    model = objectives.parse({"name": "telbo", **BESIDE}).build(built)
    encoder = model.concept_encoder
    assert isinstance(encoder, ConcatenatedConcept)
    num = len(dataset.concept_schema())
    layers = [layer for layer in encoder.hidden if isinstance(layer, nn.Linear)]
    sizes = [(layer.in_features, layer.out_features) for layer in layers]
    assert sizes == [(512 * num, 512), *[(512, 512)] * (after - 1)]
    own = [layer for layer in encoder.features.networks[0].modules() if isinstance(layer, nn.Linear)]
    assert len(own) == before


@pytest.mark.parametrize("name", NAMES)
def test_what_an_ablation_shares_starts_from_the_same_weights(name: str, make: Make) -> None:
    plain = make(name).state_dict()
    alone = make(name, **ALONE).state_dict()
    assert list(alone) == list(plain)
    assert all(torch.equal(alone[key], plain[key]) for key in plain)
    beside = objectives.parse({"name": name, **BESIDE}), objectives.parse({"name": name})
    dataset = datasets.parse({"name": "mnist_a", "canvas": 16})
    backbone = backbones.parse({"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3})
    built = backbone.build(schema=dataset.concept_schema(), image_shape=dataset.image_shape())
    first, second = (spec.build(built, seed=4).state_dict() for spec in beside)
    for key, value in second.items():
        assert key.startswith("concept_encoder.heads") or torch.equal(first[key], value), key


def test_a_setting_that_would_be_ignored_is_refused() -> None:
    with pytest.raises(ConfigError, match="universal_expert: only applies to concept_fusion product"):
        objectives.parse({"name": "telbo", **ALONE, **BESIDE})
    texts = {"dataset": {"name": "sprites", "view": "text"}, "backbone": {"name": "rgb_thin"}}
    for parameters, key in ((ALONE, "universal_expert"), (BESIDE, "concept_fusion")):
        for name in NAMES:
            with pytest.raises(ConfigError, match=f"objective.{key}: only applies to attributes"):
                TrialSpec.parse(texts | {"objective": {"name": name, **parameters}})


def test_a_backbone_without_experts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ThinBackbone, "concept_encoder", lambda self: nn.Linear(4, 3))
    dataset = datasets.parse({"name": "mnist_a", "canvas": 16})
    built = backbones.parse("mnist_a_thin").build(schema=dataset.concept_schema(), image_shape=dataset.image_shape())
    for parameters, words in ((ALONE, "universal_expert false"), (BESIDE, "concept_fusion concatenation")):
        with pytest.raises(BenchmarkError, match=f"{words} needs a concept encoder with one expert per attribute"):
            objectives.parse({"name": "telbo", **parameters}).build(built)


def test_the_defaults_leave_keys_as_they_are() -> None:
    for name in NAMES:
        canonical = objectives.parse(name).canonical()
        assert not {"universal_expert", "concept_fusion", "joint_encoder"} & canonical.keys()
        assert objectives.parse({"name": name, **ALONE}).canonical()["universal_expert"] is False


def test_images_without_labels_are_left_out_of_a_concatenation() -> None:
    """An unspecified attribute has no features: -1 must never be taken for the last value."""
    reason = "fully specified concepts only"
    for name in NAMES:
        spec = objectives.parse({"name": name, **BESIDE})
        assert reason in (spec.leaves_out("fit") or "") or name == "jmvae"
        assert spec.leaves_out("fit") is not None
    staged = objectives.parse({"name": "telbo", "schedule": "two_stage", **BESIDE})
    assert reason in staged.leaves_out("unimodal")
    assert objectives.parse({"name": "telbo", **ALONE}).leaves_out("fit") is None
    assert objectives.parse({"name": "bivcca"}).leaves_out("fit") is None
