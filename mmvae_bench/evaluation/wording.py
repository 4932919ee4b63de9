"""What captions say about concepts, and what they leave unsaid.

Shapes: N text, A attribute.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..base.errors import BenchmarkError
from ..concepts import UNSPECIFIED
from ..concepts.captions import Captions
from ..specs.components import DatasetSpec


@dataclass(frozen=True)
class Wording:
    """What the captions of a dataset do not mention: on CelebA the absence of every attribute except Male.

    Attributes:
        captions: None if a dataset has none: then everything is mentioned.
    """

    captions: Captions | None

    @classmethod
    def of(cls, spec: DatasetSpec) -> Wording:
        """The wording of a dataset's captions."""
        try:
            return cls(spec.captions())
        except BenchmarkError:
            return cls(None)

    @property
    def silent(self) -> bool:
        """Whether a caption says less than its concept."""
        return self.captions is not None and bool((self._absent == UNSPECIFIED).any())

    @property
    def _absent(self) -> Tensor:
        """Long[A]: what the caption says about the concept whose attributes all have the first value."""
        assert self.captions is not None
        return self.said(torch.zeros(1, len(self.captions.schema), dtype=torch.long))[0]

    def said(self, concepts: Tensor) -> Tensor:
        """What captions say about concepts: Long[N, A], -1 where they say nothing."""
        if self.captions is None:
            return concepts
        # A caption holds a limited number of words: which ones it loses is random, and fixed by the number of the text.
        return self.captions.parse(self.captions.render(concepts, index=torch.arange(len(concepts)), seed=0))

    def completed(self, texts: Tensor) -> Tensor:
        """Texts with every unsaid absence filled in, so that absences count: Long[N, A]."""
        if not self.silent:
            return texts
        unsaid = (texts == UNSPECIFIED) & (self._absent == UNSPECIFIED)
        return texts.masked_fill(unsaid, 0)
