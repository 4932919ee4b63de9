"""Networks that read and write captions: recurrent, one word at a time.

They are not compiled (a loop over words, and a distribution that calls its network later) and are made of cells,
because ``torch.nn.GRU`` keeps extra references to its weights: a functional call with other parameters would not reach
them.

Shapes: B batch, W word, V word of the vocabulary, E embedding, H state, C context, F feature, D latent dimension.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.func import functional_call

from ..concepts.captions import BLANK, Captions
from ..distributions.latents import diagonal_normal
from ..distributions.texts import START, AutoregressiveText, NextWords
from .layers import Eager, GaussianHead, mlp


class TextFeatures(Eager):
    """The state of a GRU after the last word of a caption; blank words are skipped, and an empty caption gives zeros.

    Cremer and Kushman (2018), 5.1 (their code reads blanks too).

    Args:
        captions: The vocabulary.
        embedding: E.
        size: H.
    """

    def __init__(self, captions: Captions, *, embedding: int, size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(captions.vocabulary), embedding)
        self.cell = nn.GRUCell(embedding, size)

    def forward(self, tokens: Tensor) -> Tensor:
        """Long[B, W] to Float[B, H]."""
        with full_precision(tokens):
            embedded = self.embedding(tokens)
            state: Tensor = embedded.new_zeros(len(tokens), self.cell.hidden_size)
            for word, read in zip(tokens.unbind(1), embedded.unbind(1), strict=True):
                state = torch.where(word[:, None] == BLANK, state, self.cell(read, state))
        return state


class TextEncoder(Eager):
    """q(z|y): features of a caption, fully connected layers, a Gaussian head.

    Args:
        features: Captions to features.
        num_features: F.
        sizes: Of the fully connected layers.
        latent_size: D.
    """

    def __init__(self, features: nn.Module, *, num_features: int, sizes: Sequence[int], latent_size: int) -> None:
        super().__init__()
        self.features = features
        self.hidden = mlp((num_features, *sizes))
        self.head = GaussianHead((num_features, *sizes)[-1], latent_size)

    def forward(self, tokens: Tensor) -> Distribution:
        """Long[B, W] to a diagonal normal over Float[B, D]."""
        return diagonal_normal(*self.head(self.hidden(self.features(tokens))))


class WordPredictor(nn.Module):
    """The conditionals of a text: a GRU over the preceding words and the context, and a head; see :class:`NextWords`.

    Args:
        captions: The vocabulary.
        embedding: E.
        context_size: C.
        hidden: H.
        head: Float[B, H] to Float[B, V].
        word_dropout: How often, in training, a preceding word is replaced by zeros, as before the first word (Bowman
            et al. 2016, 3.1).
    """

    def __init__(
        self,
        captions: Captions,
        *,
        embedding: int,
        context_size: int,
        hidden: int,
        head: nn.Module,
        word_dropout: float,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(captions.vocabulary), embedding)
        self.cell = nn.GRUCell(embedding + context_size, hidden)
        self.head, self.word_dropout = head, word_dropout

    def forward(self, context: Tensor, before: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """See :class:`NextWords`."""
        with full_precision(before):
            context = context.to(self.embedding.weight.dtype)
            shown = before != START
            if self.training and self.word_dropout:
                shown = shown & (torch.rand(before.shape, device=before.device) >= self.word_dropout)
            words = torch.where(shown[..., None], self.embedding(before.clamp_min(0)), 0.0)
            if state is None:
                state = context.new_zeros(len(context), self.cell.hidden_size)
            states = []
            for word in words.unbind(1):
                state = self.cell(torch.cat([word, context], -1), state)
                states.append(state)
            logits = self.head(rearrange(torch.stack(states), "w b h -> (b w) h"))
        return rearrange(logits, "(b w) v -> b w v", b=len(before)), state


class TextDecoder(Eager):
    """p(y|z): a context from z, then words one after the other.

    Args:
        captions: The vocabulary, and the length of a text.
        context: Float[B, D] to Float[B, C].
        words: The conditionals.
    """

    def __init__(self, captions: Captions, *, context: nn.Module, words: WordPredictor) -> None:
        super().__init__()
        self.context, self.words = context, words
        self.max_words, self.num_words = captions.max_words, len(captions.vocabulary)

    def forward(self, z: Tensor) -> Distribution:
        """Float[B, D] to a distribution over Long[B, W]."""
        return AutoregressiveText(
            as_it_is(self.words), self.context(z), max_words=self.max_words, num_words=self.num_words
        )


def as_it_is(words: nn.Module) -> NextWords:
    """A network with the parameters and buffers that it has now, whenever it is called.

    A distribution over texts calls its network after the decoder's forward pass is over. Inside a functional call the
    decoder has other parameters (detached ones, for example), and those must be used.
    """
    tensors = dict(words.named_parameters()) | dict(words.named_buffers())

    def called(context: Tensor, before: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        result: Any = functional_call(words, tensors, (context, before, state))
        return result[0], result[1]

    return called


@contextmanager
def full_precision(like: Tensor) -> Iterator[None]:
    """No autocast inside: a state that is rounded to eight bits at every word would drift."""
    with torch.autocast(like.device.type, enabled=False):
        yield
