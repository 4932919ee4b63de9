"""Completing a concept before it is imagined: the completion by enumeration, and what the scores are then."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from mmvae_bench.evaluation.questions.imputation import most_probable_completion
from mmvae_bench.evaluation.references import TrainingConcepts
from mmvae_bench.metrics.functional import coverage

from .fakes import LINES, Fake, LinesData, Oracle, context, exact_classifier, question

SIZES = (3, 2, 4)


def rows(number: int, seed: int) -> Tensor:
    """Concepts of which some are much more frequent than others, and some never occur."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(size, (number,), generator=generator) for size in SIZES], 1)


def by_enumeration(query: list[int], training: list[list[int]]) -> list[int]:
    """The first, in the order of values, of the full concepts that agree with the query and are the most frequent."""
    choices = [range(size) if value < 0 else (value,) for size, value in zip(SIZES, query, strict=True)]
    every = [list(each) for each in product(*choices)]
    most = max(training.count(each) for each in every)
    if not most:
        marginals = [[column.count(value) for value in range(size)] for size, column in
                     zip(SIZES, zip(*training, strict=True), strict=True)]  # fmt: skip
        usual = [counts.index(max(counts)) for counts in marginals]
        return [likely if value < 0 else value for likely, value in zip(usual, query, strict=True)]
    return next(each for each in every if training.count(each) == most)


@pytest.mark.parametrize(("number", "seed"), [(1, 0), (7, 1), (12, 2), (40, 3), (300, 4)])
def test_a_completion_is_the_most_frequent_of_all(number: int, seed: int) -> None:
    """Every partial concept there is, against a count of every completion; with few rows many have none."""
    training = rows(number, seed)
    queries = torch.tensor(list(product(*(range(-1, size) for size in SIZES))))
    found = most_probable_completion(queries, TrainingConcepts(training, sizes=SIZES))
    assert found.tolist() == [by_enumeration(query, training.tolist()) for query in queries.tolist()]


def test_it_is_no_completion_of_each_attribute_alone() -> None:
    """Values that are each the most frequent, and never seen together, are not what is most probable."""
    training = torch.tensor([[0, 0, 1]] * 3 + [[0, 1, 0]] * 2 + [[0, 0, 2]] * 2 + [[0, 1, 3]] * 2)
    training = torch.cat([training, torch.tensor([[1, 0, 0]] * 5)])
    found = most_probable_completion(torch.tensor([[0, -1, -1], [0, 1, -1], [-1, -1, -1]]),
                                     TrainingConcepts(training, sizes=SIZES))  # fmt: skip
    assert found.tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]


def test_a_perfect_model_is_right_and_shows_one_value(lines: Callable[..., LinesData]) -> None:
    """Correctness 1; the coverage of one value shown every time, against a reference written out."""
    data = lines(skewed=True)
    training = TrainingConcepts(data.concepts("train"), sizes=LINES.sizes)
    model = Oracle(training.marginal())
    asked = context(model, data, exact_classifier(data), num_samples=10, query_repeats=1, protocols=["paper"])
    scores = {(each.metric, each.level): each for each in question("imputation").ask(asked) if each.attribute is None}
    assert {level for _, level in scores} == {1, 2}, "a full concept has nothing to complete"
    for queries in asked.queries[1:]:
        full = most_probable_completion(queries.concepts, training)
        assert bool((full >= 0).all())
        one = full[:, None].expand(-1, 10, -1)
        wanted = coverage(one, queries.concepts, training.marginal(), 2.0)
        assert scores["coverage_imputed", queries.level].per_query == pytest.approx(wanted.tolist(), nan_ok=True)
        assert scores["correctness_imputed", queries.level].value == 1
        assert any(torch.equal(full[: len(seen)], seen) for seen in model.asked)
    plain = {(each.metric, each.level): each for each in question("three_cs").ask(asked) if each.attribute is None}
    for level in (1, 2):
        assert plain["coverage", level].value > scores["coverage_imputed", level].value + 0.1
        for name in ("correctness", "coverage", "joint_divergence"):
            mine, theirs = scores[f"{name}_imputed", level], plain[name, level]
            assert (mine.ceiling, mine.floor, mine.groups) == (theirs.ceiling, theirs.floor, theirs.groups)


def test_a_model_of_full_concepts_can_be_asked_partial_ones(lines: Callable[..., LinesData]) -> None:
    """Its own partial queries are left out, the completed ones are not."""
    data = lines()
    model = Oracle([torch.ones(size) / size for size in LINES.sizes])
    model.spec.partial_concepts = False
    asked = context(model, data, exact_classifier(data), num_samples=10, query_repeats=1, protocols=["paper"])
    assert {each.level for each in question("three_cs").ask(asked)} == {3}
    assert {each.level for each in question("imputation").ask(asked)} == {1, 2}
    assert all(bool((seen >= 0).all()) for seen in model.asked)


def test_where_it_cannot_be_asked_it_says_why(lines: Callable[..., LinesData]) -> None:
    data, model = lines(split="comp"), Oracle([torch.ones(size) / size for size in LINES.sizes])
    asked = context(model, data, exact_classifier(data), num_samples=10, protocols=["paper"])
    assert question("imputation").ask(asked) == []
    assert asked.left_out == {"imputation": "every query is a full concept: there is nothing to complete"}

    class Mute(Fake):
        can_imagine = False

    assert "cannot imagine" in (question("imputation").reason_not(Mute(), data) or "")  # type: ignore[arg-type]
