"""The distributions of pixels against torch's own in double precision, quadrature, and simulation."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import beta as beta_distribution
from torch import Tensor
from torch.distributions import Bernoulli, Beta, Distribution, Laplace, Normal, kl_divergence

from mmvae_bench.distributions.pixels import (
    GREY_LEVEL,
    IMAGE_LIKELIHOODS,
    ConstrainedBeta,
    FixedLaplace,
    FixedNormal,
    QuantisedNormal,
    beta_image,
    image_likelihood,
    quantised_normal_image,
)


def grey(*shape: int, seed: int = 0) -> Tensor:
    """Pixels as stored: k / 255, with black and white among them."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(256, shape, generator=generator).double() / 255
    values.view(-1)[:2] = torch.tensor([0.0, 1.0])
    return values


def reference_noise(value: Tensor, seed: int) -> Tensor:
    torch.manual_seed(seed)
    return (torch.rand(value.shape, dtype=value.dtype) - 0.5) / 256


# ---------------------------------------------------------------- quantised normal


def test_quantised_normal_is_the_normal_density_of_the_noisy_pixel_value_and_gradient() -> None:
    image, generator = grey(4, 3, 5, 6), torch.Generator().manual_seed(1)
    parameters = torch.randn(4, 6, 5, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    noisy = image + reference_noise(image, 7)
    # The same from scratch: mean and log scale of pixels in [-1, 1], moved to [0, 1].
    mean, scale = 0.5 + 0.5 * parameters[:, :3], 1 / 512 + 0.5 * torch.exp(parameters[:, 3:])
    z = (noisy - mean) / scale
    expected = (-0.5 * z**2 - torch.log(scale) - 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)
    torch.manual_seed(7)
    found = quantised_normal_image(parameters).log_prob(image)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-8)
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    gradients = [torch.autograd.grad((value * weights).sum(), parameters)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


def test_without_noise_it_is_torchs_normal() -> None:
    loc, scale, value = torch.randn(5).double(), torch.rand(5).double() + 0.1, torch.rand(5).double()
    q = QuantisedNormal(loc, scale, bin_width=0)
    torch.testing.assert_close(q.log_prob(value), Normal(loc, scale).log_prob(value))


def test_the_noise_is_uniform_over_one_grey_level_and_a_fresh_one_each_time() -> None:
    # With scale 1 and mean 0 the noise can be read off: log p = -(x + u)^2 / 2 - log sqrt(2 pi), x = 1.
    q, x = QuantisedNormal(torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)), torch.ones(40000)
    torch.manual_seed(0)
    noise = (-2 * (q.log_prob(x.double()) + 0.5 * math.log(2 * math.pi))).sqrt() - 1
    assert noise.abs().max() <= GREY_LEVEL / 2 + 1e-12
    # Kolmogorov-Smirnov distance; 1.63 / sqrt(n) is the 1 % point.
    uniform = (noise / GREY_LEVEL + 0.5).sort().values
    distance = (uniform - torch.arange(1, 40001).double() / 40000).abs().max()
    assert distance < 1.63 / math.sqrt(40000)
    first, second = q.log_prob(x.double()), q.log_prob(x.double())
    assert not torch.equal(first, second)
    torch.manual_seed(5)
    first = q.log_prob(x.double())
    torch.manual_seed(5)
    assert torch.equal(first, q.log_prob(x.double()))


@pytest.mark.parametrize("scale", [1 / 512, 1 / 200, 0.05, 0.5])
def test_dequantisation_bounds_the_mass_of_a_grey_level(scale: float) -> None:
    """E_u[log density] + log w <= log mass, by simulation, and the gap closes as the Gaussian widens."""
    loc = torch.tensor(0.3137, dtype=torch.float64)
    x = torch.tensor([79.0, 80.0, 82.0], dtype=torch.float64) / 255
    q, normal = QuantisedNormal(loc, torch.tensor(scale).double()), Normal(loc, torch.tensor(scale).double())
    mass = (normal.cdf(x + GREY_LEVEL / 2) - normal.cdf(x - GREY_LEVEL / 2)).log()
    torch.manual_seed(0)
    draws = q.log_prob(x.expand(20000, 3))
    bound, error = draws.mean(0) + math.log(GREY_LEVEL), draws.std(0) / math.sqrt(20000)
    # The gap in closed form: log mass less the expectation of a quadratic in u, whose variance is w^2 / 12.
    exact = normal.log_prob(x) - GREY_LEVEL**2 / 24 / scale**2 + math.log(GREY_LEVEL)
    assert bool(((bound - exact).abs() < 4 * error + 1e-12).all())
    assert bool((exact < mass).all())
    assert bool((mass < 0).all())
    # And inside the logarithm the noise integrates the density to the mass exactly.
    torch.testing.assert_close(draws.exp().mean(0) * GREY_LEVEL, mass.exp(), rtol=0.05, atol=1e-6)
    if scale == 0.5:
        assert float((mass - exact).max()) < 1e-4


