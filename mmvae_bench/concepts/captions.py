"""Captions: concepts rendered as sequences of words, and read back.

A caption says what a concept says, or less: an attribute that no word mentions is unspecified for its reader. Texts are
checked together with configurations, so torch is imported only inside the functions that take or return tensors.

Shapes: B caption, A attribute, W word.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from ..base.errors import ConfigError, Problem, nearest
from ..base.seeds import derive_seed
from .concepts import UNSPECIFIED, Schema, specified

if TYPE_CHECKING:
    from torch import Tensor

BLANK = 0
"""The index of the blank word, which pads captions at their end."""
CAPTION_SEED = 0
"""Seed of the captions of a dataset's images: one caption per image, fixed by its number."""


class Captions(ABC):
    """How the concepts of a schema are rendered as words.

    Attributes:
        schema: Schema of the concepts.
        vocabulary: The words; the first is the blank word.
        max_words: W, the length of every caption, blanks included.
        levels: The numbers of specified attributes for which a caption can express the whole concept.
    """

    def __init__(
        self, schema: Schema, *, vocabulary: Sequence[str], max_words: int, levels: Sequence[int] | None = None
    ) -> None:
        if len(set(vocabulary)) != len(vocabulary):
            raise ValueError(f"the words of a vocabulary must differ, got {vocabulary}")
        if max_words < 1:
            raise ValueError(f"max_words must be at least 1, got {max_words}")
        self.schema, self.vocabulary, self.max_words = schema, tuple(vocabulary), max_words
        self.levels = tuple(range(1, min(max_words, len(schema)) + 1) if levels is None else levels)
        self.token_of = {word: token for token, word in enumerate(self.vocabulary)}

    @abstractmethod
    def render(self, concepts: Tensor, *, index: Tensor, seed: int) -> Tensor:
        """The captions of concepts: Long[B, A] to Long[B, W].

        Args:
            concepts: Long[B, A], value indices.
            index: Long[B], the number of each example; the random part of a caption is fixed by it and ``seed``.
            seed: Seed of the captions.
        """

    @abstractmethod
    def parse(self, tokens: Tensor) -> Tensor:
        """What captions say: Long[B, W] to Long[B, A], -1 where they say nothing.

        Raises:
            ValueError: for a token outside the vocabulary, or a text that no concept is rendered to.
        """

    @abstractmethod
    def parse_leniently(self, tokens: Tensor) -> Tensor:
        """:meth:`parse` for captions that a model wrote.

        An attribute about which a caption contradicts itself, or has a meaningless word in its place, is unspecified.
        For captions that :meth:`parse` accepts, the result is the same.

        Raises:
            ValueError: for a token outside the vocabulary.
        """

    @property
    def word_names(self) -> tuple[str, ...]:
        """The name of the word in each place: its number, unless the place has a meaning."""
        return tuple(f"word {number}" for number in range(1, self.max_words + 1))

    def sayable(self, concepts: Tensor) -> Tensor:
        """Which of the specified values have a word: Long[B, A] to Bool[B, A]."""
        return specified(concepts)

    def require_sayable(self, concepts: Tensor) -> None:
        """Raises ConfigError, naming what is missing or has no word, unless captions can express all of the concepts.

        Args:
            concepts: Long[B, A], -1 where unspecified.
        """
        self.schema.check(concepts)
        unsaid = specified(concepts) & ~self.sayable(concepts)
        for row, k in unsaid.nonzero().tolist():
            attribute = self.schema.attributes[k]
            value = attribute.values[int(concepts[row, k])]
            message = f"captions have no word for {attribute.name}={value}: leave {attribute.name} unspecified"
            raise ConfigError([Problem(message, value=self.schema.format(concepts[row].tolist()))])

    def text(self, tokens: Iterable[int] | Tensor) -> str:
        """The words of one caption, Long[W], without its blanks."""
        return " ".join(self.vocabulary[token] for token in self._row(tokens) if token != BLANK)

    def indices(self, text: str) -> list[int]:
        """The inverse of :meth:`text`: words separated by spaces to W tokens, padded with blanks.

        Raises:
            ConfigError: for words outside the vocabulary, or more words than a caption has.
        """
        words = text.split()
        choices = self.vocabulary[1:]
        problems = [
            Problem(f"not in the vocabulary: {word}", choices=choices, near=nearest(word, choices))
            for word in dict.fromkeys(words)
            if word not in self.token_of
        ]
        if len(words) > self.max_words:
            problems.append(Problem(f"a caption has at most {self.max_words} words, got {len(words)}"))
        if problems:
            raise ConfigError(problems, f"caption {text!r}")
        return [self.token_of[word] for word in words] + [BLANK] * (self.max_words - len(words))

    def tokens(self, text: str) -> Tensor:
        """:meth:`indices` as Long[W]."""
        import torch

        return torch.tensor(self.indices(text), dtype=torch.long)

    def check(self, tokens: Tensor) -> None:
        """Raises ValueError unless ``tokens`` is Long[B, W] with every token in the vocabulary."""
        if tokens.ndim != 2 or tokens.shape[1] != self.max_words or tokens.is_floating_point():
            raise ValueError(f"captions must be Long[B, {self.max_words}], got {tokens.dtype} {list(tokens.shape)}")
        outside = (tokens < 0) | (tokens >= len(self.vocabulary))
        if outside.any():
            row, last = int(outside.nonzero()[0, 0]), len(self.vocabulary) - 1
            raise ValueError(f"caption {row} contains token {int(tokens[outside][0])}: the vocabulary has 0 to {last}")

    def _row(self, tokens: Iterable[int] | Tensor) -> list[int]:
        import torch

        row = torch.as_tensor(list(tokens), dtype=torch.long)
        self.check(row[None])
        found: list[int] = row.tolist()
        return found


