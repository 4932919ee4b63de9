"""Products of experts and mixtures of them, against densities multiplied and averaged point by point."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from mmvae_bench.objectives.common.products import (
    Experts,
    all_subsets,
    component,
    mixture,
    products,
    stratified_choice,
    usable,
)

from .opinions import nonempty_subsets


@pytest.fixture
def normals() -> tuple[Tensor, Tensor]:
    """Mean and scale of three experts for two rows in two dimensions."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(2, 3, 2, generator=generator, dtype=torch.float64)
    return mean, 0.5 + torch.rand(2, 3, 2, generator=generator, dtype=torch.float64)


def experts_of(mean: Tensor, scale: Tensor, present: Tensor | None = None) -> Experts:
    if present is None:
        present = torch.ones(mean.shape[:2], dtype=torch.bool)
    return Experts(scale**-2, mean * scale**-2, present)


def constant(values: Tensor) -> bool:
    return bool((values - values[0]).abs().max() < 1e-10)


@pytest.mark.parametrize("prior", [True, False])
def test_a_product_is_the_densities_multiplied(prior: bool, normals: tuple[Tensor, Tensor]) -> None:
    """Up to a constant, subset by subset; the prior comes in once or not at all."""
    mean, scale = normals
    found = products(experts_of(mean, scale), all_subsets(3), prior=prior)
    z = torch.randn(9, 1, 1, 2, dtype=torch.float64)
    ours = found.log_prob(z)
    single = Normal(mean, scale).log_prob(z).sum(-1)
    for k, row in enumerate(all_subsets(3)):
        theirs = single[..., row].sum(-1) + (Normal(0.0, 1.0).log_prob(z).sum(-1)[..., 0] if prior else 0.0)
        for b in range(2):
            assert constant(ours[:, b, k] - theirs[:, b])


def test_absent_experts_count_for_nothing(normals: tuple[Tensor, Tensor]) -> None:
    """Whatever they hold, infinities included; with none present it is exactly the prior."""
    mean, scale = normals
    present = torch.tensor([[True, False, True], [False, False, False]])
    broken = scale.clone()
    broken[0, 1] = 0.0
    broken[1] = 0.0
    every = torch.ones(1, 3, dtype=torch.bool)
    for prior in (True, False):
        found = products(experts_of(mean, broken, present), every, prior=prior)
        wanted = products(experts_of(mean[:1, [0, 2]], scale[:1, [0, 2]]), every[:, :2], prior=prior)
        torch.testing.assert_close(found.mean[0], wanted.mean[0])
        torch.testing.assert_close(found.stddev[0], wanted.stddev[0])
        assert torch.equal(found.mean[1], torch.zeros(1, 2, dtype=torch.float64))
        assert torch.equal(found.stddev[1], torch.ones(1, 2, dtype=torch.float64))


def test_precisions_are_not_rounded_under_autocast(normals: tuple[Tensor, Tensor]) -> None:
    experts = experts_of(*(part.float() for part in normals))
    exact = products(experts, all_subsets(3), prior=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = products(experts, all_subsets(3), prior=True)
    assert torch.equal(found.mean, exact.mean)


def test_all_subsets_are_counted_once() -> None:
    for number in (1, 2, 5):
        found = [tuple(m for m, member in enumerate(row) if member) for row in all_subsets(number).tolist()]
        assert sorted(found) == sorted(nonempty_subsets(number))


def test_a_mixture_is_that_of_the_components_that_count(normals: tuple[Tensor, Tensor]) -> None:
    mean, scale = normals
    counts = torch.tensor([[True, False, True], [False, True, False]])
    found = mixture(Independent(Normal(mean, scale), 1), counts)
    z = torch.randn(9, 2, 2, dtype=torch.float64)
    for b in range(2):
        rows = counts[b]
        wanted = MixtureSameFamily(
            Categorical(torch.ones(int(rows.sum()), dtype=torch.float64)),
            Independent(Normal(mean[b, rows], scale[b, rows]), 1),
        )
        torch.testing.assert_close(found.log_prob(z)[:, b], wanted.log_prob(z[:, b]))
        torch.testing.assert_close(found.mean[b], wanted.mean)
    z = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(found.log_prob(z).sum(), z)
    assert bool(slope.isfinite().all())


def test_a_mixture_draws_from_no_other_component() -> None:
    mean = torch.tensor([[[0.0], [100.0], [200.0]]])
    found = mixture(Independent(Normal(mean, torch.ones_like(mean)), 1), torch.tensor([[True, False, True]]))
    torch.manual_seed(0)
    drawn = found.sample(torch.Size([4000])).flatten()
    near = [((drawn - centre).abs() < 10).double().mean().item() for centre in (0.0, 100.0, 200.0)]
    assert near[1] == 0
    assert near[0] == pytest.approx(0.5, abs=0.03)


def test_a_row_with_nothing_uses_all_components() -> None:
    counts = torch.tensor([[True, False], [False, False]])
    assert usable(counts).tolist() == [[True, False], [True, True]]


def test_a_component_is_picked_row_by_row(normals: tuple[Tensor, Tensor]) -> None:
    mean, scale = normals
    each = Independent(Normal(mean, scale), 1)
    picked = component(each, torch.tensor([2, 0]))
    assert torch.equal(picked.mean, torch.stack([mean[0, 2], mean[1, 0]]))
    assert torch.equal(picked.stddev, torch.stack([scale[0, 2], scale[1, 0]]))
    assert torch.equal(component(each, 1).mean, mean[:, 1])


def test_the_choice_is_even_over_a_batch_and_uniform_for_a_row() -> None:
    torch.manual_seed(0)
    counts = torch.ones(64, 3, dtype=torch.bool)
    tally = torch.zeros(64, 3)
    for _ in range(600):
        chosen = stratified_choice(counts)
        assert sorted(chosen.bincount(minlength=3).tolist()) in ([21, 21, 22], [20, 22, 22])
        tally[torch.arange(64), chosen] += 1
    # 600 draws a row: a binomial's standard error is 0.019, and 192 of them are looked at.
    assert (tally / 600 - 1 / 3).abs().max() < 4.5 * 0.0193


def test_the_choice_keeps_to_what_counts() -> None:
    torch.manual_seed(0)
    counts = torch.tensor([[False, True, False, True], [False, False, True, False], [True, True, True, True]])
    drawn = torch.stack([stratified_choice(counts) for _ in range(800)])
    assert set(drawn[:, 0].tolist()) == {1, 3}
    assert set(drawn[:, 1].tolist()) == {2}
    assert (drawn[:, 2].bincount() / 800 - 0.25).abs().max() < 0.07
