"""Compositionality: correctness on combinations of attributes that training never showed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...concepts import UNSPECIFIED
from .correctness import correctness
from .validation import as_indices

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64, Int

# Bounds the comparison's memory: so many queries are held against all training concepts at once.
_QUERIES_AT_ONCE = 256


def satisfied(
    concepts: Int[Tensor, "query attribute"], training_concepts: Int[Tensor, "combination attribute"]
) -> Bool[Tensor, " query"]:
    """Whether some training concept agrees with a concept on every attribute that the concept specifies.

    An attribute that a training concept leaves unspecified agrees with no specified value.

    Raises:
        ValueError: the two have different numbers of attributes, or the values are not indices.

    >>> satisfied(torch.tensor([[0, -1], [0, 1]]), torch.tensor([[0, 0], [1, 1]]))
    tensor([ True, False])
    """
    concepts = as_indices(concepts, "concepts", "[query, attribute]")
    training = as_indices(training_concepts, "training_concepts", "[combination, attribute]").to(concepts.device)
    if concepts.shape[1] != training.shape[1]:
        raise ValueError(f"concepts have {concepts.shape[1]} attributes, training concepts {training.shape[1]}")
    found = torch.zeros(len(concepts), dtype=torch.bool, device=concepts.device)
    for start in range(0, len(concepts), _QUERIES_AT_ONCE):
        queries = concepts[start : start + _QUERIES_AT_ONCE]
        agrees = torch.ones(len(queries), len(training), dtype=torch.bool, device=concepts.device)
        for value, known in zip(queries.unbind(1), training.unbind(1), strict=True):
            agrees &= (value == UNSPECIFIED).unsqueeze(1) | (value.unsqueeze(1) == known)
        found[start : start + _QUERIES_AT_ONCE] = agrees.any(1)
    return found


def compositionality(
    predictions: Int[Tensor, "query sample attribute"],
    concepts: Int[Tensor, "query attribute"],
    training_concepts: Int[Tensor, "combination attribute"],
) -> Float64[Tensor, " query"]:
    """Correctness over the concepts that no training concept satisfies; nan for the others.

    The paper asks for test concepts that differ in at least one attribute from the training concepts (Vedantam et al.
    2018, section 3). A partial concept differs where no training concept agrees with all that it specifies.

    Args:
        predictions: the classifier's value of each attribute in each sample; -1 where it is not scored.
        concepts: the value each query specifies; -1 where an attribute is unspecified.
        training_concepts: the combinations that training showed; repeats do no harm.

    Raises:
        ValueError: shapes disagree, or the values are not indices.

    >>> compositionality(torch.tensor([[[0, 0]], [[0, 1]]]), torch.tensor([[0, 0], [0, 1]]), torch.tensor([[0, 0]]))
    tensor([nan, 1.], dtype=torch.float64)
    """
    scores = correctness(predictions, concepts)
    return scores.masked_fill(satisfied(concepts, training_concepts).to(scores.device), torch.nan)
