from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import multinomial
from torch import Tensor

from mmvae_bench.metrics.functional import (
    correctness,
    coverage,
    coverage_reference,
    coverage_reference_per_query,
    joint_divergence,
    joint_divergence_reference,
)

TABLES = [
    [0.5, 0.5],
    [0.2, 0.3, 0.5],
    [0.1] * 10,
    [0.9, 0.1, 0.0, 0.0],
    [0.0, 1.0],
    [1e-9, 1 - 1e-9],
]
METRICS = [(coverage, coverage_reference_per_query), (joint_divergence, joint_divergence_reference)]


def table(row: list[float]) -> Tensor:
    return torch.tensor(row, dtype=torch.float64)


@pytest.mark.parametrize("base", [2.0, math.e])
@pytest.mark.parametrize("row", [row for row in TABLES if len(row) < 5])
@pytest.mark.parametrize("num_samples", [1, 2, 5])
def test_perfect_equals_the_sum_over_all_outcomes(row: list[float], num_samples: int, base: float) -> None:
    expected = 0.0
    for counts in itertools.product(range(num_samples + 1), repeat=len(row)):
        if sum(counts) == num_samples:
            divergence = jensenshannon(row, [count / num_samples for count in counts], base=base) ** 2
            expected += multinomial.pmf(counts, num_samples, row) * (1 - divergence)
    perfect, _ = coverage_reference([table(row)], num_samples, base)
    assert float(perfect) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("base", [2.0, math.e])
@pytest.mark.parametrize("row", TABLES)
def test_collapsed_equals_the_sum_over_the_value_shown(row: list[float], base: float) -> None:
    expected = 0.0
    for value, probability in enumerate(row):
        delta = [float(other == value) for other in range(len(row))]
        expected += probability * (1 - jensenshannon(row, delta, base=base) ** 2)
    _, collapsed = coverage_reference([table(row)], 10, base)
    assert float(collapsed) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("num_samples", [10, 100])
def test_equal_to_a_simulation_scored_by_the_metric_itself(num_samples: int) -> None:
    generator, num_queries = torch.Generator().manual_seed(7), 4000
    reference = [table(row) for row in TABLES]

    def assert_agrees(predictions: Tensor, expected: Tensor) -> None:
        for k, expectation in enumerate(expected):
            scores = coverage(predictions[..., k : k + 1], torch.full((num_queries, 1), -1), reference[k : k + 1])
            error = float(scores.std()) / math.sqrt(num_queries)
            assert float(scores.mean()) == pytest.approx(float(expectation), abs=4 * error + 1e-7)
            assert error < 0.01  # or the agreement says nothing

    drawn = [torch.multinomial(p, num_queries * num_samples, replacement=True, generator=generator) for p in reference]
    independent = torch.stack(drawn, -1).view(num_queries, num_samples, -1)
    references = coverage_reference(reference, num_samples)
    assert_agrees(independent, references.perfect)
    assert_agrees(independent[:, :1].expand(-1, num_samples, -1), references.collapsed)


def test_one_sample_is_a_collapse_and_many_samples_leave_nothing_to_miss() -> None:
    reference = [table(row) for row in TABLES]
    perfect, collapsed = coverage_reference(reference, 1)
    torch.testing.assert_close(perfect, collapsed)
    more = torch.stack([coverage_reference(reference, n).perfect for n in (1, 2, 10, 100, 500)])
    assert bool((more.diff(dim=0) >= -1e-12).all())
    # JS(p, p + d) is sum d^2 / (8 p) nats to second order, and E d^2 = p (1 - p) / n: 1 - (values - 1) / (8 n log 2).
    assert float(more[-1, 1]) == pytest.approx(1 - 2 / (8 * 500 * math.log(2)), abs=1e-5)


def test_tables_that_depend_on_the_query_give_a_row_a_query(random_queries: Callable[..., Any]) -> None:
    case = random_queries(2, per_query=True)
    references = coverage_reference(case.reference, 20)
    assert references.perfect.shape == references.collapsed.shape == case.concepts.shape
    for query in range(len(case.concepts)):
        rows = [each[query] if each.ndim == 2 else each for each in case.reference]
        alone = coverage_reference(rows, 20)
        torch.testing.assert_close(references.perfect[query], alone.perfect, rtol=0, atol=1e-14)
        torch.testing.assert_close(references.collapsed[query], alone.collapsed, rtol=0, atol=1e-14)


