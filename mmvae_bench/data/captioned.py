"""The text view of a dataset: a caption beside every image.

Shapes: N image, B batch, T word of a caption.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..concepts.captions import CAPTION_SEED, Captions

if TYPE_CHECKING:
    from .base import Batch, ImageStore


class CaptionedStore:
    """A store whose batches hold the captions of their images: one an image, fixed by its number.

    Args:
        store: The images and their concepts.
        captions: How a concept is said.
        tokens: Long[N, T], where they were rendered already.
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
        """The store on another device; itself where it is there already."""
        store = self.store.to(device)
        return self if store is self.store else CaptionedStore(store, self.captions, tokens=self.tokens.to(device))
