"""Properties of the objectives that fuse one expert a modality."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, kl_divergence

from mmvae_bench.backbones.thin import ThinBackbone
from mmvae_bench.base.errors import BenchmarkError, ConfigError
from mmvae_bench.data.batch import Batch
from mmvae_bench.distributions.latents import diagonal_normal
from mmvae_bench.objectives import mvae as mvae_module
from mmvae_bench.objectives.base import Objective
from mmvae_bench.objectives.common.elbo import elbo
from mmvae_bench.objectives.common.elbo import joint_elbo as jvae
from mmvae_bench.objectives.common.modalities import MultimodalObjective
from mmvae_bench.objectives.mmvae import MMVAE, importance_bound, mmvae
from mmvae_bench.objectives.mopoe import MoPoE, mopoe, subset_collection
from mmvae_bench.objectives.mvae import MVAE, mvae
from mmvae_bench.objectives.mvtcae import mvtcae
from mmvae_bench.objectives.vae import vae
from mmvae_bench.specs.components import backbones, datasets, objectives

from .opinions import attribute_experts, gaussian, log_normal, modality_experts, multiplied, nonempty_subsets, product

Make = Callable[..., Objective]
FUSED = ("mvae", "mmvae", "mopoe", "mvtcae")
MODALITIES = pytest.mark.parametrize("modalities", ["two", "per_attribute"])
PARTIAL = torch.tensor([[4, 1, -1, -1], [-1, 0, 2, 3], [7, -1, -1, -1]])


def random_values(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---------------------------------------------------------------- posteriors


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


def uniform_mixture(z: Tensor, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    return torch.logsumexp(torch.stack([log_normal(z, part) for part in parts]), 0) - math.log(len(parts))


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
    backbone = _WholeBackbone(spec, schema=dataset.schema(), image_shape=dataset.image_shape())
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


# ---------------------------------------------------------------- MVAE


def test_mvae_counts_every_subset() -> None:
    log_px, log_py, kl = -random_values(6), -random_values(6, seed=1), random_values(6, seed=2)
    weights = {"lambda_image": 0.6, "lambda_": 7.0, "beta": 1.3}
    bound = elbo(log_px=log_px, log_py=log_py, kl=kl, image_weight=0.6, concept_weight=7.0, kl_weight=1.3).mean()
    for number in (1, 2, 5):
        subsets = {str(subset): (log_px, log_py, kl) for subset in nonempty_subsets(number)}
        torch.testing.assert_close(mvae(subsets, **weights).loss, -(2**number - 1) * bound)


def test_mvae_tells_each_modality_of_each_subset(make: Make, batch: Batch) -> None:
    terms = make("mvae", modalities="per_attribute", num_random_subsets=3).terms(batch)
    names = [name for name in terms.latents if not name.startswith("random")]
    assert names == ["joint", "image", "digit", "scale", "orientation", "location"]
    assert len(terms.latents) == 9
    told = {name: {key.split("/")[1] for key in terms.parts if key.startswith(f"{name}/")} for name in names}
    assert told["joint"] == {"log_px", "log_py", "kl"}
    assert told["image"] == {"log_px", "kl"}
    assert all(told[name] == {"log_py", "kl"} for name in names[2:])
    assert list(make("mvae").terms(batch).latents) == ["joint", "image", "concept"]


def test_random_subsets_are_uniform_and_neither_single_nor_all(make: Make) -> None:
    model = make("mvae", modalities="per_attribute", num_random_subsets=50)
    assert isinstance(model, MVAE)
    torch.manual_seed(0)
    drawn = Counter(subset for _ in range(60) for name, subset in model.subsets().items() if name.startswith("random"))
    assert len(drawn) == 2**5 - 1 - 5 - 1
    assert {sum(subset) for subset in drawn} == {2, 3, 4}
    # 3,000 draws of 25 subsets: 120 each, with a standard deviation of 10.7.
    assert max(abs(count - 120) for count in drawn.values()) < 45


def test_the_image_and_one_attribute_have_no_other_subsets(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("mvae", modalities="per_attribute")
    assert isinstance(model, MVAE)
    model.modality_names = ("image", "digit")
    monkeypatch.setattr(mvae_module, "_random_subset", lambda num_modalities: pytest.fail("there is none to draw"))
    assert model.subsets() == {"joint": (True, True), "image": (True, False), "digit": (False, True)}
    spec = objectives.parse({"name": "mvae", "modalities": "per_attribute", "num_random_subsets": 2})
    monkeypatch.setattr(type(spec), "num_modalities", lambda self, dataset: 2)
    with pytest.raises(ConfigError, match="no subsets besides both and each"):
        spec.check_concepts(datasets.parse("mnist_a"))


# ---------------------------------------------------------------- MMVAE


def test_the_importance_bound_rises_to_the_likelihood() -> None:
    """z ~ N(0, 1), x | z ~ N(z, 0.5): log p(x) is known. With one sample it is the ELBO."""
    torch.manual_seed(0)
    x, noise = torch.tensor(1.3, dtype=torch.float64), 0.5
    exact = Normal(0.0, math.sqrt(1 + noise**2)).log_prob(x)
    q = Normal(torch.tensor(0.4, dtype=torch.float64), 0.8)
    z = q.sample(torch.Size([64, 20_000]))
    log_weights = Normal(0.0, 1.0).log_prob(z) + Normal(z, noise).log_prob(x) - q.log_prob(z)
    bounds = [importance_bound(log_weights[:number], bound="iwae").mean() for number in (1, 4, 16, 64)]
    assert bounds == sorted(bounds)
    assert all(bound < exact for bound in bounds)
    assert exact - bounds[-1] < 0.02 < 0.3 < exact - bounds[0]
    # E_q[log p(z)], E_q[log p(x|z)] and the entropy of q, one log sqrt(2 pi) left of three.
    elbo_exact = -0.5 * (0.16 + 0.64) - 0.5 * (0.81 + 0.64) / 0.25 - math.log(0.5) + math.log(0.8) + 0.5
    elbo_exact -= 0.5 * math.log(2 * math.pi)
    sampled = importance_bound(log_weights, bound="elbo").mean().item()
    assert sampled == pytest.approx(elbo_exact, abs=4 * log_weights.std().item() / math.sqrt(log_weights.numel()))
    assert torch.equal(importance_bound(log_weights[:1], bound="iwae"), importance_bound(log_weights[:1], bound="elbo"))


def test_mmvae_of_one_modality_is_its_elbo(make: Make, batch: Batch) -> None:
    """Where no attribute is specified the image is the only modality, and the mixture its expert."""
    model = make("mmvae", bound="elbo", num_samples=400, lambda_image=0.6).eval()
    alone = Batch(batch.image, torch.full_like(batch.concept, -1), batch.index)
    torch.manual_seed(0)
    with torch.no_grad():
        terms = model.terms(alone)
        q = model.posterior(image=batch.image)
        wanted = 0.6 * terms.parts["image/log_px"] - kl_divergence(q, model.prior(q))
        torch.testing.assert_close(-terms.loss, terms.parts["image/bound"].mean())
    # log p(z) - log q(z) of 400 samples in place of -KL.
    assert (terms.parts["image/bound"] - wanted).abs().max() < 0.4
    assert (terms.parts["image/bound"] - wanted).mean().abs() < 0.1


def test_mmvae_averages_over_the_modalities_present() -> None:
    bounds = torch.tensor([[-1.0, -3.0], [-5.0, torch.nan]], dtype=torch.float64)
    present = torch.tensor([[True, True], [True, False]])
    assert mmvae(bounds, present=present).item() == pytest.approx((2 + 5) / 2)


@pytest.mark.parametrize("estimator", ["dreg", "plain"])
def test_one_sample_of_iwae_is_the_elbo_form(estimator: str, make: Make, batch: Batch) -> None:
    losses = []
    for parameters in ({"bound": "iwae", "estimator": estimator}, {"bound": "elbo"}):
        model = make("mmvae", num_samples=1, **parameters)
        torch.manual_seed(5)
        losses.append(model.terms(batch).loss)
    torch.testing.assert_close(losses[0], losses[1])


def test_both_estimators_have_the_same_value(make: Make, batch: Batch) -> None:
    losses = []
    for estimator in ("dreg", "plain"):
        torch.manual_seed(5)
        losses.append(make("mmvae", estimator=estimator).terms(batch).loss)
    torch.testing.assert_close(losses[0], losses[1])


def test_mmvae_draws_from_each_modality(make: Make, batch: Batch) -> None:
    """With an expert all but certain, its samples are its mean."""
    model = make("mmvae", num_samples=4, modalities="per_attribute")
    assert isinstance(model, MMVAE)
    with torch.no_grad():
        for head in (model.image_encoder.head, model.concept_encoder.heads[1]):  # type: ignore[index,union-attr]
            head.log_scale.weight.zero_()  # type: ignore[union-attr]
            head.log_scale.bias.fill_(-12.0)  # type: ignore[union-attr]
    terms = model.terms(batch)
    for k in range(4):
        torch.testing.assert_close(
            terms.latents[f"image/{k}"], model.posterior(image=batch.image).mean, atol=1e-4, rtol=0
        )
        scale_only = batch.concept.masked_fill(torch.arange(4) != 1, -1)
        torch.testing.assert_close(
            terms.latents[f"scale/{k}"], model.posterior(concept=scale_only).mean, atol=1e-4, rtol=0
        )


# ---------------------------------------------------------------- MoPoE


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


# ---------------------------------------------------------------- MVTCAE


def mvtcae_of(*, kl: Tensor, kl_to_each: Tensor, alpha: float, beta: float, log_px: Tensor, log_py: Tensor) -> Tensor:
    present = torch.ones(kl_to_each.shape, dtype=torch.bool)
    return mvtcae(
        log_px=log_px, log_py=log_py, kl=kl, kl_to_each=kl_to_each, present=present,
        lambda_image=1.0, lambda_=7.0, alpha=alpha, beta=beta,
    )  # fmt: skip


def test_mvtcae_at_the_ends_of_alpha() -> None:
    """0: the joint ELBO of a product. 1: no prior at all, and of M parts of the likelihood one is left out."""
    log_px, log_py, kl, away = -random_values(6), -random_values(6, seed=1), random_values(6), random_values(6, 3)
    values = {"log_px": log_px, "log_py": log_py, "kl": kl, "kl_to_each": away}
    torch.testing.assert_close(
        mvtcae_of(alpha=0.0, beta=1.0, **values), jvae(log_px=log_px, log_py=log_py, kl=kl, lambda_=7.0).loss
    )
    wanted = -(2 / 3 * (log_px + 7 * log_py) - 1.7 * away.mean(1)).mean()
    torch.testing.assert_close(mvtcae_of(alpha=1.0, beta=1.7, **values), wanted)


def test_the_divergences_of_mvtcae_from_equal_experts(make: Make, batch: Batch) -> None:
    """The product of M equal experts has the same mean and 1/sqrt(M) of the scale: closed forms."""
    model = make("mvtcae", modalities="per_attribute")
    with torch.no_grad():
        for head in (model.image_encoder.head, *model.concept_encoder.heads):  # type: ignore[union-attr]
            for layer, value in ((head.mean, 0.3), (head.log_scale, -0.4)):  # type: ignore[union-attr]
                layer.weight.zero_()  # type: ignore[union-attr]
                layer.bias.fill_(value)  # type: ignore[union-attr]
    parts = model.terms(batch).parts
    each = 3 * (0.5 * math.log(5) + 0.5 / 5 - 0.5)
    for name in ("image", "digit", "scale", "orientation", "location"):
        torch.testing.assert_close(parts[f"joint/kl_to_{name}"], torch.full((12,), each, dtype=torch.float64))
    variance = math.exp(-0.8) / 5
    kl = 3 * 0.5 * (variance + 0.09 - 1 - math.log(variance))
    torch.testing.assert_close(parts["joint/kl"], torch.full((12,), kl, dtype=torch.float64))


def test_mvtcae_of_one_modality_present(make: Make, batch: Batch) -> None:
    """The product is the image's expert, its distance from itself nothing: (1 - alpha) times a beta-VAE."""
    model = make("mvtcae", alpha=0.3, beta=1.7)
    terms = model.terms(Batch(batch.image, torch.full_like(batch.concept, -1), batch.index))
    wanted = vae(log_px=terms.parts["joint/log_px"], kl=terms.parts["joint/kl"], beta=1.7).loss
    torch.testing.assert_close(terms.loss, 0.7 * wanted)


# ---------------------------------------------------------------- what all share


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
