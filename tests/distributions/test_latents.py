"""Distributions against enumeration, quadrature and torch's own."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Categorical, Normal

from mmvae_bench.distributions.latents import FactorisedCategorical, product_of_experts


def test_product_of_experts_is_the_normalised_product_of_densities() -> None:
    torch.manual_seed(0)
    means, log_scales = torch.randn(5, 3, 1).double(), 0.5 * torch.randn(5, 3, 1).double()
    specified = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1]]).bool()
    grid = torch.linspace(-12, 12, 20001, dtype=torch.float64)
    q = product_of_experts(means, log_scales, specified)
    for b in range(5):
        density = Normal(0.0, 1.0).log_prob(grid)
        for k in range(3):
            if specified[b, k]:
                density = density + Normal(means[b, k], log_scales[b, k].exp()).log_prob(grid)
        density = density.exp() / torch.trapezoid(density.exp(), grid)
        mine = Normal(q.base_dist.loc[b], q.base_dist.scale[b]).log_prob(grid).exp()
        torch.testing.assert_close(mine, density, rtol=1e-6, atol=1e-8)


def test_an_infinite_expert_that_is_not_specified_changes_nothing() -> None:
    means = torch.tensor([[[1.0], [float("inf")]]], requires_grad=True)
    log_scales = torch.tensor([[[0.0], [-200.0]]], requires_grad=True)
    q = product_of_experts(means, log_scales, torch.tensor([[True, False]]))
    assert q.mean.item() == pytest.approx(0.5)
    q.mean.sum().backward()
    assert means.grad is not None
    assert means.grad[0, 0].item() == pytest.approx(0.5)
    assert means.grad[0, 1].item() == 0


def test_factorised_categorical_against_torch() -> None:
    torch.manual_seed(1)
    logits = [torch.randn(6, size, dtype=torch.float64) for size in (4, 2, 3)]
    q = FactorisedCategorical(logits)
    value = torch.stack([torch.randint(size, (6,)) for size in (4, 2, 3)], 1)
    expected = sum(Categorical(logits=part).log_prob(value[:, k]) for k, part in enumerate(logits))
    torch.testing.assert_close(q.log_prob(value), expected)
    assert torch.equal(q.mode, torch.stack([part.argmax(-1) for part in logits], 1))


def test_unspecified_attributes_are_marginalised_out() -> None:
    torch.manual_seed(2)
    logits = [torch.randn(1, size, dtype=torch.float64) for size in (4, 2)]
    q = FactorisedCategorical(logits)
    total = torch.stack([q.log_prob(torch.tensor([[3, value]])) for value in range(2)]).logsumexp(0)
    torch.testing.assert_close(q.log_prob(torch.tensor([[3, -1]])), total)
    assert q.log_prob(torch.tensor([[-1, -1]])).item() == 0


def test_samples_of_several_latents_are_scored_at_once() -> None:
    logits = [torch.randn(5, 2, size) for size in (4, 2)]
    q = FactorisedCategorical(logits)
    value = torch.tensor([[1, 0], [3, 1]])
    assert q.log_prob(value).shape == (5, 2)
    one = FactorisedCategorical([part[3] for part in logits])
    torch.testing.assert_close(q.log_prob(value)[3], one.log_prob(value))


def test_validation_names_values_out_of_range() -> None:
    q = FactorisedCategorical([torch.zeros(1, 3), torch.zeros(1, 2)], validate_args=True)
    with pytest.raises(ValueError, match="support"):
        q.log_prob(torch.tensor([[0, 3]]))


def test_sample_frequencies() -> None:
    torch.manual_seed(3)
    logits = [torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[1.0, -1.0]])]
    drawn = FactorisedCategorical(logits).sample([20000])
    for k, part in enumerate(logits):
        frequencies = torch.bincount(drawn[:, 0, k], minlength=part.shape[-1]) / 20000
        torch.testing.assert_close(frequencies, part.softmax(-1)[0], atol=0.015, rtol=0)