def test_masses_of_all_grey_levels_sum_to_at_most_one() -> None:
    """Intervals of 1/256 around levels 1/255 apart do not overlap."""
    levels = torch.arange(256, dtype=torch.float64) / 255
    for loc, scale in ((0.5, 0.01), (0.3, 0.1), (0.0, 1 / 512)):
        normal = Normal(torch.tensor(loc).double(), torch.tensor(scale).double())
        total = (normal.cdf(levels + GREY_LEVEL / 2) - normal.cdf(levels - GREY_LEVEL / 2)).sum()
        assert total <= 1
        assert total > 0.49


def test_the_expected_density_cannot_grow_without_bound() -> None:
    """A pixel that is known exactly: the noise leaves 5.37 nats, and the floor of the scale 5.15 of them."""
    x = torch.full((1, 1, 100, 100), 0.25, dtype=torch.float64)
    floor = quantised_normal_image(torch.cat([2 * x - 1, torch.full_like(x, -60)], 1))
    torch.manual_seed(0)
    at_floor = float(floor.log_prob(x)) / 1e4
    width = GREY_LEVEL / math.sqrt(12)
    best = float(QuantisedNormal(x, torch.full_like(x, width)).log_prob(x).mean())
    assert at_floor == pytest.approx(math.log(512) - 0.5 * math.log(2 * math.pi) - 512**2 * width**2 / 2, abs=0.01)
    assert best == pytest.approx(-math.log(width) - 0.5 * math.log(2 * math.pi * math.e), abs=0.02)
    assert at_floor < best < math.log(256)
    assert best - at_floor == pytest.approx(0.22, abs=0.02)


def test_the_scale_has_a_floor_with_a_slope() -> None:
    parameters = torch.tensor([0.0, -8.0]).reshape(1, 2, 1, 1).requires_grad_()
    scale = quantised_normal_image(parameters).base_dist.scale
    assert scale.item() == pytest.approx(1 / 512 + 0.5 * math.exp(-8))
    scale.sum().backward()
    assert parameters.grad is not None
    assert parameters.grad[0, 1].item() > 0


def test_a_quantised_normal_expands_and_broadcasts_with_its_bin_width() -> None:
    q = QuantisedNormal(torch.zeros(3), torch.ones(3), bin_width=0).expand((2, 3))
    assert isinstance(q, QuantisedNormal)
    assert (q.batch_shape, q.bin_width) == ((2, 3), 0)
    # Several z share the noise of one image.
    several = QuantisedNormal(torch.zeros(5, 3), torch.ones(5, 3))
    torch.manual_seed(0)
    assert len(several.log_prob(torch.rand(3)).unique(dim=0)) == 1


# ---------------------------------------------------------------- constrained Beta


def test_constrained_beta_against_torchs_beta_value_and_gradient() -> None:
    image = grey(4, 3, 5, 6)
    logits = (3 * torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(2)).double()).requires_grad_()
    a = 1 / (1 + torch.exp(-logits))
    expected = Beta(100 * a, 100 * (1 - a)).log_prob(image.clamp(1e-5, 1 - 1e-5)).flatten(1).sum(1)
    found = beta_image(logits).log_prob(image)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-7)
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    gradients = [torch.autograd.grad((value * weights).sum(), logits)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("logit", [-200.0, -104.0, -90.0, -40.0, -12.0, 0.0, 12.0, 40.0, 90.0, 200.0])
def test_constrained_beta_in_single_precision_near_the_ends(logit: float) -> None:
    """Where a or 1 - a is rounded to zero torch's Beta is infinite or not a number; this one keeps to the limit."""
    pixels = torch.tensor([0.0, 1e-5, 0.1, 0.5, 0.9, 1.0])
    logits = torch.full((6,), logit, requires_grad=True)
    found = ConstrainedBeta(logits).log_prob(pixels)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    exact = torch.full((6,), logit, dtype=torch.float64, requires_grad=True)
    # 1 - a without cancellation; below 1e-70 or so, log Gamma(x) is -log x.
    a, b = torch.sigmoid(exact), torch.sigmoid(-exact)
    x = pixels.clamp(1e-5, 1 - 1e-5).double()
    expected = (100 * a - 1) * x.log() + (100 * b - 1) * (1 - x).log()
    expected = expected + math.lgamma(100) - torch.lgamma(100 * a) - torch.lgamma(100 * b)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), exact)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=2e-3)
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-4, atol=5e-3)


