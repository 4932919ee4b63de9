"""The distribution over captions that a decoder of texts returns.

Shapes: S sample, B batch, C context feature, W word, V word of the vocabulary, H state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

import torch
from einops import pack, unpack
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from ..concepts.captions import BLANK

START = -1
"""Marks the place before the first word."""


class NextWords(Protocol):
    """The conditionals p(y_t | y_<t, c) of a text."""

    def __call__(self, context: Tensor, before: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Reads words one after the other, and predicts the next one after each.

        Args:
            context: c, Float[B, C].
            before: Long[B, n], the preceding words; ``START`` where there is none yet.
            state: Float[B, H], after all earlier words; None: nothing has been read yet.

        Returns:
            Logits of the next word after each, Float[B, n, V], and the state after the last, Float[B, H].
        """


class AutoregressiveText(Distribution):
    """``p(y) = prod_t p(y_t | y_1 .. y_(t-1))`` over captions of W words, up to and including the first blank.

    The first blank ends a text: its probability counts, and after it everything is blank with probability one. So the
    probabilities of all sequences of W tokens sum to one, and those with a word after a blank have probability zero.

    Args:
        next_words: The conditionals.
        context: Float[..., C].
        max_words: W.
        num_words: V.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(
        self,
        next_words: NextWords,
        context: Tensor,
        *,
        max_words: int,
        num_words: int,
        validate_args: bool | None = None,
    ) -> None:
        self.next_words, self.context, self.num_words = next_words, context, num_words
        super().__init__(context.shape[:-1], torch.Size([max_words]), validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """Sequences of tokens of the vocabulary."""
        return constraints.independent(constraints.integer_interval(0, self.num_words - 1), 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Float[...], nats, summed over words: of Long[..., W], which the conditionals read as they predict it."""
        log_probs, over, words = self._read(value)
        picked = log_probs.gather(-1, words[..., None]).squeeze(-1)
        # Selected, not multiplied: a word after the end has probability zero, whatever the conditionals say.
        after = torch.where(words == BLANK, 0.0, -torch.inf).to(picked.dtype)
        return torch.where(over, after, picked).sum(-1)

    def word_entropies(self, value: Tensor) -> Tensor:
        """``H[p(y_t | y_1 .. y_(t-1))]`` of each word of a text given those before it; zero after its end.

        By the chain rule the mean over y ~ p(y) of the sum over words is the entropy of p(y).

        Args:
            value: Long[..., W].

        Returns:
            Float[..., W], nats.
        """
        log_probs, over, _ = self._read(value)
        return torch.where(over, 0.0, torch.special.entr(log_probs.exp()).sum(-1))

    def _read(self, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For each word: the log probabilities of that word, Float[..., W, V]; whether the text has ended before it,
        Bool[..., W]; and the word itself, Long[..., W]."""
        if self._validate_args:
            self._validate_sample(value)
        shape = torch.broadcast_shapes(self.context.shape[:-1], value.shape[:-1])
        context, _ = pack([self.context.expand(*shape, -1)], "* context")
        words, leading = pack([value.expand(*shape, -1)], "* word")
        before = F.pad(words[:, :-1], (1, 0), value=START)
        logits, _ = self.next_words(context, before, None)
        over = (before == BLANK).cumsum(-1) > 0
        (log_probs,) = unpack(F.log_softmax(logits, dim=-1), leading, "* word vocabulary")
        (over,), (words,) = unpack(over, leading, "* word"), unpack(words, leading, "* word")
        return log_probs, over, words

    @property
    def mode(self) -> Tensor:
        """Long[..., W]: the most probable word each time (greedy, so not always the most probable text)."""
        return self._write(self.context, lambda logits: logits.argmax(-1))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Long[S..., ..., W], word after word."""
        context = self.context.expand(*sample_shape, *self.context.shape)
        return self._write(context, lambda logits: torch.multinomial(logits.softmax(-1), 1).squeeze(-1))

    @torch.no_grad()
    def _write(self, context: Tensor, choose: Callable[[Tensor], Tensor]) -> Tensor:
        flat, leading = pack([context], "* context")
        word, state = torch.full((len(flat),), START, device=flat.device), None
        over = torch.zeros(len(flat), dtype=torch.bool, device=flat.device)
        words = []
        for _ in range(self.event_shape[0]):
            logits, state = self.next_words(flat, word[:, None], state)
            word = torch.where(over, BLANK, choose(logits[:, 0]))
            over = over | (word == BLANK)
            words.append(word)
        (texts,) = unpack(torch.stack(words, -1), leading, "* word")
        return texts
