"""Inference by optimisation against closed forms, and what must have no influence on it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from mmvae_bench.distributions.latents import FactorisedCategorical, diagonal_normal
from mmvae_bench.distributions.pixels import GREY_LEVEL, QuantisedNormal, bernoulli_image
from mmvae_bench.evaluation.fitting import Evidence, fit_latents, pixel_log_density
from mmvae_bench.evaluation.minimising import minimise
from mmvae_bench.objectives.base import CapabilityError, Objective
from mmvae_bench.specs.components import objectives

from ..conformance.worlds import small, world

SHAPE, LATENTS, NOISE = (2, 4, 5), 3, 0.3


class Linear(nn.Module):
    """z ~ N(0, I), x|z ~ N(W z + b, s^2 I), in double precision: the posterior has a closed form. One attribute."""

    latent_size, image_shape, device = LATENTS, SHAPE, torch.device("cpu")
    own_prior, sample_prior = Objective.own_prior, Objective.sample_prior

    def __init__(self, *, posteriors: frozenset[str] = frozenset()) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        size = SHAPE[0] * SHAPE[1] * SHAPE[2]
        scales = torch.tensor([3.0, 0.5, 0.05])  # Of unequal importance: badly conditioned on purpose.
        self.weight = nn.Parameter(torch.randn(size, LATENTS, generator=generator).double() * scales)
        self.bias = nn.Parameter(torch.rand(size, generator=generator).double())
        self.spec = SimpleNamespace(name="linear", posteriors=posteriors, likelihoods={"image", "concept"})

    def image_likelihood(self, z: Tensor, concept: Tensor | None = None) -> Distribution:
        mean = (z @ self.weight.T + self.bias).unflatten(-1, SHAPE)
        return Independent(Normal(mean, NOISE), 3)

    def concept_likelihood(self, z: Tensor) -> Distribution:
        return FactorisedCategorical([torch.stack([torch.zeros_like(z[..., 0]), 4 * z[..., 1]], -1)])

    def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
        assert image is not None
        return diagonal_normal(image.flatten(1)[:, :LATENTS], torch.zeros(len(image), LATENTS).double())

    def centre(self, posterior: Distribution) -> Tensor:
        return posterior.mean

    def exact(self, image: Tensor, observed: Tensor) -> Tensor:
        """The posterior mean given the observed pixels: ridge regression."""
        rows = observed.expand(SHAPE).flatten()
        weight, bias = self.weight[rows].detach(), self.bias[rows].detach()
        precision = torch.eye(LATENTS).double() + weight.T @ weight / NOISE**2
        return torch.linalg.solve(precision, weight.T @ (image.flatten(1)[:, rows] - bias).T / NOISE**2).T


def images(number: int) -> Tensor:
    return torch.rand(number, *SHAPE, generator=torch.Generator().manual_seed(1)).double()


LEFT = torch.arange(5).expand(4, 5) < 2


@pytest.mark.parametrize("observed", [torch.ones(4, 5, dtype=torch.bool), ~LEFT], ids=["whole", "part"])
@pytest.mark.parametrize("posteriors", [frozenset(), frozenset({"image"})], ids=["no encoder", "encoder"])
def test_a_linear_model_is_inferred_as_in_closed_form(observed: Tensor, posteriors: frozenset[str]) -> None:
    model, image = Linear(posteriors=posteriors), images(6)
    found = fit_latents(cast(Objective, model), image, observed=observed, tolerance=1e-12)
    torch.testing.assert_close(found.z, model.exact(image, observed), rtol=1e-6, atol=1e-6)
    z = found.z
    inside = Normal((z @ model.weight.T + model.bias).unflatten(-1, SHAPE), NOISE).log_prob(image) * observed
    expected = inside.sum((1, 2, 3)) + Normal(0, 1).log_prob(z).sum(-1)
    torch.testing.assert_close(found.log_joint, expected.detach())
    # Completion is the conditional mean of what is hidden: that of the joint normal of all pixels.
    if not bool(observed.all()):
        covariance = model.weight @ model.weight.T + NOISE**2 * torch.eye(len(model.weight)).double()
        seen = observed.expand(SHAPE).flatten()
        gain = covariance[~seen][:, seen] @ torch.linalg.inv(covariance[seen][:, seen])
        hidden = model.bias[~seen] + (image.flatten(1)[:, seen] - model.bias[seen]) @ gain.T
        torch.testing.assert_close(model.image_likelihood(z).mean.flatten(1)[:, ~seen], hidden, rtol=1e-5, atol=1e-5)


def test_occluded_pixels_have_no_influence() -> None:
    model, image = Linear(posteriors=frozenset({"image"})), images(4)
    other = torch.where(LEFT, 1 - image, image)
    first, second = (fit_latents(cast(Objective, model), each, observed=~LEFT) for each in (image, other))
    assert torch.equal(first.z, second.z)
    z = torch.randn(4, LATENTS, generator=torch.Generator().manual_seed(2)).double().requires_grad_()
    pixels = image.clone().requires_grad_()
    evidence = Evidence(cast(Objective, model), pixels, (~LEFT).expand(4, 4, 5), None)
    gradient, by_pixel = torch.autograd.grad(evidence.log_joint(z, torch.arange(4)).sum(), (z, pixels))
    assert not bool(by_pixel[:, :, LEFT].any())
    assert bool((by_pixel[:, :, ~LEFT] != 0).all())
    error = (image.flatten(1) - model.bias - z @ model.weight.T) * (~LEFT).expand(SHAPE).flatten()
    torch.testing.assert_close(gradient, error @ model.weight / NOISE**2 - z)


def test_what_is_told_counts_as_much_as_its_likelihood() -> None:
    model, image = Linear(), images(3)
    dark = torch.zeros(4, 5, dtype=torch.bool)
    told = torch.tensor([[1], [0], [-1]])
    found = fit_latents(cast(Objective, model), image, told, dark, tolerance=1e-14)
    # Nothing is seen: the mode of p(z) sigmoid(4 z_2), by bisection of its derivative.
    low, high = 0.0, 4.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if 4 / (1 + torch.tensor(4 * middle).exp()) > middle else (low, middle)
    expected = torch.zeros(3, LATENTS).double()
    expected[0, 1], expected[1, 1] = low, -low
    torch.testing.assert_close(found.z, expected, rtol=1e-5, atol=1e-5)


def test_an_image_is_fitted_alone_as_among_others() -> None:
    model, image = Linear(), images(5)
    together = fit_latents(cast(Objective, model), image, tolerance=1e-12, num_random=0)
    alone = fit_latents(cast(Objective, model), image[3:4], tolerance=1e-12, num_random=0)
    torch.testing.assert_close(together.z[3:4], alone.z, rtol=1e-6, atol=1e-6)


def test_each_problem_descends_on_its_own_and_the_narrow_valley_is_walked_to_its_end() -> None:
    """Rosenbrock's function: a curved valley, minimum zero at (1, 1); the scales differ by a factor of a million."""
    scale = torch.tensor([1.0, 1e-3, 1e3]).double()
    seen: dict[int, list[float]] = {0: [], 1: [], 2: []}

    def energy(place: Tensor, rows: Tensor) -> Tensor:
        x, y = place.unbind(-1)
        return scale[rows] * ((1 - x) ** 2 + 100 * (y - x**2) ** 2)

    start = torch.tensor([[-1.2, 1.0]]).double().expand(3, 2)
    for steps in (0, 3, 9, 27, 81):
        _, values = minimise(energy, start, steps=steps, tolerance=0)
        for row, value in enumerate(values.tolist()):
            seen[row].append(value)
    place, _ = minimise(energy, start, steps=200, tolerance=0)
    torch.testing.assert_close(place, torch.ones(3, 2).double(), rtol=1e-5, atol=1e-5)
    assert all(values == sorted(values, reverse=True) for values in seen.values())