def test_splitting_the_work_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, random_queries: Callable[..., Any]
) -> None:
    case = random_queries(2, per_query=True)
    whole = coverage_reference(case.reference, 20)
    monkeypatch.setattr("mmvae_bench.metrics.functional.reference._PAIRS_AT_ONCE", 50)
    torch.testing.assert_close(coverage_reference(case.reference, 20), whole, rtol=0, atol=0)


def test_per_query_averages_over_what_is_left_open_and_scored() -> None:
    reference = [table(row) for row in TABLES[:3]]
    perfect, collapsed = coverage_reference(reference, 10)
    concepts = torch.tensor([[-1, -1, 3], [0, -1, -1], [1, 1, 3], [-1, -1, -1]])
    scored = torch.tensor([True, True, False])
    per_query = coverage_reference_per_query(concepts, reference, 10, scored=scored)
    for given, attribute in ((per_query.perfect, perfect), (per_query.collapsed, collapsed)):
        expected = torch.stack([attribute[:2].mean(), attribute[1], table([math.nan])[0], attribute[:2].mean()])
        torch.testing.assert_close(given, expected, equal_nan=True)
    everything = coverage_reference_per_query(concepts[3:], reference, 10)
    torch.testing.assert_close(everything.perfect, perfect.mean().view(1))


@pytest.mark.parametrize("base", [2.0, math.e])
@pytest.mark.parametrize("conditional", [False, True])
def test_references_equal_a_simulation_of_both_generators(base: float, conditional: bool) -> None:
    """Coverage and joint divergence of two simulated generators, with an attribute that is never scored."""
    generator, num_samples, num_draws = torch.Generator().manual_seed(3), 10, 4000
    concepts = torch.tensor([[-1, 1, -1, 0], [0, -1, 4, 0]])
    scored = torch.tensor([True, True, True, False])
    reference = [table(row) for row in (TABLES[1], TABLES[3], TABLES[2], TABLES[0])]
    if conditional:
        reference[0] = torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]], dtype=torch.float64)
        reference[2] = torch.stack([reference[2], torch.eye(10, dtype=torch.float64)[4]])
    for query, concept in enumerate(concepts):
        rows = [each[query] if each.ndim == 2 else each for each in reference]
        asked = concept.expand(num_draws, -1)
        drawn = torch.stack(
            [torch.multinomial(p, num_draws * num_samples, replacement=True, generator=generator) for p in rows], -1
        ).view(num_draws, num_samples, -1)
        perfect = torch.where(concept != -1, concept, drawn)
        collapsed = drawn[:, :1].expand(-1, num_samples, -1)
        for metric, references in METRICS:
            expected = references(concepts, reference, num_samples, base, scored=scored)
            for answers, expectation in ((perfect, expected.perfect), (collapsed, expected.collapsed)):
                scores = metric(answers.masked_fill(~scored, -1), asked, rows, base)
                error = float(scores.std()) / math.sqrt(num_draws)
                assert float(scores.mean()) == pytest.approx(float(expectation[query]), abs=4 * error + 1e-12)


def test_joint_divergence_of_the_collapsed_generator_on_a_specified_attribute() -> None:
    """It errs exactly as often as its correctness says, and costs log_base 2 each time."""
    reference = [table([0.2, 0.3, 0.5])]
    concepts = torch.tensor([[0], [1], [2]])
    for base in (2.0, math.e):
        perfect, collapsed = joint_divergence_reference(concepts, reference, 10, base)
        assert perfect.tolist() == [0.0, 0.0, 0.0]
        torch.testing.assert_close(collapsed, (1 - reference[0]) * math.log(2) / math.log(base))
    shown = torch.tensor([0, 0, 1, 1, 1, 2, 2, 2, 2, 2]).view(10, 1, 1)
    wrong = 1 - correctness(shown, torch.zeros(10, 1, dtype=torch.long)).mean()
    assert float(wrong) == pytest.approx(float(joint_divergence_reference(concepts, reference, 10).collapsed[0]))


