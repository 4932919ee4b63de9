"""The simulated scores have the truth that their intervals are compared with."""

from __future__ import annotations

import intervals
import numpy as np
import pytest


@pytest.mark.parametrize(("hardness", "spread"), [(0.0, 0.0), (1.0, 0.3), (1.0, 1.0)])
@pytest.mark.parametrize("rate", [0.5, 0.9, 0.99])
def test_shares_have_their_rate_on_average(rate: float, hardness: float, spread: float) -> None:
    scores = intervals.hard_shares(np.random.default_rng(0), 4000, 400, rate, hardness, spread)
    assert scores.mean() == pytest.approx(rate, abs=0.05 * np.sqrt(rate * (1 - rate)))
    assert (scores.mean(1).std() > 0.035 * np.sqrt(rate * (1 - rate))) == (spread > 0)


def test_concepts_asked_twice_are_liked_twice() -> None:
    scores = intervals.concepts_twice(np.random.default_rng(0), 2, 5000)
    assert scores.mean() == pytest.approx(0, abs=0.2)
    assert np.corrcoef(scores[0, ::2], scores[0, 1::2])[0, 1] == pytest.approx(9 / 13, abs=0.05)


@pytest.mark.parametrize("words", ["Shares over seeds", "Differences where", "asked twice each"])
def test_a_table_has_a_column_for_every_head(words: str) -> None:
    ((rows, _, heads),) = (found for title, found in intervals.TABLES.items() if words in title)
    assert len(next(rows(1, np.random.default_rng(0)))) == len(heads)
