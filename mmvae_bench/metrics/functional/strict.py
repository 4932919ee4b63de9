"""The scores of CdSprites+ (Sejnova et al. 2022): is all of it right, and which share of the letters.

The third of them, the share of the features that are right, is :func:`~.correctness.correctness` of full concepts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...concepts import UNSPECIFIED
from .validation import NOT_SCORED, as_indices, as_queries, check_values

if TYPE_CHECKING:
    from jaxtyping import Float64, Int


def all_correct(
    predictions: Int[Tensor, "query sample attribute"], concepts: Int[Tensor, "query attribute"]
) -> Float64[Tensor, " query"]:
    """The fraction of samples in which *every* specified attribute is found: the strict score.

    Args:
        predictions: the value of each attribute in each sample; -1 where it is not scored.
        concepts: the value each query specifies; -1 where an attribute is unspecified.

    Returns:
        A fraction per query; nan where nothing is specified, or nothing that is specified is scored.

    Raises:
        ValueError: the shapes disagree, or the values are not indices.

    >>> all_correct(torch.tensor([[[1, 0], [1, 2]]]), torch.tensor([[1, 2]]))
    tensor([0.5000], dtype=torch.float64)
    """
    predictions, concepts = as_queries(predictions, concepts)
    counted = (concepts.unsqueeze(1) != UNSPECIFIED) & (predictions != NOT_SCORED)
    right = ((predictions == concepts.unsqueeze(1)) | ~counted).all(-1)
    judged = counted.any(-1)
    return (right & judged).double().sum(1) / judged.double().sum(1)


def all_correct_chance(
    concepts: Int[Tensor, "query attribute"], num_values: Sequence[int]
) -> Float64[Tensor, " query"]:
    """The strict score expected of values drawn uniformly: the product of 1 / num_values over what is specified.

    Args:
        concepts: the value each query specifies; -1 where an attribute is unspecified.
        num_values: how many values each attribute has.

    Returns:
        A fraction per query; nan where nothing is specified.

    Raises:
        ValueError: a concept has another number of attributes than ``num_values``, or a value beyond them.

    >>> all_correct_chance(torch.tensor([[2, 0], [2, -1]]), [3, 2])
    tensor([0.1667, 0.3333], dtype=torch.float64)
    """
    concepts = as_indices(concepts, "concepts", "[query, attribute]")
    check_values("concepts", concepts, num_values)
    chance = torch.tensor(num_values, dtype=torch.float64, device=concepts.device).reciprocal()
    specified = concepts != UNSPECIFIED
    product = torch.where(specified, chance, 1.0).prod(1)
    return product.masked_fill(~specified.any(1), torch.nan)


def letter_accuracy(texts: Sequence[str], truths: Sequence[str]) -> Float64[Tensor, " text"]:
    """The fraction of the letters of each truth that a text has at the same places, spaces included.

    As the released evaluation of CdSprites+ counts them: letter by letter from the start, so that one that is missing
    shifts all that follow; what is beyond the end of the truth does not count.

    Args:
        texts: what was said.
        truths: what should have been said, as many; none of them empty.

    Raises:
        ValueError: the numbers differ, or a truth is empty.

    >>> letter_accuracy(["heart big", "big", ""], ["heart red", "bag", "red"])
    tensor([0.6667, 0.6667, 0.0000], dtype=torch.float64)
    """
    if len(texts) != len(truths) or not all(truths):
        raise ValueError(
            f"expected as many texts as truths, none of which is empty, got {len(texts)} and {len(truths)}"
        )
    shares = [
        sum(letter == right for letter, right in zip(text, truth, strict=False)) / len(truth)
        for text, truth in zip(texts, truths, strict=True)
    ]
    return torch.tensor(shares, dtype=torch.float64)


def blind_letter_accuracy(truths: Sequence[str], texts: Sequence[str], weights: Tensor) -> Float64[Tensor, " truth"]:
    """The :func:`letter_accuracy` expected of texts that do not depend on the truth: exact, over all of them.

    Args:
        truths: what should have been said.
        texts: the distinct texts that are said.
        weights: Float[text], how often each is said; they are normalised here.

    >>> blind_letter_accuracy(["ab"], ["ab", "cb"], torch.tensor([1.0, 3.0]))
    tensor([0.6250], dtype=torch.float64)
    """
    share = weights.double().cpu() / weights.double().sum().cpu()
    expected = [share @ letter_accuracy(texts, [truth] * len(texts)) for truth in truths]
    return torch.stack(expected) if expected else torch.empty(0, dtype=torch.float64)
