"""Captions: concepts rendered as sequences of words, and read back.

A caption says what a concept says, or less: an attribute that no word speaks of is unspecified to its reader.

Shapes: B caption, A attribute, W word.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from .concepts import UNSPECIFIED, Schema
from .data.rendering import counter
from .specs.seeds import derive_seed

BLANK = 0
"""The index of the blank word, with which captions are filled up at their end."""


class Captions(ABC):
    """How the concepts of a schema are said in words.

    Attributes:
        schema: Of the concepts.
        vocabulary: The words; the first is the blank word.
        max_words: W, the length of every caption, blanks included.
    """

    def __init__(self, schema: Schema, *, vocabulary: Sequence[str], max_words: int) -> None:
        if len(set(vocabulary)) != len(vocabulary):
            raise ValueError(f"the words of a vocabulary must differ, got {vocabulary}")
        if max_words < 1:
            raise ValueError(f"a caption has one or more words, got max_words={max_words}")
        self.schema, self.vocabulary, self.max_words = schema, tuple(vocabulary), max_words
        self.token_of = {word: token for token, word in enumerate(self.vocabulary)}

    @abstractmethod
    def render(self, concepts: Tensor, *, index: Tensor, seed: int) -> Tensor:
        """The captions of concepts: Long[B, A] to Long[B, W].

        Args:
            concepts: Long[B, A], value indices.
            index: Long[B], the number of each example; what a caption leaves to chance is fixed by it and ``seed``.
            seed: Of the captions.
        """

    @abstractmethod
    def parse(self, tokens: Tensor) -> Tensor:
        """What captions say: Long[B, W] to Long[B, A], -1 where they say nothing.

        Raises:
            ValueError: for a token outside the vocabulary, or a text that no concept is rendered to.
        """

    def text(self, tokens: Iterable[int] | Tensor) -> str:
        """The words of one caption, Long[W], without its blanks."""
        row = torch.as_tensor(list(tokens), dtype=torch.long)
        self.check(row[None])
        return " ".join(self.vocabulary[token] for token in row.tolist() if token != BLANK)

    def tokens(self, text: str) -> Tensor:
        """The inverse of :meth:`text`: words with spaces between to Long[W], filled up with blanks.

        Raises:
            ValueError: for a word outside the vocabulary, or more words than a caption has.
        """
        words = text.split()
        unknown = [word for word in words if word not in self.token_of]
        if unknown:
            raise ValueError(f"not in the vocabulary: {', '.join(unknown)}; words: {', '.join(self.vocabulary[1:])}")
        if len(words) > self.max_words:
            raise ValueError(f"a caption has at most {self.max_words} words, got {len(words)}: {text!r}")
        row = [self.token_of[word] for word in words]
        return torch.tensor(row + [BLANK] * (self.max_words - len(row)))

    def check(self, tokens: Tensor) -> None:
        """Raises ValueError unless ``tokens`` is Long[B, W] with every token in the vocabulary."""
        if tokens.ndim != 2 or tokens.shape[1] != self.max_words or tokens.is_floating_point():
            raise ValueError(f"captions are Long[B, {self.max_words}], got {tokens.dtype} {list(tokens.shape)}")
        outside = (tokens < 0) | (tokens >= len(self.vocabulary))
        if outside.any():
            row, last = int(outside.nonzero()[0, 0]), len(self.vocabulary) - 1
            raise ValueError(f"caption {row} holds token {int(tokens[outside][0])}: the vocabulary has 0 to {last}")


def caption_uniforms(index: Tensor, num: int, *, seed: int) -> Tensor:
    """Uniform numbers in (0, 1) for what captions leave to chance: Double[B, num], a function of (seed, index) alone.

    Args:
        index: Long[B].
        num: Numbers a caption.
        seed: Of the captions.
    """
    return counter.uniform(counter.keys(derive_seed("captions", seed=seed), index), num)


class PresenceCaptions(Captions):
    """The names of the binary attributes that are present, in random order (Cremer and Kushman 2018, section 5.2).

    Absence is not said: an absent attribute leaves no word, and its reader counts it as unspecified. Only the
    attributes of ``opposites`` have a word for their absence. Where there are more words than ``max_words``, those
    that come last in the random order are left out.

    Args:
        schema: Binary attributes; value 1 means present.
        opposites: The word for the absence of an attribute, by the attribute's name.
        max_words: The length of a caption.

    >>> from mmvae_bench.concepts import Attribute
    >>> schema = Schema((Attribute("Bald", ("no", "yes")), Attribute("Male", ("no", "yes"))))
    >>> captions = PresenceCaptions(schema, opposites={"Male": "Female"}, max_words=3)
    >>> captions.vocabulary
    ('-', 'Bald', 'Male', 'Female')
    >>> captions.text(captions.render(torch.tensor([[0, 0]]), index=torch.tensor([7]), seed=0)[0])
    'Female'
    >>> captions.parse(captions.tokens("Female")[None]).tolist()
    [[-1, 0]]
    """

    def __init__(self, schema: Schema, *, opposites: Mapping[str, str], max_words: int) -> None:
        if any(size != 2 for size in schema.sizes) or not opposites.keys() <= set(schema.names):
            raise ValueError(f"binary attributes {schema.names}, among them those of opposites {list(opposites)}")
        super().__init__(schema, vocabulary=("-", *schema.names, *opposites.values()), max_words=max_words)
        # What each word but the blank says: value `_value` of attribute `_attribute`.
        said = [(name, 1) for name in schema.names] + [(name, 0) for name in opposites]
        self._attribute = torch.tensor([schema.names.index(name) for name, _ in said])
        self._value = torch.tensor([value for _, value in said])

    def render(self, concepts: Tensor, *, index: Tensor, seed: int) -> Tensor:
        """See :meth:`Captions.render`. Unspecified attributes leave no word either."""
        self.schema.check(concepts)
        true = concepts.cpu()[:, self._attribute] == self._value
        order = caption_uniforms(index.cpu(), true.shape[1], seed=seed)
        # The words that are true come first, in random order; blanks take the places of the others.
        chosen = order.masked_fill(~true, 2.0).argsort(1)
        tokens = torch.where(true.gather(1, chosen), chosen + 1, BLANK)
        filled = torch.nn.functional.pad(tokens, (0, max(0, self.max_words - tokens.shape[1])), value=BLANK)
        return filled[:, : self.max_words].to(concepts.device)

    def parse(self, tokens: Tensor) -> Tensor:
        """See :meth:`Captions.parse`. Impossible: a word after a blank, or two words about one attribute."""
        self.check(tokens)
        words = tokens.cpu()
        blank = words == BLANK
        gap = (blank[:, :-1] & ~blank[:, 1:]).any(1)
        about = torch.nn.functional.one_hot(self._attribute[(words - 1).clamp(min=0)], len(self.schema))
        about = about * ~blank[..., None]
        for row in (gap | (about.sum(1) > 1).any(1)).nonzero()[:, 0].tolist():
            reason = "a word stands after a blank" if gap[row] else "two words speak of one attribute"
            raise ValueError(f"caption {row} is impossible, {reason}: {[self.vocabulary[t] for t in words[row]]}")
        values = torch.where(blank, 0, self._value[(words - 1).clamp(min=0)])
        said = (about * values[..., None]).sum(1)
        return said.masked_fill(about.sum(1) == 0, UNSPECIFIED).to(tokens.device)
