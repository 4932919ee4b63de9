"""Confusion: how often each value of an attribute that was asked for is read as each value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...concepts import UNSPECIFIED
from .validation import NOT_SCORED, as_queries, check_values

if TYPE_CHECKING:
    from jaxtyping import Int


def confusion_counts(
    predictions: Int[Tensor, "query sample attribute"],
    concepts: Int[Tensor, "query attribute"],
    num_values: Sequence[int],
) -> list[Int[Tensor, "value value"]]:
    """The number of samples by the value that a query specifies (row) and the value that is read in them (column).

    Args:
        predictions: the classifier's value of each attribute in each sample; -1 where it is not scored.
        concepts: the value each query specifies; -1 where an attribute is unspecified: such samples do not count.
        num_values: how many values each attribute has.

    Returns:
        A table per attribute; the diagonal is what is read as it was asked for.

    Raises:
        ValueError: the shapes disagree, or the values are not indices.

    >>> confusion_counts(torch.tensor([[[1], [0]], [[0], [-1]]]), torch.tensor([[1], [0]]), (2,))[0].tolist()
    [[1, 0], [1, 1]]
    """
    predictions, concepts = as_queries(predictions, concepts)
    asked = concepts[:, None].expand_as(predictions)
    check_values("concepts", concepts, num_values)
    check_values("predictions", predictions, num_values)
    tables = []
    for k, size in enumerate(num_values):
        truth, read = asked[..., k].flatten(), predictions[..., k].flatten()
        counted = (truth != UNSPECIFIED) & (read != NOT_SCORED)
        pairs = truth[counted] * size + read[counted]
        tables.append(torch.bincount(pairs, minlength=size * size).view(size, size).cpu())
    return tables
