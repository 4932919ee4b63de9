from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mmvae_bench.metrics.functional import coverage, joint_divergence, js_divergence, value_frequencies


def enumerate_js(p: list[float], q: list[float], base: float) -> float:
    total = 0.0
    for a, b in zip(p, q, strict=True):
        middle = (a + b) / 2
        for each in (a, b):
            if each > 0:
                total += 0.5 * each * math.log(each / middle, base)
    return total


def enumerate_divergences(case: Any, base: float, *, open_only: bool) -> list[list[float]]:
    """For each query the divergences that count: those of the open attributes, or of all against delta targets."""
    rows = []
    for query, concept in enumerate(case.concepts.tolist()):
        row = []
        for k, number in enumerate(case.num_values):
            shown = [sample[k] for sample in case.predictions[query].tolist() if sample[k] != -1]
            if not shown or (open_only and concept[k] != -1):
                continue
            histogram = [shown.count(value) / len(shown) for value in range(number)]
            table = case.reference[k].tolist()
            target = table[query] if case.reference[k].ndim == 2 else table
            if concept[k] != -1:
                target = [1.0 if value == concept[k] else 0.0 for value in range(number)]
            row.append(enumerate_js(target, histogram, base))
        rows.append(row)
    return rows


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


@pytest.mark.parametrize("per_query", [False, True])
@pytest.mark.parametrize("base", [2.0, math.e])
@pytest.mark.parametrize("seed", range(8))
def test_equals_enumeration(random_queries: Callable[..., Any], seed: int, base: float, per_query: bool) -> None:
    case = random_queries(seed, per_query=per_query)
    expected = [mean([1 - each for each in row]) for row in enumerate_divergences(case, base, open_only=True)]
    value = coverage(case.predictions, case.concepts, case.reference, base)
    torch.testing.assert_close(value, torch.tensor(expected, dtype=torch.float64), equal_nan=True, rtol=0, atol=1e-13)
    assert math.isnan(expected[-1])  # the case holds a query that specifies everything

    expected = [mean(row) for row in enumerate_divergences(case, base, open_only=False)]
    value = joint_divergence(case.predictions, case.concepts, case.reference, base)
    torch.testing.assert_close(value, torch.tensor(expected, dtype=torch.float64), equal_nan=True, rtol=0, atol=1e-13)


def test_frequencies_leave_out_what_is_not_scored() -> None:
    frequencies = value_frequencies(torch.tensor([[2, 0, -1, 2], [-1, -1, -1, -1]]), 3)
    torch.testing.assert_close(frequencies[0], torch.tensor([1 / 3, 0, 2 / 3], dtype=torch.float64))
    assert frequencies[1].isnan().all()


def test_samples_in_the_proportions_of_the_reference_cover_it_all() -> None:
    predictions = torch.tensor([[[0, 1], [0, 1], [1, 1], [2, 1]]])
    reference = [torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.5, 0.5])]
    assert float(coverage(predictions, torch.tensor([[-1, 1]]), reference)) == 1.0
    assert float(joint_divergence(predictions, torch.tensor([[-1, 1]]), reference)) == 0.0


def test_joint_divergence_without_open_attributes_is_the_distance_to_the_deltas() -> None:
    predictions = torch.tensor([[[0], [0], [1], [0]]])
    value = joint_divergence(predictions, torch.tensor([[0]]), [torch.tensor([0.5, 0.5])])
    assert float(value) == float(js_divergence(torch.tensor([1.0, 0.0]), torch.tensor([0.75, 0.25])))


def test_joint_divergence_with_everything_open_is_what_coverage_lacks(random_queries: Callable[..., Any]) -> None:
    case = random_queries(5)
    open_ = torch.full_like(case.concepts, -1)
    torch.testing.assert_close(
        joint_divergence(case.predictions, open_, case.reference), 1 - coverage(case.predictions, open_, case.reference)
    )


def test_each_query_is_held_against_its_own_row() -> None:
    """A perfect conditional generator scores 1 against the conditional and less against the marginal."""
    predictions = torch.tensor([[[0], [0]], [[1], [1]]])
    concepts = torch.tensor([[-1], [-1]])
    conditional = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert coverage(predictions, concepts, [conditional]).tolist() == [1.0, 1.0]
    assert coverage(predictions, concepts, [conditional.flip(0)]).tolist() == [0.0, 0.0]
    assert bool((coverage(predictions, concepts, [conditional.mean(0)]) < 0.7).all())


def test_nan_where_all_is_specified_or_nothing_open_is_scored() -> None:
    reference = [torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.5])]
    predictions = torch.tensor([[[0, 1]], [[-1, 1]], [[-1, -1]]])
    concepts = torch.tensor([[0, 1], [-1, 1], [-1, -1]])
    assert coverage(predictions, concepts, reference).isnan().all()
    assert joint_divergence(predictions, concepts, reference).isnan().tolist() == [False, False, True]


def test_no_queries() -> None:
    nothing = torch.zeros(0, 5, 2, dtype=torch.long), torch.zeros(0, 2, dtype=torch.long)
    reference = [torch.tensor([0.5, 0.5]), torch.zeros(0, 3)]
    assert coverage(*nothing, reference).shape == joint_divergence(*nothing, reference).shape == (0,)


def test_a_single_precision_reference_is_computed_in_double(random_queries: Callable[..., Any]) -> None:
    case = random_queries(1)
    single = [table.float() for table in case.reference]
    value = coverage(case.predictions, case.concepts, single)
    assert value.dtype == torch.float64
    torch.testing.assert_close(
        value, coverage(case.predictions, case.concepts, case.reference), equal_nan=True, rtol=0, atol=1e-6
    )


HALF = torch.tensor([0.5, 0.5])


@pytest.mark.parametrize("metric", [coverage, joint_divergence])
@pytest.mark.parametrize(
    ("predictions", "concepts", "reference", "message"),
    [
        (
            [[[0, 2]]],
            [[0, -1]],
            [HALF, HALF],
            "predictions contains value 2 of attribute 1, whose reference has 2 values",
        ),
        ([[[0, 1]]], [[3, -1]], [HALF, HALF], "concepts contains value 3 of attribute 0, whose reference has 2 values"),
        ([[[0, 1]]], [[0, -1]], [HALF], "predictions has 2 attributes, the reference has 1"),
        ([[[0, 1]]], [[0, -1]], [], "the reference has no attributes"),
        ([[[0, 1]]], [[0, -1]], [HALF, HALF.expand(3, 2)], "reference of attribute 1 must have .* with 1 queries"),
        ([[[0, 1]]], [[0, -1]], [HALF, HALF.expand(1, 1, 2)], "reference of attribute 1 must have the shape"),
        ([[[0, 1]]], [[0, -1]], [HALF, 0.9 * HALF], "reference of attribute 1 is not normalised: it sums to 0.9"),
        ([[[0, 1]]], [[0, -1]], [HALF, torch.tensor([1, 0])], "reference of attribute 1 must be a floating-point"),
        ([[[0, 1]]], [[0]], [HALF, HALF], "disagree"),
    ],
)
def test_bad_input_is_refused(
    metric: Callable[..., Tensor], predictions: Any, concepts: Any, reference: list[Tensor], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        metric(torch.tensor(predictions), torch.tensor(concepts), reference)


@pytest.mark.parametrize("metric", [coverage, joint_divergence])
def test_a_base_that_is_none_is_refused(metric: Callable[..., Tensor]) -> None:
    with pytest.raises(ValueError, match="base must be a number above 1"):
        metric(torch.zeros(1, 1, 1).long(), torch.tensor([[-1]]), [HALF], 1.0)
