"""The accuracy of descriptions as a metric."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from .functional.description import description_counts


class DescriptionScore(NamedTuple):
    """The accuracy of each attribute, nan where nothing is scored, and their mean, nan left out."""

    per_attribute: Tensor
    mean: Tensor


class DescriptionAccuracy(Metric):
    """:func:`~mmvae_bench.metrics.functional.description_accuracy` over all batches, and its mean over attributes.

    Args:
        num_attributes: how many attributes a concept has.

    Raises:
        ValueError: ``num_attributes`` is below 1.

    >>> metric = DescriptionAccuracy(2)
    >>> metric.update(torch.tensor([[3, 0], [3, 1]]), torch.tensor([[3, 1], [8, -1]]))
    >>> metric.compute().mean
    tensor(0.2500, dtype=torch.float64)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    right: Tensor
    scored: Tensor

    def __init__(self, num_attributes: int) -> None:
        super().__init__()
        if num_attributes < 1:
            raise ValueError(f"num_attributes must be 1 or more, got {num_attributes}")
        self.num_attributes = num_attributes
        for state in ("right", "scored"):
            self.add_state(state, torch.zeros(num_attributes, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, concepts: Tensor) -> None:
        """Add a batch.

        Args:
            predictions: Long[batch, attribute], the description of each image; -1 where it is not scored.
            concepts: Long[batch, attribute], the truth; -1 where it is unknown.

        Raises:
            ValueError: shapes disagree, or the values are not indices.
        """
        right, scored = description_counts(predictions, concepts)
        if len(right) != self.num_attributes:
            raise ValueError(f"predictions have {len(right)} attributes, the metric has {self.num_attributes}")
        self.right = self.right + right
        self.scored = self.scored + scored

    def compute(self) -> DescriptionScore:
        """The accuracy per attribute and its mean."""
        accuracy = self.right / self.scored
        return DescriptionScore(accuracy, accuracy.nanmean())
