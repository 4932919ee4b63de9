"""Aggregate posteriors: the identities of both papers on normals, by quadrature, to 1e-6."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from mmvae_bench.metrics.functional import aggregate_terms, mixture_log_prob, moment_fit
from mmvae_bench.metrics.functional.aggregate import normal_log_probs

MEANS = torch.tensor([[-1.0], [0.3], [0.5], [2.0]], dtype=torch.float64)
SCALES = torch.tensor([[0.4], [0.2], [1.1], [0.6]], dtype=torch.float64)
NODES = torch.linspace(-12, 12, 6001, dtype=torch.float64)
WEIGHTS = Normal(0.0, 1.0).log_prob(NODES).exp() * (NODES[1] - NODES[0])
"""Of a trapezoidal rule over a standard normal, which is exact to rounding for smooth functions."""
GRID = torch.linspace(-15, 20, 200_001, dtype=torch.float64)[:, None]


def mixture(means: Tensor, scales: Tensor) -> MixtureSameFamily:
    """The aggregate posterior, as torch knows it."""
    return MixtureSameFamily(
        Categorical(torch.ones(len(means), dtype=torch.float64)), Independent(Normal(means, scales), 1)
    )


def integral(values: Tensor) -> float:
    return float(values.sum() * (GRID[1, 0] - GRID[0, 0]))


def test_the_density_of_a_mixture_is_that_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    means, z = torch.randn(7, 5, generator=generator), 2 * torch.randn(40, 5, generator=generator)
    scales = torch.rand(7, 5, generator=generator) + 0.01
    expected = mixture(means.double(), scales.double()).log_prob(z.double())
    torch.testing.assert_close(mixture_log_prob(z, means, scales), expected, rtol=0, atol=1e-8)
    each = Independent(Normal(means.double(), scales.double()), 1).log_prob(z.double()[:, None])
    torch.testing.assert_close(normal_log_probs(z, means, scales), each, rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize("target", [Normal(0.0, 1.0), Normal(1.0, 2.0)], ids=["p(z)", "q(z|y)"])
def test_the_mean_divergence_is_information_and_mismatch(target: Normal) -> None:
    """Cremer and Kushman (2018), Eq. 17 and Eq. 5: each part against an integral of its own."""
    z = MEANS[:, None] + SCALES[:, None] * NODES[None, :, None]
    terms = aggregate_terms(z, MEANS, SCALES, weights=WEIGHTS)
    found = terms.mismatch(target.log_prob(z)[..., 0])
    divergence = float(kl_divergence(Normal(MEANS, SCALES), target).mean())
    assert divergence == pytest.approx(float((terms.information + found).mean()), abs=1e-6)

    density = mixture(MEANS, SCALES).log_prob(GRID)
    mismatch = integral(density.exp() * (density - target.log_prob(GRID)[:, 0]))
    assert float(found.mean()) == pytest.approx(mismatch, abs=1e-6)
    # Vedantam et al. (2018), Eq. 3: log N - E H(q(n|z)) in the place of the information.
    posterior = normal_log_probs(GRID, MEANS, SCALES).log_softmax(1)
    entropy = integral(density.exp() * -(posterior.exp() * posterior).sum(1))
    assert float(terms.information.mean()) == pytest.approx(math.log(len(MEANS)) - entropy, abs=1e-6)
    assert divergence == pytest.approx(mismatch + math.log(len(MEANS)) - entropy, abs=1e-6)


def test_what_is_known_beforehand() -> None:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)
    alike = torch.full((2, 4), 0.5, dtype=torch.float64)
    z = alike[:, None] + alike[:, None] * noise
    own = Independent(Normal(alike[:, None], alike[:, None]), 1).log_prob(z)
    same = aggregate_terms(z, alike, alike)
    assert torch.stack([same.information, same.mismatch(own)]).abs().max() < 1e-9
    apart = torch.tensor([[-100.0], [100.0]])
    one = torch.ones(2, 1)
    terms = aggregate_terms(apart[:, None] + torch.randn(2, 3, 1, generator=generator), apart, one)
    torch.testing.assert_close(terms.information, torch.full((2,), math.log(2), dtype=torch.float64), rtol=0, atol=1e-9)


def test_the_fitted_normal_is_the_nearest_one() -> None:
    log_density = mixture(MEANS, SCALES).log_prob(GRID)

    def divergence(mean: Tensor, scale: Tensor) -> float:
        return integral(log_density.exp() * (log_density - Normal(mean, scale).log_prob(GRID)[:, 0]))

    mean, scale = moment_fit(MEANS, SCALES)
    best = divergence(mean, scale)
    others = [divergence(mean + 0.02, scale), divergence(mean - 0.02, scale)]
    others += [divergence(mean, scale * factor) for factor in (0.98, 1.02)]
    assert min(others) > best + 1e-5
    drawn = mixture(MEANS, SCALES)
    torch.testing.assert_close(mean, drawn.mean)
    torch.testing.assert_close(scale, drawn.stddev)
