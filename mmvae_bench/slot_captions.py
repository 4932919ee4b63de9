"""Captions with a word for each attribute, in order.

Shapes: B caption, A attribute, W word (here W = A).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from .captions import BLANK, Captions
from .concepts import UNSPECIFIED, Schema


class SlotCaptions(Captions):
    """The name of each attribute's value, in the order of the schema; the blank word where it is unspecified.

    A concept has one caption, so nothing is left to chance. The same word may name the values of several attributes:
    its place tells of which.

    >>> from mmvae_bench.concepts import Attribute
    >>> sizes = ("small", "large")
    >>> captions = SlotCaptions(Schema((Attribute("size_1", sizes), Attribute("size_2", sizes))))
    >>> captions.vocabulary
    ('<blank>', 'small', 'large')
    >>> captions.text(captions.render(torch.tensor([[-1, 1]]), index=torch.tensor([0]), seed=0)[0])
    '<blank> large'
    """

    def __init__(self, schema: Schema) -> None:
        words = dict.fromkeys(value for attribute in schema.attributes for value in attribute.values)
        super().__init__(schema, vocabulary=("<blank>", *words), max_words=len(schema))
        # The token of each value, and the value of each token (-2: none of this attribute).
        self._token = torch.full((len(schema), max(schema.sizes) + 1), BLANK)
        self._value = torch.full((len(schema), len(self.vocabulary)), -2)
        self._value[:, BLANK] = UNSPECIFIED
        for position, attribute in enumerate(schema.attributes):
            tokens = torch.tensor([self.token_of[value] for value in attribute.values])
            self._token[position, 1 : len(tokens) + 1] = tokens
            self._value[position, tokens] = torch.arange(len(tokens))

    def render(self, concepts: Tensor, *, index: Tensor, seed: int) -> Tensor:
        """See :meth:`Captions.render`."""
        self.schema.check(concepts)
        return self._token[torch.arange(len(self.schema)), concepts.cpu() + 1].to(concepts.device)

    def parse(self, tokens: Tensor) -> Tensor:
        """See :meth:`Captions.parse`. Impossible: a word in the place of an attribute that has no such value."""
        self.check(tokens)
        concepts = self._value[torch.arange(len(self.schema)), tokens.cpu()]
        misplaced = (concepts < UNSPECIFIED).nonzero()
        if len(misplaced):
            row, position = misplaced[0].tolist()
            attribute, word = self.schema.attributes[position], self.vocabulary[int(tokens[row, position])]
            raise ValueError(
                f"caption {row} is impossible, word {position + 1} is {word!r} and names {attribute.name}: "
                f"{', '.join(attribute.values)}"
            )
        return concepts.to(tokens.device)

    def text(self, tokens: Iterable[int] | Tensor) -> str:
        """The words of one caption, Long[W], its blanks included: a word's place has a meaning."""
        row = torch.as_tensor(list(tokens), dtype=torch.long)
        self.check(row[None])
        return " ".join(self.vocabulary[token] for token in row.tolist())
