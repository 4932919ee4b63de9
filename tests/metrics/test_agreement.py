from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from mmvae_bench.metrics.functional import agreement_by_chance, correctness


def test_it_is_the_correctness_with_every_other_image(random_queries: Callable[..., Any]) -> None:
    """The definition, by two loops."""
    case = random_queries(31, num_queries=12)
    shown, told = case.predictions[:, 0], case.concepts
    for i, values in enumerate(agreement_by_chance(shown, told).tolist()):
        fractions = []
        for k in range(told.shape[1]):
            others = [int(shown[j, k]) for j in range(12) if j != i and shown[j, k] >= 0]
            if told[i, k] >= 0 and others:
                fractions.append(sum(value == int(told[i, k]) for value in others) / len(others))
        expected = sum(fractions) / len(fractions) if fractions else math.nan
        assert values == pytest.approx(expected, nan_ok=True)


def test_independent_images_and_texts_agree_at_the_base_rate() -> None:
    generator = torch.Generator().manual_seed(0)
    shown, told = (torch.rand(20_000, 3, generator=generator) < torch.tensor([0.02, 0.5, 0.9]) for _ in range(2))
    chance = agreement_by_chance(shown.long(), told.long()).mean()
    expected = (0.02**2 + 0.98**2 + 0.5 + 0.9**2 + 0.1**2) / 3
    assert float(chance) == pytest.approx(expected, abs=0.005)
    assert float(correctness(shown.long()[:, None], told.long()).mean()) == pytest.approx(expected, abs=0.005)


def test_one_image_has_no_base_rate() -> None:
    assert agreement_by_chance(torch.tensor([[1]]), torch.tensor([[1]])).isnan().all()
    with pytest.raises(ValueError, match=r"must both be \[image, attribute\]"):
        agreement_by_chance(torch.tensor([[1]]), torch.tensor([[1, 0]]))