@pytest.mark.parametrize("logit", [-3.0, -2.0, 0.3, 1.0])
def test_constrained_beta_of_a_large_image_in_single_precision(logit: float) -> None:
    """37,632 alike pixels round alike: terms of hundreds of nats that cancel were off by up to a nat per image."""
    logits, shape = torch.full((1, 3, 112, 112), logit), (1, 3, 112, 112)
    image = (torch.sigmoid(logits) * 255).round() / 255
    a, x = float(torch.sigmoid(torch.tensor(logit, dtype=torch.float64))), float(image[0, 0, 0, 0])
    expected = float(beta_distribution(100 * a, 100 * (1 - a)).logpdf(x)) * math.prod(shape)
    assert float(beta_image(logits).log_prob(image)) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("logit", [-3.0, 0.0, 2.0])
def test_constrained_beta_integrates_to_one_with_its_mean_variance_and_mode(logit: float) -> None:
    q = ConstrainedBeta(torch.tensor(logit, dtype=torch.float64))
    grid = torch.linspace(1e-5, 1 - 1e-5, 200001, dtype=torch.float64)
    density = q.log_prob(grid).exp()
    assert float(torch.trapezoid(density, grid)) == pytest.approx(1, abs=1e-4)
    mean = torch.trapezoid(grid * density, grid)
    assert float(mean) == pytest.approx(float(q.mean), abs=1e-4)
    assert float(torch.trapezoid((grid - mean) ** 2 * density, grid)) == pytest.approx(float(q.variance), rel=1e-3)
    assert float(grid[density.argmax()]) == pytest.approx(float(q.mode), abs=1e-5)


def test_samples_of_a_constrained_beta() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([-3.0, 0.0, 2.0, -200.0, 200.0])
    q = ConstrainedBeta(logits)
    drawn = q.sample([40000])
    assert drawn.shape == (40000, 5)
    assert bool(((drawn >= 0) & (drawn <= 1)).all())
    assert bool(((drawn.mean(0) - q.mean).abs() <= 5 * (q.variance / 40000).sqrt() + 1e-6).all())
    torch.testing.assert_close(drawn.var(0)[:3], q.variance[:3], rtol=0.05, atol=0)
    assert bool((drawn[:, 3] < 1e-3).all())
    assert bool((drawn[:, 4] > 1 - 1e-3).all())


def test_a_concentration_without_a_mode_inside_is_refused() -> None:
    with pytest.raises(ValueError, match=r"above 2.*1\.5"):
        ConstrainedBeta(torch.zeros(1), concentration=1.5)


# ---------------------------------------------------------------- all of them


@pytest.mark.parametrize("name", sorted(IMAGE_LIKELIHOODS))
def test_an_image_likelihood_takes_its_number_of_parameters(name: str) -> None:
    likelihood = IMAGE_LIKELIHOODS[name]
    px = likelihood.distribution(torch.randn(2, 3 * likelihood.num_parameters, 4, 5))
    assert (px.batch_shape, px.event_shape) == ((2,), (3, 4, 5))
    assert px.mean.shape == px.sample().shape == (2, 3, 4, 5)
    assert px.log_prob(torch.ones(2, 3, 4, 5)).shape == (2,)


@pytest.mark.parametrize("name", ["quantised_normal", "beta"])
def test_parameters_in_bfloat16_are_scored_in_single_precision(name: str) -> None:
    likelihood = IMAGE_LIKELIHOODS[name]
    parameters = torch.randn(2, 3 * likelihood.num_parameters, 4, 5).bfloat16()
    scores = []
    for given in (parameters, parameters.float()):
        torch.manual_seed(0)
        scores.append(likelihood.distribution(given).log_prob(torch.full((2, 3, 4, 5), 0.4)))
    assert scores[0].dtype == torch.float32
    assert torch.equal(*scores)


def test_bernoulli_pixels() -> None:
    logits, image = torch.randn(2, 1, 4, 4).double(), torch.rand(2, 1, 4, 4).double().round()
    expected = Bernoulli(logits=logits).log_prob(image).flatten(1).sum(1)
    torch.testing.assert_close(IMAGE_LIKELIHOODS["bernoulli"].distribution(logits).log_prob(image), expected)


