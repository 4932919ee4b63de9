"""How often images and texts would agree if each image had the text of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...concepts import UNSPECIFIED
from .validation import NOT_SCORED, as_indices, mean_where

if TYPE_CHECKING:
    from jaxtyping import Float64, Int


def agreement_by_chance(
    predictions: Int[Tensor, "image attribute"], concepts: Int[Tensor, "image attribute"]
) -> Float64[Tensor, " image"]:
    """The correctness that each text would have, in expectation, with the image of *another* text: the base rate.

    For text i the mean over the attributes k that it specifies of the fraction, among the images j other than i whose
    attribute k is scored, of [predicted_jk = y_ik]. Where most attributes are absent from most images this is high, as
    on CelebA, and a correctness says something only beside it.

    Args:
        predictions: the classifier's value of each attribute in the image of each text; -1 where it is not scored.
        concepts: the value each text gives; -1 where an attribute is not mentioned.

    Returns:
        A fraction a text; nan where nothing that is mentioned is scored in another image.

    Raises:
        ValueError: the shapes disagree, or the values are not indices.

    >>> agreement_by_chance(torch.tensor([[1], [1], [0]]), torch.tensor([[1], [0], [0]]))
    tensor([0.5000, 0.5000, 0.0000], dtype=torch.float64)
    """
    predictions = as_indices(predictions, "predictions", "[image, attribute]")
    concepts = as_indices(concepts, "concepts", "[image, attribute]")
    if predictions.shape != concepts.shape:
        raise ValueError(
            "predictions and concepts are [image, attribute] both: "
            f"got {tuple(predictions.shape)} and {tuple(concepts.shape)}"
        )
    fractions = torch.zeros(concepts.shape, dtype=torch.float64, device=concepts.device)
    counted = torch.zeros_like(fractions, dtype=torch.bool)
    for k in range(concepts.shape[1] if len(concepts) else 0):
        shown, told = predictions[:, k], concepts[:, k]
        scored = shown != NOT_SCORED
        counts = torch.bincount(shown[scored], minlength=1 + int(told.max().clamp(min=0)))
        others = scored.sum() - scored.long()
        matching = counts[told.clamp(min=0)] - (scored & (shown == told)).long()
        fractions[:, k] = matching / others.clamp(min=1)
        counted[:, k] = (told != UNSPECIFIED) & (others > 0)
    return mean_where(fractions, counted)
