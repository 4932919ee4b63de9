"""Correctness: do the images imagined for a concept show what the concept specifies?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...concepts import UNSPECIFIED
from .validation import NOT_SCORED, as_indices, as_queries, as_scored, check_values, mean_where

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64, Int


def correctness(
    predictions: Int[Tensor, "query sample attribute"], concepts: Int[Tensor, "query attribute"]
) -> Float64[Tensor, " query"]:
    """The fraction of specified attributes that the observation classifier finds in the samples.

    correctness(S, y_O) = mean over samples s in S and attributes k in O of [predicted_sk = y_k]
    (Vedantam et al. 2018, section 3).

    Args:
        predictions: the classifier's value of each attribute in each sample; -1 where it is not scored.
        concepts: the value each query specifies; -1 where an attribute is unspecified.

    Returns:
        A fraction a query; nan where nothing is specified, or nothing that is specified is scored.

    Raises:
        ValueError: the shapes disagree, or the values are not indices.

    >>> correctness(torch.tensor([[[1, 0], [1, 2]]]), torch.tensor([[1, 2]]))
    tensor([0.7500], dtype=torch.float64)
    """
    predictions, concepts = as_queries(predictions, concepts)
    specified = concepts.unsqueeze(1)
    counted = (specified != UNSPECIFIED) & (predictions != NOT_SCORED)
    return mean_where((predictions == specified).double().flatten(1), counted.flatten(1))


def correctness_chance(
    concepts: Int[Tensor, "query attribute"],
    num_values: Sequence[int],
    *,
    scored: Bool[Tensor, " attribute"] | None = None,
) -> Float64[Tensor, " query"]:
    """The correctness expected of values drawn uniformly: the mean of 1 / num_values over the specified attributes.

    Args:
        concepts: the value each query specifies; -1 where an attribute is unspecified.
        num_values: how many values each attribute has.
        scored: the attributes that are scored, where not all are.

    Returns:
        A fraction a query; nan where nothing that is scored is specified.

    Raises:
        ValueError: a concept has another number of attributes than ``num_values``, or a value beyond them.

    >>> correctness_chance(torch.tensor([[6, 0], [-1, 1]]), [10, 2])
    tensor([0.3000, 0.5000], dtype=torch.float64)
    """
    concepts = as_indices(concepts, "concepts", "[query, attribute]")
    check_values("concepts", concepts, num_values)
    chance = torch.tensor(num_values, dtype=torch.float64, device=concepts.device).reciprocal()
    return mean_where(chance.expand(concepts.shape), (concepts != UNSPECIFIED) & as_scored(scored, concepts))