def test_the_divergence_of_two_quantised_normals_is_the_normals() -> None:
    def made(cls: type[Normal]) -> list[Distribution]:
        return [cls(torch.tensor(mean), torch.tensor(scale)) for mean, scale in ((0.1, 0.5), (0.4, 0.2))]

    torch.testing.assert_close(kl_divergence(*made(QuantisedNormal)), kl_divergence(*made(Normal)))


# ---------------------------------------------------------------- fixed scale


@pytest.mark.parametrize(("name", "kind"), [("normal", Normal), ("laplace", Laplace)])
def test_a_fixed_scale_is_torchs_density_by_value_and_gradient(name: str, kind: type[Distribution]) -> None:
    image, generator = grey(4, 3, 5, 6), torch.Generator().manual_seed(1)
    logits = torch.randn(4, 3, 5, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    likelihood = image_likelihood(name, scale=0.3)
    assert likelihood.num_parameters == 1
    px = likelihood.distribution(logits)
    scale = torch.tensor(0.3, dtype=torch.float64)
    expected = kind(1 / (1 + torch.exp(-logits)), scale).log_prob(image).flatten(1).sum(1)  # type: ignore[call-arg]
    torch.testing.assert_close(px.log_prob(image), expected, rtol=1e-12, atol=1e-10)
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    gradients = [torch.autograd.grad((each * weights).sum(), logits)[0] for each in (px.log_prob(image), expected)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)
    # The mean is the picture: inside [0, 1], where a sample leaves it.
    assert px.base_dist.fixed_scale
    torch.testing.assert_close(px.mean, logits.sigmoid())
    assert bool((px.sample() < 0).any())


@pytest.mark.parametrize(("name", "kind"), [("normal", Normal), ("laplace", Laplace)])
@pytest.mark.parametrize("scale", [0.1, 0.5, 0.7, 3.0])
def test_what_pixels_share_is_computed_once_and_no_bit_moves(
    name: str, kind: type[Distribution], scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against torch's own density at every pixel, in single precision, value and gradient; also once expanded."""
    image, generator = grey(4, 3, 5, 6).float(), torch.Generator().manual_seed(1)
    logits = torch.randn(4, 3, 5, 6, generator=generator, requires_grad=True)
    px, logarithms = image_likelihood(name, scale=scale).distribution(logits), []
    base = px.base_dist
    mine = base.log_prob(image)
    (my_gradient,) = torch.autograd.grad(mine.sum(), logits, retain_graph=True)
    expected = kind.log_prob(base, image)
    (gradient,) = torch.autograd.grad(expected.sum(), logits, retain_graph=True)
    assert torch.equal(mine, expected)
    assert torch.equal(my_gradient, gradient)
    assert torch.equal(base.expand(torch.Size([2, 4, 3, 5, 6])).log_prob(image), expected.expand(2, -1, -1, -1, -1))
    original = Tensor.log
    monkeypatch.setattr(Tensor, "log", lambda given: logarithms.append(given.numel()) or original(given))
    base.log_prob(image)
    assert logarithms == [1]


def test_scales_that_differ_are_torchs_density_too() -> None:
    image, generator = grey(2, 3, 5, 6), torch.Generator().manual_seed(1)
    scale = torch.rand(3, 1, 1, generator=generator, dtype=torch.float64) + 0.1
    for mine, kind in ((FixedNormal, Normal), (FixedLaplace, Laplace)):
        expected = kind(torch.zeros_like(image), scale).log_prob(image)
        assert torch.equal(mine(torch.zeros_like(image), scale).log_prob(image), expected)


def test_a_larger_scale_weighs_the_squared_error_less() -> None:
    """At twice the scale, a quarter of the slope."""
    image, slopes = grey(1, 1, 4, 4), []
    for scale in (0.25, 0.5):
        logits = torch.full((1, 1, 4, 4), 0.3, dtype=torch.float64, requires_grad=True)
        value = image_likelihood("normal", scale=scale).distribution(logits).log_prob(image).sum()
        slopes.append(torch.autograd.grad(value, logits)[0])
    torch.testing.assert_close(slopes[0], 4 * slopes[1])


@pytest.mark.parametrize("name", ["normal", "laplace"])
def test_a_fixed_scale_under_low_precision_keeps_its_mean_in_float32(name: str) -> None:
    px = image_likelihood(name, scale=0.5).distribution(torch.zeros(1, 3, 2, 2, dtype=torch.bfloat16))
    assert px.mean.dtype == torch.float32


def test_a_fixed_scale_has_to_be_given() -> None:
    with pytest.raises(ValueError, match="needs a scale"):
        image_likelihood("normal")
