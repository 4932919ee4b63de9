"""The words of models whose texts are known, counted by hand."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mmvae_bench.concepts.captions import SlotCaptions
from mmvae_bench.evaluation.questions import build_question
from mmvae_bench.evaluation.questions.words import total_variation, word_counts
from mmvae_bench.evaluation.sampling import real_batches
from mmvae_bench.runs.scores import Score
from mmvae_bench.specs.components import questions

from .fakes import LINES, LinesData, LinesSpec, context, exact_classifier
from .latent_models import Exactly, Latent, values_of

CAPTIONS = SlotCaptions(LINES)


class Writer(Latent):
    """Writes the concept in z, and two for every three."""

    captions = CAPTIONS

    def concept_likelihood(self, z: Tensor) -> Any:
        values = values_of(z)
        values[:, 2] = values[:, 2].clamp(max=1)
        return Exactly(CAPTIONS.render(values, index=torch.arange(len(z)), seed=0))


@pytest.fixture
def data() -> LinesData:
    """Of its own: other tests must not see the captions."""
    made = LinesData(LinesSpec(num_images=600))
    made.captions = CAPTIONS
    made.setup()
    return made


def asked(model: Any, data: LinesData, **settings: Any) -> tuple[list[Score], dict[str, str]]:
    given = context(model, data, exact_classifier(data))
    question = build_question(questions.parse({"name": "words", **settings}))
    assert question.reason_not(model, data) is None
    with torch.no_grad():
        return question.ask(given), given.left_out


def by_hand(concepts: Tensor) -> list[list[str]]:
    return [[LINES.attributes[k].values[value] for k, value in enumerate(concept)] for concept in concepts.tolist()]


def test_every_word_of_what_is_written_by_hand(data: LinesData) -> None:
    scores, _ = asked(Writer(scale=1e-3), data)
    found = {(score.metric, score.attribute): score for score in scores}
    words = CAPTIONS.vocabulary[1:]
    batches = real_batches(data, "test", seed=0, device=torch.device("cpu"), limit=1000)
    truth = by_hand(torch.cat([batch.concept for batch in batches]))
    training = by_hand(data.concepts("train"))
    written = [["two" if word == "three" else word for word in text] for text in truth]
    assert set(found) == {(f"word_frequency{ending}", word) for ending in ("", "_prior") for word in words} | {
        ("word_distance", None), ("word_distance_prior", None)
    }  # fmt: skip
    for word in words:
        score = found["word_frequency", word]
        assert score.value == pytest.approx(sum(word in text for text in written) / len(written))
        assert score.ceiling == pytest.approx(sum(word in text for text in training) / len(training))
        assert score.num_queries == len(written)
    assert found["word_frequency", "three"].value == 0
    counts = [Counter(word for text in texts for word in text) for texts in (written, training, truth)]
    shares = [{word: each[word] / each.total() for word in words} for each in counts]
    distance, best = (sum(abs(each[word] - shares[1][word]) for word in words) / 2 for each in shares[::2])
    assert found["word_distance", None].value == pytest.approx(distance)
    assert found["word_distance", None].ceiling == pytest.approx(best)
    assert distance > 0.1 > best
    assert math.isnan(found["word_distance", None].ci_low)
    assert {score.proposal for score in scores} == {"q(z|x)", "p(z)"}


def test_words_of_the_prior_are_those_of_its_z(data: LinesData) -> None:
    """z ~ N(0, I) is mostly below one and a half: few words but the first of each attribute."""
    scores, _ = asked(Writer(scale=1e-3), data)
    found = {score.attribute: score.value for score in scores if score.metric == "word_frequency_prior"}
    assert found["top-left"] == pytest.approx(float(torch.distributions.Normal(0, 1).cdf(torch.tensor(0.5))), abs=0.2)
    assert found["one"] > found["two"] > found["three"] == 0


def test_a_word_counts_once_in_a_text_and_as_often_as_it_is_there_in_all() -> None:
    counted = word_counts(torch.tensor([[1, 1, 0], [2, 1, 0]]), 4)
    assert counted.words.tolist() == [2, 3, 1, 0]
    assert counted.has.tolist() == [[True, True, False, False], [True, True, True, False]]
    assert total_variation(counted.words, torch.tensor([100.0, 0, 0, 5])) == 1
    assert total_variation(counted.words, 7 * counted.words) == 0
    assert math.isnan(total_variation(torch.tensor([4.0, 0, 0, 0]), counted.words))


def test_who_cannot_be_asked_says_why(data: LinesData, lines: Callable[..., LinesData]) -> None:
    model, question = Writer(), build_question(questions.parse("words"))
    assert "not a text" in str(question.reason_not(model, lines(num_images=50)))  # type: ignore[arg-type]
    model.spec.posteriors = frozenset({"concept"})
    scores, left_out = asked(model, data)
    assert {score.metric for score in scores} == {"word_frequency_prior", "word_distance_prior"}
    assert set(left_out) == {"word_frequency", "word_distance"}
    model.spec.posteriors = frozenset({"joint"})
    assert {score.proposal for score in asked(model, data)[0]} == {"q(z|x,y)", "p(z)"}
    model.spec.likelihoods = frozenset({"image"})
    assert "writes no text" in str(question.reason_not(model, data))  # type: ignore[arg-type]
