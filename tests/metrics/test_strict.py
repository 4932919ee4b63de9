"""The scores of CdSprites+ against enumeration, and their levels of chance."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from mmvae_bench.metrics.functional import (
    all_correct,
    all_correct_chance,
    blind_letter_accuracy,
    correctness_chance,
    letter_accuracy,
)
from mmvae_bench.specs.components import datasets

CHANCE = {1: (33.3, 0.33), 2: (16.7, 0.83), 3: (3.3, 1.03), 4: (0.8, 1.28), 5: (0.4, 1.78)}
"""Strict in % and features right, by level, as printed beside the leaderboard."""


@pytest.mark.parametrize("seed", range(10))
def test_strict_equals_enumeration(random_queries: Callable[..., Any], seed: int) -> None:
    case = random_queries(seed, num_samples=40)
    expected = []
    for samples, concept in zip(case.predictions.tolist(), case.concepts.tolist(), strict=True):
        hits = []
        for sample in samples:
            pairs = [(p, c) for p, c in zip(sample, concept, strict=True) if -1 not in (p, c)]
            if pairs:
                hits.append(float(all(p == c for p, c in pairs)))
        expected.append(sum(hits) / len(hits) if hits else math.nan)
    value = all_correct(case.predictions, case.concepts)
    torch.testing.assert_close(value, torch.tensor(expected, dtype=torch.float64), equal_nan=True, rtol=0, atol=1e-15)
    assert math.isnan(expected[0])
    assert len({round(score, 6) for score in expected[1:]}) > 2


@pytest.mark.parametrize("level", CHANCE)
def test_the_chance_of_a_level_is_that_of_guessing_every_combination(level: int) -> None:
    """Each of the concepts asked for, each of them guessed."""
    schema = datasets.parse({"name": "sprites", "level": level}).concept_schema()
    every = schema.combinations()
    agree = every[:, None] == every[None]
    strict, features = all_correct_chance(every, schema.sizes), correctness_chance(every, schema.sizes)
    assert strict.tolist() == pytest.approx(agree.all(2).double().mean(1).tolist(), abs=1e-12)
    assert features.tolist() == pytest.approx(agree.double().mean((1, 2)).tolist(), abs=1e-12)
    printed = (round(100 * float(strict[0]), 1), round(level * float(features[0]), 2))
    assert printed == CHANCE[level]


def test_letters_equal_enumeration() -> None:
    words = ["", "a", "ab", "ba", "abc", "big red", "big bed", "small"]
    for text, truth in itertools.product(words, words[1:]):
        matching = [place for place in range(len(truth)) if place < len(text) and text[place] == truth[place]]
        assert letter_accuracy([text], [truth]).item() == pytest.approx(len(matching) / len(truth))
    # A word of another length shifts what follows; more than was asked for is no error.
    assert letter_accuracy(["small heart", "heart big"], ["big heart", "heart"]).tolist() == [0.0, 1.0]


def test_a_truth_that_says_nothing_or_has_no_answer_is_refused() -> None:
    for texts, truths in ((["a"], [""]), (["a", "b"], ["a"])):
        with pytest.raises(ValueError, match="as many texts as truths"):
            letter_accuracy(texts, truths)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_the_chance_of_letters_is_the_mean_over_all_captions(level: int) -> None:
    spec = datasets.parse({"name": "sprites", "level": level})
    captions, every = spec.captions(), spec.concept_schema().combinations()
    texts = [captions.text(row) for row in captions.render(every, index=torch.arange(len(every)), seed=0)]
    weights = torch.arange(1, len(texts) + 1).double()
    found = blind_letter_accuracy(texts, texts, weights)
    for truth, value in zip(texts, found.tolist(), strict=True):
        share = [sum(a == b for a, b in zip(text, truth, strict=False)) / len(truth) for text in texts]
        expected = sum(w * s for w, s in zip(weights.tolist(), share, strict=True)) / float(weights.sum())
        assert value == pytest.approx(expected)
