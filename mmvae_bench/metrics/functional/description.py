"""The accuracy of descriptions: image to concept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from ...concepts import UNSPECIFIED
from .validation import NOT_SCORED, as_indices

if TYPE_CHECKING:
    from jaxtyping import Float64, Int


def description_counts(
    predictions: Int[Tensor, "batch attribute"], concepts: Int[Tensor, "batch attribute"]
) -> tuple[Float64[Tensor, " attribute"], Float64[Tensor, " attribute"]]:
    """For each attribute, how many descriptions are right and how many are scored: what the accuracy is made of.

    Raises:
        ValueError: the shapes disagree, or the values are not indices.
    """
    predictions = as_indices(predictions, "predictions", "[batch, attribute]")
    concepts = as_indices(concepts, "concepts", "[batch, attribute]").to(predictions.device)
    if predictions.shape != concepts.shape:
        raise ValueError(f"predictions {tuple(predictions.shape)} and concepts {tuple(concepts.shape)} disagree")
    scored = (concepts != UNSPECIFIED) & (predictions != NOT_SCORED)
    return ((predictions == concepts) & scored).sum(0).double(), scored.sum(0).double()


def description_accuracy(
    predictions: Int[Tensor, "batch attribute"], concepts: Int[Tensor, "batch attribute"]
) -> Float64[Tensor, " attribute"]:
    """The fraction of images whose description is right, for each attribute.

    Args:
        predictions: the described value of each attribute; -1 where it is not scored.
        concepts: the true value; -1 where it is unknown, which leaves the image out for that attribute.

    Returns:
        A fraction an attribute; nan where nothing is scored.

    Raises:
        ValueError: the shapes disagree, or the values are not indices.

    >>> import torch
    >>> description_accuracy(torch.tensor([[3, 0], [3, 1]]), torch.tensor([[3, 1], [8, -1]]))
    tensor([0.5000, 0.0000], dtype=torch.float64)
    """
    right, scored = description_counts(predictions, concepts)
    return right / scored
