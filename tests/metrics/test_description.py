from __future__ import annotations

import math

import pytest
import torch

from mmvae_bench.metrics.functional import description_accuracy, description_values


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
    assert description_accuracy(predictions, truth).dtype == torch.float64


@pytest.mark.parametrize("seed", range(5))
def test_the_values_of_images_say_what_is_right_and_what_counts(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    predictions = torch.randint(-1, 3, (40, 4), generator=generator)
    truth = torch.randint(-1, 3, (40, 4), generator=generator)
    values = description_values(predictions, truth)
    for row, (described, true) in enumerate(zip(predictions.tolist(), truth.tolist(), strict=True)):
        for k in range(4):
            counts = described[k] != -1 and true[k] != -1
            assert values[row, k].isnan() if not counts else float(values[row, k]) == (described[k] == true[k])
    # Over uneven batches the accuracy is that of all images: the mean of their values.
    parts = torch.cat(
        [description_values(predictions[rows], truth[rows]) for rows in torch.arange(40).split([1, 25, 14])]
    )
    torch.testing.assert_close(parts.nanmean(0), description_accuracy(predictions, truth), rtol=0, atol=0)


def test_attributes_weigh_the_same_however_often_they_are_known() -> None:
    accuracy = description_accuracy(torch.tensor([[0, 0], [0, 0], [0, 0]]), torch.tensor([[0, 1], [0, -1], [0, -1]]))
    assert accuracy.tolist() == [1.0, 0.0]


def test_nothing_known_is_nan() -> None:
    accuracy = description_accuracy(torch.tensor([[0, 0]]), torch.tensor([[-1, -1]]))
    assert all(math.isnan(value) for value in accuracy.tolist())


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="disagree"):
        description_accuracy(torch.tensor([[0, 0]]), torch.tensor([[0]]))
    with pytest.raises(ValueError, match=r"predictions must have the shape \[batch, attribute\]"):
        description_accuracy(torch.tensor([0, 0]), torch.tensor([0, 0]))