def test_an_energy_that_is_nowhere_finite_ends_where_it_began() -> None:
    place, value = minimise(lambda z, rows: z.sum(-1) * torch.nan, torch.ones(2, 3), steps=5, tolerance=0)
    assert torch.equal(place, torch.ones(2, 3))
    assert bool(value.isinf().all())


def test_dequantisation_noise_is_averaged_over() -> None:
    loc, scale = torch.tensor([[[[0.4, 0.6]]]]).double(), torch.tensor([[[[0.004, 0.02]]]]).double()
    px, image = Independent(QuantisedNormal(loc, scale), 3), torch.tensor([[[[0.405, 0.58]]]]).double()
    noise = (torch.arange(200_001).double() / 200_000 - 0.5) * GREY_LEVEL
    integral = Normal(loc, scale).log_prob(image + noise[:, None, None, None, None]).mean(0)
    torch.testing.assert_close(pixel_log_density(px, image), integral, rtol=1e-6, atol=1e-6)
    bits = torch.tensor([[[[0.0, 1.0]]]])
    torch.testing.assert_close(
        pixel_log_density(bernoulli_image(torch.tensor([[[[0.3, -2.0]]]])), bits),
        -torch.nn.functional.binary_cross_entropy_with_logits(torch.tensor([[[[0.3, -2.0]]]]), bits, reduction="none"),
    )


def built(name: str) -> tuple[Objective, Any]:
    data = world("rgb_thin")
    backbone = small("rgb_thin").build(schema=data.schema, image_shape=data.image_shape)
    return objectives.parse(name).build(backbone, seed=0), data


