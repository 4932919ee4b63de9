"""The bounds against exact likelihoods, by quadrature, and what each objective can be asked."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from mmvae_bench.data.batch import Batch
from mmvae_bench.distributions.latents import FactorisedCategorical
from mmvae_bench.distributions.pixels import QuantisedNormal
from mmvae_bench.evaluation.likelihood import ENTROPY, TIGHT, Bounds, tight_log_py
from mmvae_bench.evaluation.summed import MAX_CONCEPTS
from mmvae_bench.metrics.catalogue import metric_info
from mmvae_bench.objectives.base import CapabilityError, Objective
from mmvae_bench.objectives.ssvae import SSVAE
from mmvae_bench.specs.components import objectives, of_domain

from ..conformance.worlds import networks_of, small, world, world_of
from .fakes import context, question

DIRECTION = torch.tensor([1.0, -0.5, 2.0]).reshape(1, 3, 1, 1)
NOISE, WIDE = 0.5, 1.3


class LineSpec:
    name = "line"
    posteriors = frozenset({"image", "concept"})
    likelihoods = frozenset({"image", "concept"})


class Line:
    """z ~ N(0, 1), x|z ~ N(w z, s^2 I) with three pixels, y|z a coin: everything has a closed form or an integral.

    q(z|x) is the exact posterior, widened; q(z|y) a normal; the flow is N(1, 2^2).
    """

    own_prior = Objective.own_prior

    def __init__(self) -> None:
        self.spec = LineSpec()
        self.schema = range(1)

    def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
        if image is not None:
            precision = 1 + float(DIRECTION.square().sum()) / NOISE**2
            mean = (image * DIRECTION).sum((1, 2, 3))[:, None] / NOISE**2 / precision
            return Independent(Normal(mean, torch.full_like(mean, WIDE * precision**-0.5)), 1)
        assert concept is not None
        return Independent(Normal(concept.float() * 2 - 1, torch.full(concept.shape, 1.5)), 1)

    def image_likelihood(self, z: Tensor, concept: Tensor | None = None) -> Distribution:
        return Independent(Normal(z[..., None, None] * DIRECTION, NOISE), 3)

    def concept_likelihood(self, z: Tensor) -> FactorisedCategorical:
        return FactorisedCategorical([torch.cat([torch.zeros_like(z), 2 * z + 0.3], -1)])

    def aggregate_prior(self) -> Distribution:
        return Independent(Normal(torch.ones(1), torch.full((1,), 2.0)), 1)


def line_batch(num_images: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(num_images, 1, 1, 1, generator=generator)
    image = z * DIRECTION + NOISE * torch.randn(num_images, 3, 1, 1, generator=generator)
    return Batch(image, (torch.arange(num_images) % 2)[:, None], torch.arange(num_images))


def log_integral(log_likelihood: Tensor, prior: Distribution, grid: Tensor) -> Tensor:
    """log of the integral of p(v|z) p(z) over a fine grid: [P, N], [P, 1] to [N], in float64."""
    step = float(grid[1, 0] - grid[0, 0])
    return (log_likelihood.double() + prior.log_prob(grid).double()[:, None]).logsumexp(0) + math.log(step)


def exact(batch: Batch, prior: Distribution) -> tuple[Tensor, Tensor]:
    """log p(x) and log p(y) under a prior, by quadrature."""
    model, grid = Line(), torch.linspace(-15, 15, 20_001)[:, None]
    px = Independent(Normal(grid.reshape(-1, 1, 1, 1, 1) * DIRECTION, NOISE), 3)
    log_py = model.concept_likelihood(grid[:, None]).log_prob(batch.concept[None])
    return log_integral(px.log_prob(batch.image[None]), prior, grid), log_integral(log_py, prior, grid)


@pytest.mark.parametrize("flow_prior", [False, True])
def test_bounds_meet_the_likelihood_of_a_model_that_has_one(flow_prior: bool) -> None:
    batch = line_batch(6)
    prior = Line().aggregate_prior() if flow_prior else Independent(Normal(torch.zeros(1), torch.ones(1)), 1)
    log_px, log_py = exact(batch, prior)
    bounds = Bounds(cast(Objective, Line()), batch, num_samples=4000, seed=1)
    found_x, found_y = bounds.log_px(flow_prior=flow_prior), bounds.log_py(flow_prior=flow_prior)
    torch.testing.assert_close(found_x.values, log_px, rtol=0, atol=0.06)
    torch.testing.assert_close(found_y.values, log_py, rtol=0, atol=0.06)
    assert (found_x.proposal, found_x.num_samples, found_x.num_dimensions) == ("q(z|x)", 4000, 3)
    assert (found_y.proposal, found_y.num_dimensions) == ("q(z|y)", 1)
    few = torch.stack(
        [Bounds(cast(Objective, Line()), batch, num_samples=1, seed=seed).log_px().values for seed in range(300)]
    )
    standard = Independent(Normal(torch.zeros(1), torch.ones(1)), 1)
    assert bool((few.mean(0) < exact(batch, standard)[0]).all())


def test_equation_6_is_its_three_terms_at_one_z() -> None:
    batch, model = line_batch(5), Line()
    bounds = Bounds(cast(Objective, model), batch, num_samples=3, seed=2)
    bound = bounds.log_px_given_y()
    z = bounds._first_of("image").z[0]
    expected = (
        Normal(z[..., None, None] * DIRECTION, NOISE).log_prob(batch.image).sum((1, 2, 3))
        + Normal(batch.concept * 2.0 - 1, 1.5).log_prob(z)[:, 0]
        - Normal(model.posterior(batch.image).mean, model.posterior(batch.image).stddev).log_prob(z)[:, 0]
    )
    torch.testing.assert_close(bound.values, expected.double())
    assert bound.num_samples == 1


def test_the_terms_of_the_elbo_are_unweighted_and_bound_the_joint_likelihood() -> None:
    batch = line_batch(4)
    found = Bounds(cast(Objective, Line()), batch, num_samples=3000, seed=3).elbo()
    total = found["elbo_log_px"].values + found["elbo_log_py"].values - found["elbo_kl"].values
    torch.testing.assert_close(found["elbo"].values, total)
    q = cast(Any, Line().posterior(batch.image))
    by_hand = -q.stddev.log() + (q.stddev**2 + q.mean**2 - 1) / 2
    torch.testing.assert_close(found["elbo_kl"].values, by_hand[:, 0].double())
    grid = torch.linspace(-15, 15, 20_001)[:, None]
    both = Independent(Normal(grid.reshape(-1, 1, 1, 1, 1) * DIRECTION, NOISE), 3).log_prob(batch.image[None])
    both = both + Line().concept_likelihood(grid[:, None]).log_prob(batch.concept[None])
    joint = log_integral(both, Independent(Normal(torch.zeros(1), torch.ones(1)), 1), grid)
    assert bool((found["elbo"].values < joint + 0.02).all())
    assert bool((found["elbo"].values > joint - 1).all())


@pytest.mark.parametrize("flow_prior", [False, True])
def test_the_joint_bound_meets_the_joint_likelihood(flow_prior: bool) -> None:
    batch, model = line_batch(6), Line()
    prior = model.aggregate_prior() if flow_prior else Independent(Normal(torch.zeros(1), torch.ones(1)), 1)
    grid = torch.linspace(-15, 15, 20_001)[:, None]
    both = Independent(Normal(grid.reshape(-1, 1, 1, 1, 1) * DIRECTION, NOISE), 3).log_prob(batch.image[None])
    both = both + model.concept_likelihood(grid[:, None]).log_prob(batch.concept[None])
    joint = log_integral(both, prior, grid)
    found = Bounds(cast(Objective, model), batch, num_samples=1500, seed=1).log_pxy(flow_prior=flow_prior)
    torch.testing.assert_close(found.values, joint, rtol=0, atol=0.08)
    assert (found.proposal, found.num_samples, found.num_dimensions) == ("q(z|x)", 1500, 4)
    # It is a bound, above the ELBO; with one z and the same noise it is the ELBO's estimate.
    alone = [Bounds(cast(Objective, model), batch, num_samples=1, seed=seed) for seed in range(150)]
    mean = torch.stack([bounds.log_pxy(flow_prior=flow_prior).values for bounds in alone]).mean(0)
    assert bool((mean < joint).all())
    if not flow_prior:
        elbo = Bounds(cast(Objective, model), batch, num_samples=600, seed=3).elbo()["elbo"].values
        assert bool((found.values > elbo).all())
        torch.testing.assert_close(mean, elbo, rtol=0, atol=0.25)


def test_the_joint_bound_is_exact_where_the_text_says_nothing_of_the_image() -> None:
    """With the exact posterior as the proposal every weight is p(x) p(y)."""

    class Apart(Line):
        def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
            q = cast(Any, super().posterior(image, concept))
            return q if image is None else Independent(Normal(q.mean, q.stddev / WIDE), 1)

        def concept_likelihood(self, z: Tensor) -> FactorisedCategorical:
            return FactorisedCategorical([torch.tensor([0.2, 0.8]).log().expand(*z.shape[:-1], 2)])

    batch = line_batch(6)
    covariance = DIRECTION.flatten().outer(DIRECTION.flatten()) + NOISE**2 * torch.eye(3)
    log_px = torch.distributions.MultivariateNormal(torch.zeros(3), covariance).log_prob(batch.image.flatten(1))
    expected = log_px + torch.tensor([0.2, 0.8]).log()[batch.concept[:, 0]]
    found = Bounds(cast(Objective, Apart()), batch, num_samples=2, seed=5).log_pxy()
    torch.testing.assert_close(found.values, expected.double(), rtol=0, atol=1e-4)


def test_the_entropy_of_descriptions() -> None:
    batch = line_batch(4)
    bounds = Bounds(cast(Objective, Line()), batch, num_samples=50, seed=4)
    p = (2 * bounds._first_of("image").z[..., 0] + 0.3).double().sigmoid()
    expected = -(p * p.log() + (1 - p) * (1 - p).log()).mean(0)
    torch.testing.assert_close(bounds.description_entropy().values[:, 0], expected, rtol=1e-5, atol=1e-7)


def test_every_z_of_an_image_meets_the_same_noise() -> None:
    """Else the bound would average over noises too, and would bound another quantity."""

    class Noisy(Line):
        def image_likelihood(self, z: Tensor, concept: Tensor | None = None) -> Distribution:
            return Independent(QuantisedNormal(torch.zeros(len(z), 3, 1, 1), torch.full((len(z), 3, 1, 1), 1e-3)), 3)

    log_px = Bounds(cast(Objective, Noisy()), line_batch(3), num_samples=4, seed=5)._pixels(torch.zeros(4, 3, 1), None)
    assert bool((log_px == log_px[0]).all())
    assert len(set(log_px[0].tolist())) == 3


def unjudged() -> Any:
    """In the place of a classifier: likelihoods need none."""
    return SimpleNamespace(held_out=None)


ABLE = {
    "log_px_given_y", "log_px", "log_px_flow_prior", "log_py", "log_py_flow_prior", "log_pxy", "log_pxy_flow_prior",
    "elbo", ENTROPY, TIGHT, f"{TIGHT}_flow_prior",
}  # fmt: skip


@pytest.mark.parametrize("name", of_domain(objectives, "images"))
def test_every_objective_is_asked_what_it_has_and_says_what_it_lacks(name: str) -> None:
    data = world_of(objectives.parse(name), networks_of(name))
    backbone = small(networks_of(name)).build(schema=data.schema, image_shape=data.image_shape)
    model = cast(Objective, objectives.parse(name).build(backbone, seed=0)).eval()
    settings = {"likelihood_images": 9, "likelihood_samples": 3, "likelihood_max_samples": 256}
    states = {key: value.clone() for key, value in model.state_dict().items()}
    if (memory := getattr(model, "memory", None)) is not None:
        memory.remember(data.concepts("train"))
        states = {key: value.clone() for key, value in model.state_dict().items()}
    asked, again = (context(model, data, unjudged(), **settings) for _ in range(2))
    with torch.no_grad():
        found, found_again = (question("likelihoods").ask(each) for each in (asked, again))
    scores = {(score.metric, score.attribute): score for score in found}
    assert found == found_again
    answered = {metric for metric, _ in scores} & ABLE
    assert answered | asked.left_out.keys() == ABLE
    assert not answered & asked.left_out.keys()
    assert all(asked.left_out.values())
    spec = model.spec
    assert ("log_py" in answered) == ("concept" in spec.posteriors and "concept" in spec.likelihoods)
    assert (TIGHT in answered) == ("log_py" in answered)
    # SSVAE has p(y) in the place of p(y|z).
    summed = type(model) is SSVAE
    assert ("log_pxy" in answered) == (spec.likelihoods == {"image", "concept"} or summed)
    assert ("elbo" in answered) == ("log_pxy" in answered)
    if summed:
        assert ("log_px" in answered) == (math.prod(data.schema.sizes) <= MAX_CONCEPTS)
    assert ("log_px_given_y" in answered) == ("concept" in spec.posteriors and len(spec.posteriors) > 1)
    assert ("log_px_flow_prior" in answered) == bool(getattr(spec, "prior_flow", False))
    for score in scores.values():
        assert math.isfinite(score.value)
        assert score.num_queries == 9
        if score.metric.startswith(TIGHT):
            assert score.proposal == ("q(z)" if "flow_prior" in score.metric else "p(z)") + " and q(z|y)"
            assert score.num_samples in (128, 256)
            continue
        assert str(score.proposal).startswith("q(z|")
        assert score.num_samples == (1 if score.metric.startswith("log_px_given_y") else 3)
    if "log_px" in answered:
        per_dim = scores["log_px_per_dim", None].value
        assert per_dim == pytest.approx(scores["log_px", None].value / math.prod(data.image_shape), rel=1e-6)
    assert all(torch.equal(value, states[key]) for key, value in model.state_dict().items())
    assert not model.training


def test_the_flow_prior_is_another_number_than_the_prior() -> None:
    data = world("rgb_thin")
    backbone = small("rgb_thin").build(schema=data.schema, image_shape=data.image_shape)
    model = cast(Objective, objectives.parse({"name": "q_agg", "prior_flow": True}).build(backbone, seed=0)).eval()
    with torch.no_grad():
        for parameter in cast(nn.Module, model.prior_flow).parameters():
            parameter.add_(0.3)
    asked = context(model, data, unjudged(), likelihood_images=4, likelihood_samples=2)
    with torch.no_grad():
        found = question("likelihoods").ask(asked)
    values = {score.metric: score.value for score in found if score.attribute is None}
    assert not asked.left_out
    assert values["log_px"] != values["log_px_flow_prior"]
    assert values["log_py"] != values["log_py_flow_prior"]
    assert values["log_pxy"] != values["log_pxy_flow_prior"]


def test_a_model_without_a_flow_says_so() -> None:
    data = world("rgb_thin")
    backbone = small("rgb_thin").build(schema=data.schema, image_shape=data.image_shape)
    model = cast(Objective, objectives.parse("telbo").build(backbone, seed=0))
    with pytest.raises(CapabilityError, match="has no flow fitted"):
        model.aggregate_prior()


def test_texts_are_unsure_word_by_word() -> None:
    """In the text view the entropies are those of the next word in sampled texts; they sum to that of p(y|z)."""
    data = world("rgb_thin", "text")
    model = objectives.parse("jmvae").build(small("rgb_thin").build(
        schema=data.schema, image_shape=data.image_shape, captions=data.captions
    )).eval()  # fmt: skip
    batch = data.store.batch(torch.arange(3))
    with torch.no_grad():
        bounds = Bounds(model, batch, num_samples=200, seed=0)
        found = bounds.description_entropy()
        py = model.concept_likelihood(bounds._first_of("joint").z)
        log_prob = py.log_prob(py.sample())
    assert found.values.shape == (3, 3)
    assert (found.proposal, found.num_samples) == ("q(z|x,y)", 200)
    # A second opinion: - log p(y|z) of sampled texts.
    error = 5 * float(log_prob.std()) / 200**0.5
    torch.testing.assert_close(found.values.sum(1), -log_prob.double().mean(0), atol=error, rtol=0)
    with torch.no_grad():
        scores = question("likelihoods").ask(
            context(model, data, unjudged(), likelihood_images=20, likelihood_samples=2)
        )
    assert [score.attribute for score in scores if score.metric == ENTROPY] == [None, "top", "middle", "hue"]


class Proposes(Line):
    """The same model with another q(z|y): the proposals of two objectives, good and bad."""

    def __init__(self, mean: float, scale: float) -> None:
        super().__init__()
        self.mean, self.scale = mean, scale

    def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
        assert concept is not None
        mean = torch.full(concept.shape, self.mean)
        return Independent(Normal(mean, torch.full_like(mean, self.scale)), 1)


ZERO, BOTH = torch.zeros(1), torch.tensor([[0], [1]])
PROPOSALS = {"good": (0.3, 1.0), "far away": (6.0, 0.3), "narrow": (0.0, 0.02)}


def tight(name: str, **settings: Any) -> Any:
    model = cast(Objective, Proposes(*PROPOSALS[name]))
    return tight_log_py(model, BOTH, torch.tensor([500, 500]), seed=0, **{"max_samples": 4096, **settings})


@pytest.mark.parametrize("flow_prior", [False, True])
def test_one_model_has_one_log_py_whatever_it_proposes(flow_prior: bool) -> None:
    """The bound of k = 10 from q(z|y) alone is nats apart, for a model that is the same."""
    batch = Batch(torch.zeros(2, 3, 1, 1), BOTH, torch.arange(2))
    prior = Line().aggregate_prior() if flow_prior else Independent(Normal(torch.zeros(1), torch.ones(1)), 1)
    _, truth = exact(batch, prior)
    values = {name: tight(name, flow_prior=flow_prior).values for name in PROPOSALS}
    for found in values.values():
        torch.testing.assert_close(found, truth, rtol=0, atol=0.08)
    own = {
        name: Bounds(cast(Objective, Proposes(*PROPOSALS[name])), batch, num_samples=10, seed=0) for name in PROPOSALS
    }
    printed = {name: float(bounds.log_py(flow_prior=flow_prior).values.mean()) for name, bounds in own.items()}
    assert printed["far away"] < printed["good"] - 3
    assert printed["narrow"] < printed["good"] - 1


def test_z_are_doubled_until_that_moves_the_bound_by_less_than_its_interval() -> None:
    """And not by luck: among many seeds no stop is further from the truth than a few of the widths that it allows."""
    _, truth = exact(Batch(torch.zeros(2, 3, 1, 1), BOTH, torch.arange(2)), Independent(Normal(ZERO, ZERO + 1), 1))
    model, off = cast(Objective, Proposes(*PROPOSALS["narrow"])), []
    for seed in range(30):
        found = tight_log_py(model, BOTH, torch.tensor([20, 20]), max_samples=2**16, seed=seed)
        half_width = 1.96 * float((found.values - found.values.mean()).square().mean().sqrt()) / 40**0.5
        assert 128 <= found.num_samples < 2**16
        allowed = max(0.01, 0.1 * half_width)
        assert abs(found.step) < allowed
        # The standard error over z is below it too, and was not with half as many z, unless the step was too long.
        error = float((0.25 / (found.effective * found.num_samples)).sum().sqrt())
        assert error < allowed < 1.6 * error
        off.append(abs(float((found.values - truth).mean())) / allowed)
    assert sum(off) / len(off) < 1
    assert max(off) < 3
    assert tight_log_py(model, BOTH, torch.tensor([500, 500]), max_samples=200, seed=0).num_samples == 128


def test_the_effective_samples_tell_a_bad_proposal() -> None:
    """A q(z|y) that is of no use costs half the samples; the prior's half carries the estimate."""
    shares = {name: float(tight(name, max_samples=2048).effective.mean()) for name in PROPOSALS}
    grid = torch.linspace(-12, 12, 100_001)[:, None]
    for name, (mean, scale) in PROPOSALS.items():
        log_prior = Normal(0.0, 1.0).log_prob(grid[:, 0]).double()
        log_q = Normal(mean, scale).log_prob(grid[:, 0]).double()
        log_mixture = torch.logaddexp(log_prior, log_q) - math.log(2)
        expected = []
        for y in BOTH:
            log_joint = Line().concept_likelihood(grid).log_prob(y[None].expand(len(grid), -1)).double() + log_prior
            first, second = log_joint.exp().sum(), (2 * log_joint - log_mixture).exp().sum()
            expected.append(float(first**2 / second) * float(grid[1] - grid[0]))
        assert shares[name] == pytest.approx(sum(expected) / 2, abs=0.05)
    assert shares["good"] > 0.6 > 0.5 > shares["far away"]


def test_the_papers_estimator_is_not_ranked() -> None:
    for name in ("log_py", "log_py_per_dim", "log_py_flow_prior", "log_px", "log_px_given_y"):
        assert not metric_info(name).ranked
    for name in (TIGHT, f"{TIGHT}_per_dim", f"{TIGHT}_flow_prior", "correctness", "coverage"):
        assert metric_info(name).ranked
    assert metric_info(f"{TIGHT}_ess").direction == 0