@pytest.mark.parametrize("base", [2.0, math.e])
def test_a_collapsed_generator_that_does_not_hear_the_query_by_enumeration(base: float) -> None:
    """It draws one full concept from a joint distribution for every query; the target is conditioned on the query."""
    sizes = (2, 3, 2)
    combinations = list(itertools.product(*map(range, sizes)))
    weights = torch.rand(len(combinations), generator=torch.Generator().manual_seed(2), dtype=torch.float64) ** 2
    weights /= weights.sum()
    drawn = [
        torch.stack([weights[[c[k] == value for c in combinations]].sum() for value in range(size)])
        for k, size in enumerate(sizes)
    ]
    concepts = torch.tensor([[-1, 2, 1], [1, -1, -1], [-1, -1, 0]])
    scored = torch.tensor([True, True, False])
    target = [table([0.1, 0.9]).expand(3, 2), table([[0.2, 0.5, 0.3], [0.7, 0.1, 0.2], [0.0, 0.4, 0.6]]), drawn[2]]
    found = joint_divergence_reference(concepts, target, 10, base, drawn=drawn, scored=scored)
    for query, concept in enumerate(concepts.tolist()):
        expected = 0.0
        for weight, shown in zip(weights.tolist(), combinations, strict=True):
            divergences = []
            for k in range(2):
                goal = [float(v == concept[k]) for v in range(sizes[k])]
                goal = target[k][query].tolist() if concept[k] == -1 else goal
                delta = [float(v == shown[k]) for v in range(sizes[k])]
                divergences.append(float(jensenshannon(goal, delta, base=base)) ** 2)
            expected += weight * sum(divergences) / 2
        assert float(found.collapsed[query]) == pytest.approx(expected, abs=1e-12)
    # What is drawn from says nothing of the perfect generator.
    plain = joint_divergence_reference(concepts, target, 10, base, scored=scored)
    torch.testing.assert_close(found.perfect, plain.perfect)
    assert not torch.allclose(found.collapsed, plain.collapsed)


def test_drawing_from_the_reference_is_the_default() -> None:
    reference = [table(row) for row in TABLES]
    for default, told in zip(
        coverage_reference(reference, 10), coverage_reference(reference, 10, drawn=reference), strict=True
    ):
        assert torch.equal(default, told)
    with pytest.raises(ValueError, match=r"drawn has attributes with \[2\] values, the reference with \[3\]"):
        coverage_reference([table([0.2, 0.3, 0.5])], 10, drawn=[table([0.5, 0.5])])


def test_two_thousand_queries_with_tables_of_their_own() -> None:
    """The size of a real evaluation, each row against the table alone: memory is bounded and nothing is mixed up."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.rand(2000, 10, generator=generator, dtype=torch.float64) ** 3
    rows /= rows.sum(-1, keepdim=True)
    same = table(TABLES[1]).expand(2000, 3)
    perfect = coverage_reference([rows, same], 300).perfect
    for query in (0, 999, 1999):
        torch.testing.assert_close(perfect[query], coverage_reference([rows[query], same[0]], 300).perfect)


def test_bad_input_is_refused() -> None:
    half = table([0.5, 0.5])
    with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
        coverage_reference([half], 0)
    with pytest.raises(ValueError, match="reference of attribute 0 is not normalised"):
        coverage_reference([2 * half], 10)
    with pytest.raises(ValueError, match=r"reference of attribute 1 must have .* with 3 queries"):
        coverage_reference([half.expand(3, 2), half.expand(4, 2)], 10)
    with pytest.raises(ValueError, match="base must be a number above 1"):
        coverage_reference([half], 10, 0.5)
    for function in (coverage_reference_per_query, joint_divergence_reference):
        with pytest.raises(ValueError, match="concepts contains value 2 of attribute 0"):
            function(torch.tensor([[2]]), [half], 10)
        with pytest.raises(ValueError, match="with 1 queries"):
            function(torch.tensor([[1]]), [half.expand(3, 2)], 10)