def test_a_conditional_model_must_be_told_everything_and_has_its_own_prior() -> None:
    model, data = built("cvae")
    batch = data.store.batch(torch.arange(2))
    with pytest.raises(CapabilityError, match=r"p\(x\|y,z\) but no p\(x\|z\)"):
        fit_latents(model, batch.image)
    with pytest.raises(CapabilityError, match="fully specified"):
        fit_latents(model, batch.image, torch.full_like(batch.concept, -1))
    found = fit_latents(model, batch.image, batch.concept)
    model.eval()
    px, prior = model.image_likelihood(found.z, batch.concept), model.posterior(concept=batch.concept)
    expected = pixel_log_density(px, batch.image).double().sum((1, 2, 3)) + prior.log_prob(found.z).double()
    torch.testing.assert_close(found.log_joint, expected, rtol=1e-6, atol=1e-3)


def test_a_random_start_of_a_conditional_model_is_a_sample_of_its_own_prior(monkeypatch: pytest.MonkeyPatch) -> None:
    class Conditional(Linear):
        def image_likelihood(self, z: Tensor, concept: Tensor | None = None) -> Distribution:
            if concept is None:
                raise CapabilityError("no p(x|z)")
            return super().image_likelihood(z)

        def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
            assert concept is not None
            return diagonal_normal(5 * concept.double().expand(-1, LATENTS), SCALES.log().expand(len(concept), -1))

    SCALES = torch.tensor([0.01, 0.3, 2.0]).double()
    seen: list[Tensor] = []
    whole = "mmvae_bench.evaluation.fitting.minimise"
    monkeypatch.setattr(
        whole, lambda energy, start, **_: (seen.append(start), minimise(energy, start, steps=0, tolerance=0))[1]
    )
    told = torch.arange(400)[:, None] % 2
    fit_latents(cast(Objective, Conditional()), images(400), told, num_random=4)
    starts = torch.cat([each.unflatten(0, (5, -1)) for each in seen], 1)
    assert torch.equal(starts[0], 5.0 * told.double().expand(-1, LATENTS))
    noise = (starts[1:] - starts[0]).flatten(0, 1)
    torch.testing.assert_close(noise.std(0), SCALES, rtol=0.08, atol=0)
    assert bool((noise.mean(0).abs() < 0.1 * SCALES).all())


def test_a_prior_of_its_own_counts_and_is_where_the_optimisation_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """p(z) = N(m, s^2): the posterior is ridge regression towards m."""
    centre, scales = torch.tensor([3.0, -2.0, 0.5]).double(), torch.tensor([0.1, 2.0, 0.7]).double()

    class Elsewhere(Linear):
        def own_prior(self) -> Distribution:
            return Independent(Normal(centre, scales), 1)

    model, image = Elsewhere(), images(6)
    found = fit_latents(cast(Objective, model), image, tolerance=1e-12)
    weight, bias = model.weight.detach(), model.bias.detach()
    precision = scales.square().reciprocal().diag()
    right = weight.T @ (image.flatten(1) - bias).T / NOISE**2 + (precision @ centre)[:, None]
    expected = torch.linalg.solve(precision + weight.T @ weight / NOISE**2, right).T
    torch.testing.assert_close(found.z, expected, rtol=1e-6, atol=1e-6)

    seen: list[Tensor] = []
    monkeypatch.setattr(
        "mmvae_bench.evaluation.fitting.minimise",
        lambda energy, start, **_: (seen.append(start), minimise(energy, start, steps=0, tolerance=0))[1],
    )
    fit_latents(cast(Objective, model), images(400), num_random=4)
    starts = torch.cat([each.unflatten(0, (5, -1)) for each in seen], 1)
    assert torch.equal(starts[0], centre.expand(400, -1))
    drawn = starts[1:].flatten(0, 1)
    torch.testing.assert_close(drawn.std(0), scales, rtol=0.08, atol=0)
    assert bool(((drawn.mean(0) - centre).abs() < 0.1 * scales).all())


def test_no_image_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no image to fit z to"):
        fit_latents(cast(Objective, Linear()), images(0))


def test_images_alone_cannot_be_told_anything() -> None:
    model, data = built("vae")
    batch = data.store.batch(torch.arange(2))
    with pytest.raises(CapabilityError, match=r"vae has no p\(y\|z\)"):
        fit_latents(model, batch.image, batch.concept)


def test_it_is_deterministic_leaves_the_model_as_it_was_and_beats_the_encoder() -> None:
    model, data = built("telbo")
    batch = data.store.batch(torch.arange(3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(1)
    first = fit_latents(model, batch.image)
    torch.manual_seed(2)
    second = fit_latents(model, batch.image)
    assert torch.equal(first.z, second.z)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    model.eval()
    evidence = Evidence(model, batch.image, torch.ones(3, 16, 16, dtype=torch.bool), None)
    encoded = evidence.encoded()
    assert encoded is not None
    assert bool((first.log_joint > evidence.log_joint(encoded, torch.arange(3))).all())