def caption_uniforms(index: Tensor, num: int, *, seed: int) -> Tensor:
    """Uniform numbers in (0, 1) for the random part of captions: Double[B, num], a function of (seed, index) alone.

    Args:
        index: Long[B].
        num: Numbers per caption.
        seed: Seed of the captions.
    """
    from ..base import randomness

    return randomness.uniform(randomness.keys(derive_seed("captions", seed=seed), index), num)


class PresenceCaptions(Captions):
    """The names of the binary attributes that are present, in random order (Cremer and Kushman 2018, section 5.2).

    Absence is not mentioned: an absent attribute gets no word, and counts as unspecified to a reader. Only the
    attributes of ``opposites`` have a word for their absence. Where there are more words than ``max_words``, those
    that come last in the random order are left out.

    Args:
        schema: Binary attributes; value 1 means present.
        opposites: The word for the absence of an attribute, by the attribute's name.
        max_words: The length of a caption.

    >>> from mmvae_bench.concepts import Attribute
    >>> import torch
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
            raise ValueError(
                f"expected binary attributes, with opposites of some of them, got {schema.names} and {list(opposites)}"
            )
        super().__init__(schema, vocabulary=("-", *schema.names, *opposites.values()), max_words=max_words)
        # What each word but the blank says: value `_value` of attribute `_attribute`.
        self._said = [(schema.names.index(name), 1) for name in schema.names]
        self._said += [(schema.names.index(name), 0) for name in opposites]

    @cached_property
    def _attribute(self) -> Tensor:
        import torch

        return torch.tensor([attribute for attribute, _ in self._said])

    @cached_property
    def _value(self) -> Tensor:
        import torch

        return torch.tensor([value for _, value in self._said])

    def render(self, concepts: Tensor, *, index: Tensor, seed: int) -> Tensor:
        """See :meth:`Captions.render`. Unspecified attributes get no word either."""
        import torch

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
        repeated = (self._num_saying(words).sum(-1) > 1).any(1)
        for row in (gap | repeated).nonzero()[:, 0].tolist():
            reason = "a word follows a blank" if gap[row] else "two words refer to the same attribute"
            raise ValueError(f"caption {row} is impossible, {reason}: {[self.vocabulary[t] for t in words[row]]}")
        return self.parse_leniently(tokens)

    def parse_leniently(self, tokens: Tensor) -> Tensor:
        """See :meth:`Captions.parse_leniently`. A word counts in any place, unless its opposite occurs too."""
        import torch

        self.check(tokens)
        absent, present = self._num_saying(tokens.cpu()).bool().unbind(-1)
        said = torch.where(present, 1, 0).masked_fill(absent == present, UNSPECIFIED)
        return said.to(tokens.device)

    def sayable(self, concepts: Tensor) -> Tensor:
        """See :meth:`Captions.sayable`: presence, and the absence of what has an opposite."""
        import torch

        words = torch.zeros(len(self.schema), 2, dtype=torch.bool)
        words[self._attribute, self._value] = True
        columns = torch.arange(len(self.schema))
        said = words[columns, concepts.cpu().clamp_min(0)].to(concepts.device)
        return said & specified(concepts)

    def require_sayable(self, concepts: Tensor) -> None:
        """See :meth:`Captions.require_sayable`."""
        super().require_sayable(concepts)
        most = int(specified(concepts).sum(-1).max()) if len(concepts) else 0
        if most > self.max_words:
            raise ConfigError(
                f"a caption has at most {self.max_words} words: specify at most that many attributes, not {most}"
            )

    def _num_saying(self, words: Tensor) -> Tensor:
        """How many words say each value of each attribute: Long[B, W] to Long[B, A, 2], on the CPU."""
        import torch

        counts = torch.zeros(len(words), len(self.vocabulary), dtype=torch.long)
        counts.scatter_add_(1, words, torch.ones_like(words))
        saying = torch.zeros(len(words), len(self.schema), 2, dtype=torch.long)
        saying[:, self._attribute, self._value] = counts[:, 1:]
        return saying


class SlotCaptions(Captions):
    """The name of each attribute's value, in the order of the schema; the blank word where it is unspecified.

    A concept has one caption, so nothing is random. The same word may name the values of several attributes:
    its place says which one. Only whole concepts have a full caption: a model of whole captions has never read a blank.

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
        """The attribute that each place is about."""
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
        """See :meth:`Captions.parse_leniently`. A word in a place where it has no meaning is ignored."""
        return self._read(tokens).clamp_min(UNSPECIFIED)

    def require_sayable(self, concepts: Tensor) -> None:
        """See :meth:`Captions.require_sayable`: a caption names every attribute."""
        super().require_sayable(concepts)
        missing = (~specified(concepts)).any(0).tolist()
        names = [name for name, absent in zip(self.schema.names, missing, strict=True) if absent]
        if names:
            raise ConfigError(
                f"a caption names every attribute, but this concept leaves some unspecified: specify {', '.join(names)}"
            )

    def text(self, tokens: Iterable[int] | Tensor) -> str:
        """The words of one caption, Long[W], its blanks included: a word's place has a meaning."""
        return " ".join(self.vocabulary[token] for token in self._row(tokens))

    def _read(self, tokens: Tensor) -> Tensor:
        import torch

        self.check(tokens)
        return self._value[torch.arange(len(self.schema)), tokens.cpu()].to(tokens.device)
