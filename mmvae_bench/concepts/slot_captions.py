"""Captions with a word for each attribute, in order.

Shapes: B caption, A attribute, W word (here W = A).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from ..base.errors import ConfigError
from .captions import BLANK, Captions
from .concepts import UNSPECIFIED, Schema, specified

if TYPE_CHECKING:
    from torch import Tensor


class SlotCaptions(Captions):
    """The name of each attribute's value, in the order of the schema; the blank word where it is unspecified.

    A concept has one caption, so nothing is left to chance. The same word may name the values of several attributes:
    its place tells of which. Only whole concepts are said in full: a blank is no word that a model of whole captions
    has read.

    >>> from mmvae_bench.concepts import Attribute
    >>> import torch
    >>> sizes = ("small", "large")
    >>> captions = SlotCaptions(Schema((Attribute("size_1", sizes), Attribute("size_2", sizes))))
    >>> captions.vocabulary
    ('<blank>', 'small', 'large')
    >>> captions.text(captions.render(torch.tensor([[-1, 1]]), index=torch.tensor([0]), seed=0)[0])
    '<blank> large'
    """

    def __init__(self, schema: Schema) -> None:
        words = dict.fromkeys(value for attribute in schema.attributes for value in attribute.values)
        super().__init__(schema, vocabulary=("<blank>", *words), max_words=len(schema), levels=(len(schema),))

    @property
    def word_names(self) -> tuple[str, ...]:
        """The attribute that each place speaks of."""
        return self.schema.names

    @cached_property
    def _token(self) -> Tensor:
        """The token of each value of each attribute, after that of its being unspecified."""
        import torch

        table = torch.full((len(self.schema), max(self.schema.sizes) + 1), BLANK)
        for position, attribute in enumerate(self.schema.attributes):
            tokens = torch.tensor([self.token_of[value] for value in attribute.values])
            table[position, 1 : len(tokens) + 1] = tokens
        return table

    @cached_property
    def _value(self) -> Tensor:
        """The value of each attribute that each token names; -2: none."""
        import torch

        table = torch.full((len(self.schema), len(self.vocabulary)), -2)
        table[:, BLANK] = UNSPECIFIED
        for position, attribute in enumerate(self.schema.attributes):
            tokens = torch.tensor([self.token_of[value] for value in attribute.values])
            table[position, tokens] = torch.arange(len(tokens))
        return table

    def render(self, concepts: Tensor, *, index: Tensor, seed: int) -> Tensor:
        """See :meth:`Captions.render`."""
        import torch

        self.schema.check(concepts)
        return self._token[torch.arange(len(self.schema)), concepts.cpu() + 1].to(concepts.device)

    def parse(self, tokens: Tensor) -> Tensor:
        """See :meth:`Captions.parse`. Impossible: a word in the place of an attribute that has no such value."""
        concepts = self._read(tokens)
        misplaced = (concepts < UNSPECIFIED).nonzero()
        if len(misplaced):
            row, position = misplaced[0].tolist()
            attribute, word = self.schema.attributes[position], self.vocabulary[int(tokens[row, position])]
            raise ValueError(
                f"caption {row} is impossible, word {position + 1} is {word!r} and names {attribute.name}: "
                f"{', '.join(attribute.values)}"
            )
        return concepts

    def parse_leniently(self, tokens: Tensor) -> Tensor:
        """See :meth:`Captions.parse_leniently`. A word in a place where it names nothing is passed over."""
        return self._read(tokens).clamp_min(UNSPECIFIED)

    def require_sayable(self, concepts: Tensor) -> None:
        """See :meth:`Captions.require_sayable`: a caption names every attribute."""
        super().require_sayable(concepts)
        missing = (~specified(concepts)).any(0).tolist()
        names = [name for name, absent in zip(self.schema.names, missing, strict=True) if absent]
        if names:
            raise ConfigError(
                f"a caption names every attribute, and this concept leaves some open: give {', '.join(names)}"
            )

    def text(self, tokens: Iterable[int] | Tensor) -> str:
        """The words of one caption, Long[W], its blanks included: a word's place has a meaning."""
        return " ".join(self.vocabulary[token] for token in self._row(tokens))

    def _read(self, tokens: Tensor) -> Tensor:
        import torch

        self.check(tokens)
        return self._value[torch.arange(len(self.schema)), tokens.cpu()].to(tokens.device)
