"""Bounds against the exact likelihood of a linear-Gaussian model, an independent computation, and their properties."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from mmvae_bench.metrics.functional import (
    elbo_terms,
    importance_log_weights,
    log_likelihood_bound,
    nats_per_dimension,
)

NOISE = 0.7


class LinearGaussian:
    """z ~ N(0, I), x|z ~ N(W z, s^2 I): p(x) = N(0, W W' + s^2 I). Proposals: the exact posterior, made worse."""

    def __init__(self, *, num_images: int, latent_size: int = 2, size: int = 3) -> None:
        numbers = np.random.default_rng(3)
        self.weights = numbers.normal(size=(size, latent_size))
        self.images = numbers.normal(size=(num_images, size)) * 1.5
        covariance = self.weights @ self.weights.T + NOISE**2 * np.eye(size)
        self.exact = stats.multivariate_normal(np.zeros(size), covariance).logpdf(self.images)
        precision = np.eye(latent_size) + self.weights.T @ self.weights / NOISE**2
        self.covariance = np.linalg.inv(precision)
        self.means = self.images @ self.weights @ self.covariance / NOISE**2

    def log_weights(self, num_samples: int, *, widened: float, moved: float, seed: int = 0) -> Tensor:
        """Importance weights, [sample, image], by scipy alone: proposals N(mean + moved, widened^2 covariance)."""
        proposal = stats.multivariate_normal(np.zeros(len(self.covariance)), widened**2 * self.covariance)
        offsets = proposal.rvs((num_samples, len(self.images)), random_state=seed).reshape(
            num_samples, len(self.images), -1
        )
        z = self.means + moved + offsets
        parts = {
            "log_likelihood": stats.norm.logpdf(self.images, z @ self.weights.T, NOISE).sum(-1),
            "log_prior": stats.norm.logpdf(z).sum(-1),
            "log_proposal": proposal.logpdf(offsets).reshape(num_samples, len(self.images)),
        }
        return importance_log_weights(**{name: torch.from_numpy(part) for name, part in parts.items()})


def test_the_exact_posterior_as_proposal_gives_the_exact_likelihood_with_one_sample() -> None:
    model = LinearGaussian(num_images=20)
    bound = log_likelihood_bound(model.log_weights(1, widened=1.0, moved=0.0))
    torch.testing.assert_close(bound, torch.from_numpy(model.exact), rtol=0, atol=1e-10)


def test_the_bound_rises_with_the_number_of_samples_and_meets_the_exact_likelihood() -> None:
    model = LinearGaussian(num_images=4)
    means = []
    for num_samples, repeats in ((1, 4000), (3, 2000), (10, 1000), (100, 300)):
        weights = model.log_weights(num_samples * repeats, widened=1.6, moved=0.4)
        bounds = torch.stack([log_likelihood_bound(part) for part in weights.split(num_samples)])
        gap = bounds - torch.from_numpy(model.exact)
        means.append((float(gap.mean()), float(gap.std() / math.sqrt(gap.numel()))))
    for (lower, error), (higher, other) in pairwise(means):
        assert higher - lower > 4 * math.hypot(error, other)
    assert all(gap < 0 for gap, _ in means)
    last = log_likelihood_bound(model.log_weights(200_000, widened=1.6, moved=0.4))
    torch.testing.assert_close(last, torch.from_numpy(model.exact), rtol=0, atol=0.02)


@pytest.mark.parametrize("num_samples", [1, 10])
def test_the_exponential_of_the_bound_is_unbiased(num_samples: int) -> None:
    model = LinearGaussian(num_images=3)
    weights = model.log_weights(num_samples * 20_000, widened=1.5, moved=0.3, seed=1)
    ratio = torch.stack([log_likelihood_bound(part) for part in weights.split(num_samples)]) - torch.from_numpy(
        model.exact
    )
    mean, error = ratio.exp().mean(0), ratio.exp().std(0) / math.sqrt(len(ratio))
    assert bool(((mean - 1).abs() < 4.5 * error).all())
    assert bool((error < 0.02).all())


def test_values_by_hand() -> None:
    likelihood, prior, proposal = (torch.tensor([[-3.0, -8.0], [-5.0, -2.0]]) * factor for factor in (1.0, 0.5, 0.25))
    weights = [[math.exp(x + x / 2 - x / 4) for x in row] for row in ([-3.0, -8.0], [-5.0, -2.0])]
    expected = [math.log((weights[0][i] + weights[1][i]) / 2) for i in range(2)]
    log_weights = importance_log_weights(log_likelihood=likelihood, log_prior=prior, log_proposal=proposal)
    bound = log_likelihood_bound(log_weights)
    assert bound.tolist() == pytest.approx(expected, abs=1e-12)
    assert nats_per_dimension(bound, 6).tolist() == pytest.approx([value / 6 for value in expected])
    terms = elbo_terms(log_px=likelihood, log_py=prior, kl=torch.tensor([1.0, 2.0]))
    assert terms["elbo"].tolist() == pytest.approx([-4 - 2 - 1, -5 - 2.5 - 2])


def test_large_images_lose_nothing_to_single_precision() -> None:
    """Half a nat between samples of 75,000 nats is below float32's steps of 1/128 only after the sum: keep float64."""
    log_weights = torch.tensor([[75_739.79], [75_739.29]], dtype=torch.float64)
    expected = 75_739.29 + math.log((math.exp(0.5) + 1) / 2)
    assert float(log_likelihood_bound(log_weights)) == pytest.approx(expected, abs=1e-9)


def test_impossible_samples_count_as_nothing_and_not_as_nan() -> None:
    bound = log_likelihood_bound(torch.tensor([[-1.0, -math.inf], [-math.inf, -math.inf]]))
    assert bound.tolist() == [pytest.approx(-1 - math.log(2)), -math.inf]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.zeros(3), r"\[sample, image\]"),
        (torch.zeros(0, 3), "at least one sample"),
        (torch.zeros(2, 3, dtype=torch.long), "floating-point"),
        (torch.full((2, 3), math.nan), "not a number"),
    ],
)
def test_bad_weights_are_named(values: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        log_likelihood_bound(values)


def test_bad_shapes_and_dimensions_are_named() -> None:
    with pytest.raises(ValueError, match="log_prior has the shape"):
        importance_log_weights(
            log_likelihood=torch.zeros(2, 3), log_prior=torch.zeros(2, 2), log_proposal=torch.zeros(2, 3)
        )
    with pytest.raises(ValueError, match=r"log_py must be \[sample, image\] and kl \[image\]"):
        elbo_terms(log_px=torch.zeros(2, 3), log_py=torch.zeros(2, 3), kl=torch.zeros(2))
    with pytest.raises(ValueError, match="num_dimensions must be at least 1"):
        nats_per_dimension(torch.zeros(1), 0)


def test_the_bound_is_float64_whatever_it_is_given() -> None:
    weights = torch.randn(5, 23, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 10
    bound = log_likelihood_bound(weights)
    expected = np.log(np.exp(weights.numpy()).mean(0)).mean()
    assert float(bound.mean()) == pytest.approx(expected, abs=1e-12)
    assert float(nats_per_dimension(bound, 12).mean()) == pytest.approx(expected / 12, abs=1e-12)
    # Images do not depend on each other: uneven batches give the same values.
    parts = torch.cat([log_likelihood_bound(part) for part in weights.split([1, 15, 7], dim=1)])
    torch.testing.assert_close(parts, bound, rtol=0, atol=1e-12)
    for precision in (torch.float32, torch.float16):
        low = weights.to(precision)
        assert log_likelihood_bound(low).dtype == nats_per_dimension(low[0], 12).dtype == torch.float64
        torch.testing.assert_close(log_likelihood_bound(low), log_likelihood_bound(low.double()), rtol=0, atol=0)


def test_the_terms_are_means_over_samples_that_add_up() -> None:
    generator = torch.Generator().manual_seed(1)
    log_px, log_py = (torch.randn(4, 9, generator=generator, dtype=torch.float64) for _ in range(2))
    kl = torch.rand(9, generator=generator, dtype=torch.float64)
    terms = elbo_terms(log_px=log_px, log_py=log_py, kl=kl)
    assert float(terms["log_px"].mean()) == pytest.approx(float(log_px.mean()))
    assert float(terms["log_py"].mean()) == pytest.approx(float(log_py.mean()))
    assert float(terms["kl"].mean()) == pytest.approx(float(kl.mean()))
    assert float(terms["elbo"].mean()) == pytest.approx(float(log_px.mean() + log_py.mean() - kl.mean()))
