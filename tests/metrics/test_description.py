from __future__ import annotations

import math

import pytest
import torch

from mmvae_bench.metrics import DescriptionAccuracy
from mmvae_bench.metrics.functional import description_accuracy


def enumerate_accuracy(predictions: list[list[int]], truth: list[list[int]]) -> list[float]:
    accuracies = []
    for k in range(len(truth[0])):
        pairs = [(p[k], t[k]) for p, t in zip(predictions, truth, strict=True) if p[k] != -1 and t[k] != -1]
        accuracies.append(sum(p == t for p, t in pairs) / len(pairs) if pairs else math.nan)
    return accuracies


@pytest.mark.parametrize("seed", range(5))
def test_equals_enumeration_in_uneven_batches(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    predictions = torch.randint(-1, 3, (40, 4), generator=generator)
    truth = torch.randint(-1, 3, (40, 4), generator=generator)
    truth[:, 2] = -1
    expected = torch.tensor(enumerate_accuracy(predictions.tolist(), truth.tolist()), dtype=torch.float64)
    torch.testing.assert_close(description_accuracy(predictions, truth), expected, equal_nan=True)
    metric = DescriptionAccuracy(4)
    for rows in torch.arange(40).split([1, 25, 14]):
        metric.update(predictions[rows], truth[rows])
    score = metric.compute()
    torch.testing.assert_close(score.per_attribute, expected, equal_nan=True)
    assert float(score.mean) == pytest.approx(float(expected[[0, 1, 3]].mean()))
    assert score.per_attribute.dtype == score.mean.dtype == torch.float64


def test_attributes_weigh_the_same_however_often_they_are_known() -> None:
    metric = DescriptionAccuracy(2)
    metric.update(torch.tensor([[0, 0], [0, 0], [0, 0]]), torch.tensor([[0, 1], [0, -1], [0, -1]]))
    assert float(metric.compute().mean) == 0.5


def test_nothing_known_is_nan() -> None:
    metric = DescriptionAccuracy(2)
    metric.update(torch.tensor([[0, 0]]), torch.tensor([[-1, -1]]))
    assert math.isnan(float(metric.compute().mean))


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="disagree"):
        description_accuracy(torch.tensor([[0, 0]]), torch.tensor([[0]]))
    with pytest.raises(ValueError, match=r"predictions must have the shape \[batch, attribute\]"):
        description_accuracy(torch.tensor([0, 0]), torch.tensor([0, 0]))
    with pytest.raises(ValueError, match="predictions have 2 attributes, the metric has 3"):
        DescriptionAccuracy(3).update(torch.tensor([[0, 0]]), torch.tensor([[0, 0]]))
    with pytest.raises(ValueError, match="num_attributes must be 1 or more"):
        DescriptionAccuracy(0)
