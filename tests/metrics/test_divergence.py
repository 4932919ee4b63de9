from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from torch import Tensor

from mmvae_bench.metrics.functional import js_divergence
from mmvae_bench.metrics.functional.coverage import js_terms


@st.composite
def pairs_of_distributions(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    size = draw(st.integers(1, 6))
    weight = st.one_of(st.just(0.0), st.floats(1e-300, 1.0), st.floats(0.1, 1.0))
    rows = [
        draw(st.lists(weight, min_size=size, max_size=size).filter(lambda row: sum(row) > 1e-200)) for _ in range(2)
    ]
    p, q = (torch.tensor(row, dtype=torch.float64) for row in rows)
    return p / p.sum(), q / q.sum()


@given(pairs_of_distributions(), st.sampled_from([2.0, math.e, 10.0]))
def test_symmetric_bounded_and_equal_to_scipy(pair: tuple[Tensor, Tensor], base: float) -> None:
    p, q = pair
    value = float(js_divergence(p, q, base))
    assert value == float(js_divergence(q, p, base))
    assert 0.0 <= value <= math.log(2, base) + 1e-14
    # scipy takes a square root, which near 0 turns rounding of 1e-16 into 1e-8: compare after squaring.
    second_opinion = jensenshannon(p.numpy(), q.numpy(), base=base) ** 2
    assert value == pytest.approx(np.nan_to_num(second_opinion), abs=1e-12)
    assert float(js_divergence(p, p, base)) == 0.0


def test_against_the_definition_with_plain_loops() -> None:
    p, q = [0.5, 0.25, 0.25, 0.0], [0.1, 0.0, 0.9, 0.0]
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    expected = 0.0
    for row in (p, q):
        for a, m in zip(row, middle, strict=True):
            if a > 0:
                expected += 0.5 * a * math.log2(a / m)
    value = js_divergence(torch.tensor(p, dtype=torch.float64), torch.tensor(q, dtype=torch.float64))
    assert float(value) == pytest.approx(expected, abs=1e-15)


def test_disjoint_distributions_reach_the_bound_in_every_base() -> None:
    p, q = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 0.5, 0.5])
    assert float(js_divergence(p, q)) == 1.0
    assert float(js_divergence(p, q, math.e)) == pytest.approx(math.log(2), abs=1e-15)


def test_small_divergences_keep_their_size() -> None:
    """JS(p, p + d) = sum d^2 / (8 p) to second order: nothing is lost to cancellation at 1e-8."""
    p, step = torch.tensor([0.3, 0.7], dtype=torch.float64), torch.tensor([1e-4, -1e-4], dtype=torch.float64)
    expected = float((step**2 / (8 * p)).sum())
    assert float(js_divergence(p, p + step, math.e)) == pytest.approx(expected, rel=1e-3)


def test_tiny_probabilities_stay_finite() -> None:
    p = torch.tensor([1.0, 5e-324, 1e-300], dtype=torch.float64)
    q = torch.tensor([1e-300, 1.0, 0.0], dtype=torch.float64)
    assert float(js_divergence(p, q)) == pytest.approx(1.0, abs=1e-15)


def test_leading_axes_broadcast() -> None:
    p = torch.tensor([0.25, 0.75])
    q = torch.eye(2).expand(3, 2, 2)
    value = js_divergence(p, q)
    assert value.shape == (3, 2)
    assert value.dtype == torch.float64
    assert float(value[1, 1]) == float(js_divergence(p, torch.tensor([0.0, 1.0])))


def test_terms_pass_nan_on_so_that_an_empty_histogram_is_not_a_score() -> None:
    assert bool(js_terms(torch.tensor([0.5]), torch.tensor([torch.nan])).isnan())


@pytest.mark.parametrize(
    ("p", "base", "message"),
    [
        ([0.5, 0.6], 2.0, "p is not normalised: it sums to 1.1"),
        ([1.5, -0.5], 2.0, "p contains a negative probability: -0.5"),
        ([float("nan"), 1.0], 2.0, "p contains a value that is not finite"),
        ([0.2, 0.3, 0.5], 2.0, "p has 3 values and q has 2"),
        ([0.5, 0.5], 1.0, "base must be a number above 1"),
        ([0.5, 0.5], float("nan"), "base must be a number above 1"),
    ],
)
def test_what_is_no_distribution_is_refused(p: list[float], base: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        js_divergence(torch.tensor(p), torch.tensor([0.5, 0.5]), base)


def test_counts_and_scalars_are_refused() -> None:
    with pytest.raises(ValueError, match="floating-point"):
        js_divergence(torch.tensor([1, 0]), torch.tensor([0.5, 0.5]))
    with pytest.raises(ValueError, match="q must be a floating-point tensor"):
        js_divergence(torch.tensor([1.0]), torch.tensor(1.0))


def test_single_precision_tables_are_accepted_and_the_second_argument_is_checked_too() -> None:
    p = torch.full((18,), 1 / 18, dtype=torch.float32)
    assert float(js_divergence(p, p)) == 0.0
    with pytest.raises(ValueError, match="q is not normalised"):
        js_divergence(p, p * 0.999)
