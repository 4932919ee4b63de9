"""The view of strengths: y is a real-valued score of each binary attribute, given to networks as weights of its values.

A score s is the pair of weights ``(1 - s) / 2`` of the first value and ``(1 + s) / 2`` of the second: linear in s, with
sum 1, and at s = -1 and s = 1 the value itself, so that a score and an index pass through the same networks. Scores
beyond -1 and 1 have a negative weight, and lie on the line through the two values.

The alternative was a layer from A scores to features, as in the authors' code. It computes the same functions: what the
weights reach first is linear, so that ``W_0 (1 - s) / 2 + W_1 (1 + s) / 2 + b`` is affine in s. But it would be another
network, with other initial weights and checkpoints, than the one that is told values; it could not be asked a value, as
every query does; and an attribute of three values would need a case of its own.

Shapes: B batch, A attribute, V value of any attribute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeGuard

import torch
from torch import Tensor

from ..base.errors import ConfigError
from .batch import Batch, ImageStore


def value_weights(strength: Tensor) -> Tensor:
    """The weights of all values for scores of binary attributes: Float[B, A] to Float[B, 2 A].

    >>> value_weights(torch.tensor([[-1.0, 0.5, 3.0]])).tolist()
    [[1.0, 0.0, 0.25, 0.75, -1.0, 2.0]]
    """
    return torch.stack([(1 - strength) / 2, (1 + strength) / 2], -1).flatten(-2)


def is_weights(concept: object, sizes: Sequence[int]) -> TypeGuard[Tensor]:
    """Whether something is weights of all values, Float[..., V], and not a concept.

    Args:
        concept: Anything.
        sizes: The number of values of each attribute.
    """
    return isinstance(concept, Tensor) and concept.is_floating_point() and concept.shape[-1:] == (sum(sizes),)


def is_complete(description: Tensor) -> bool:
    """Whether y leaves nothing open: concepts and captions do where they are -1, weights of values never."""
    return description.is_floating_point() or bool((description >= 0).all())


def check_weights(concept: object, sizes: Sequence[int]) -> None:
    """Raises ConfigError for numbers that are no weights of all values: such as scores, or weights that are not finite.

    Args:
        concept: Anything.
        sizes: The number of values of each attribute.
    """
    if not isinstance(concept, Tensor) or not concept.is_floating_point():
        return
    if not is_weights(concept, sizes):
        raise ConfigError(
            "concepts must contain integers; scores are given as the weights of all values, "
            f"mmvae_bench.data.strengths.value_weights(scores), Float[..., {sum(sizes)}]; got "
            f"Float{list(concept.shape)}"
        )
    if not bool(concept.isfinite().all()):
        raise ConfigError(f"a weight is {concept[~concept.isfinite()][0].item()}: weights must be finite")


class ScoredStore:
    """A store in whose batches y is the scores.

    Args:
        store: Its batches have ``strength``.
    """

    def __init__(self, store: ImageStore) -> None:
        self.store, self.concepts = store, store.concepts

    def __len__(self) -> int:
        return len(self.store)

    def batch(self, rows: Tensor) -> Batch:
        """The images of ``rows`` (Long[B]), with weights made of their scores."""
        batch = self.store.batch(rows)
        assert batch.strength is not None, "the grid refuses datasets without strengths"
        return replace(batch, weights=value_weights(batch.strength))

    def to(self, device: torch.device | str) -> ScoredStore:
        """The store on another device; itself if it is already there."""
        store = self.store.to(device)
        return self if store is self.store else ScoredStore(store)
