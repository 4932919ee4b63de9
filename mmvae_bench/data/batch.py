"""What a training step sees, and the stores of images that batches are taken from.

Shapes: B batch, C channel, H height, W width, A attribute, N image, M mask, T word of a caption,
F continuous factor.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from ..concepts.captions import CAPTION_SEED, Captions
from .graph import Graph


@dataclass
class Batch:
    """What a training step sees.

    Attributes:
        image: Float[B, C, H, W] in [0, 1].
        concept: Long[B, A], value indices; -1 where an image has no label (only in semi-supervised training).
        index: Long[B], row in the dataset.
        mask: Bool[B, M, H, W], foreground masks; None if the dataset has none.
        tokens: Long[B, T], captions; None outside the text view.
        unlabelled: Whether labels of all images were hidden: known without a look at ``concept``, for which a step
            would have to wait for the GPU.
        imageless: Whether the images are missing, and black in their place.
        graph: The graph whose nodes these are, all of them and in order; None of images.
        strength: Float[B, A], a real-valued score of each attribute, all of which are binary: above 0 exactly where the
            concept has the second value; -1 and 1 are the values themselves, the scores between and beyond lie on the
            line through them. None if the dataset has none, or labels were hidden.
        weights: Float[B, V], the scores as weights of all V values, see :mod:`.strengths`; None outside of the view of
            strengths.
        factors: Float[B, F], continuous factors that belong to the labels, such as the direction of a light; None if
            the dataset has none, or labels are hidden.
    """

    image: Tensor
    concept: Tensor
    index: Tensor
    mask: Tensor | None = None
    tokens: Tensor | None = None
    unlabelled: bool = False
    imageless: bool = False
    graph: Graph | None = None
    strength: Tensor | None = None
    weights: Tensor | None = None
    factors: Tensor | None = None

    def __len__(self) -> int:
        return len(self.index)

    @property
    def description(self) -> Tensor:
        """What y is: the captions, Long[B, T], in the text view; the scores, as weights of values, Float[B, V], in that
        of strengths; else the concepts, Long[B, A]."""
        if self.weights is not None:
            return self.weights
        return self.concept if self.tokens is None else self.tokens

    @property
    def known_image(self) -> Tensor | None:
        """The images; None if they are missing."""
        return None if self.imageless else self.image

    @property
    def lacks_labels(self) -> bool:
        """Whether labels are missing: as who hid them says, or as ``concept`` does where looking makes no step wait."""
        return self.unlabelled or (not self.concept.is_cuda and bool((self.concept < 0).any()))

    def to(self, device: torch.device | str) -> Batch:
        """The batch on another device."""
        moved: dict[str, Any] = {
            field.name: part.to(device)
            for field in fields(self)
            if isinstance(part := getattr(self, field.name), Tensor)
        }
        return replace(self, **moved)


@dataclass
class KnownBatch(Batch):
    """A batch of which it is known whether labels are missing: for code that must not look at its tensors.

    Attributes:
        lacking: What :attr:`lacks_labels` says.
    """

    lacking: bool = False

    @classmethod
    def of(cls, batch: Batch) -> KnownBatch:
        """A batch, after one look at it."""
        return cls(**{part.name: getattr(batch, part.name) for part in fields(Batch)}, lacking=batch.lacks_labels)

    @property
    def lacks_labels(self) -> bool:
        return self.lacking


class ImageStore(Protocol):
    """A fixed set of images with their concepts, resident on one device."""

    concepts: Tensor
    """Long[N, A]."""

    def __len__(self) -> int: ...

    def batch(self, rows: Tensor) -> Batch:
        """The images of ``rows`` (Long[B])."""

    def to(self, device: torch.device | str) -> ImageStore:
        """The store on another device."""


class CaptionedStore:
    """A store whose batches hold the captions of their images: one per image, fixed by its number.

    Args:
        store: The images and their concepts.
        captions: How a concept is rendered.
        tokens: Long[N, T], if they are already rendered.
    """

    def __init__(self, store: ImageStore, captions: Captions, *, tokens: Tensor | None = None) -> None:
        self.store, self.captions = store, captions
        self.concepts = store.concepts
        if tokens is None:
            index = torch.arange(len(store), device=self.concepts.device)
            tokens = captions.render(self.concepts, index=index, seed=CAPTION_SEED)
        self.tokens = tokens

    def __len__(self) -> int:
        return len(self.store)

    def batch(self, rows: Tensor) -> Batch:
        """The images of ``rows`` (Long[B]) with their concepts and captions."""
        return replace(self.store.batch(rows), tokens=self.tokens[rows.to(self.tokens.device)])

    def to(self, device: torch.device | str) -> CaptionedStore:
        """The store on another device; itself if it is already there."""
        store = self.store.to(device)
        return self if store is self.store else CaptionedStore(store, self.captions, tokens=self.tokens.to(device))


class FactoredStore:
    """A store whose batches hold continuous factors of their images beside the concepts.

    Args:
        store: The images and their concepts.
        factors: Float[N, F], on the device of the store.
    """

    def __init__(self, store: ImageStore, factors: Tensor) -> None:
        self.store, self.factors, self.concepts = store, factors, store.concepts

    def __len__(self) -> int:
        return len(self.store)

    def batch(self, rows: Tensor) -> Batch:
        """The images of ``rows`` (Long[B]) with their concepts and factors."""
        return replace(self.store.batch(rows), factors=self.factors[rows.to(self.factors.device)])

    def to(self, device: torch.device | str) -> FactoredStore:
        """The store on another device; itself if it is already there."""
        store = self.store.to(device)
        return self if store is self.store else FactoredStore(store, self.factors.to(device))
