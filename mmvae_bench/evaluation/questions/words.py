"""How often a model writes each word, beside how often captions of training have it.

Shapes: N text, W word of a text, V word of the vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from ...base.randomness import own_randomness
from ...base.seeds import derive_seed
from ...concepts.captions import BLANK
from ...data.base import ConceptDataModule
from ...data.batch import Batch, CaptionedStore
from ...objectives.base import POSTERIOR_NAMES, Objective
from ...runs.scores import Score
from ...specs.built_in.questions import WordsSpec
from ...specs.components import Posterior
from ..sampling import BATCH_SIZE, real_batches
from .base import Context, Question


class Words(Question):
    """``word_frequency`` of every word and ``word_distance``, of texts drawn from p(y|z): z ~ q(z|x) of held-out
    images, or q(z|x,y) of images and their captions where there is no q(z|x); and with ``_prior`` z ~ p(z).
    """

    spec: WordsSpec

    def reason_not(self, model: Objective, data: ConceptDataModule) -> str | None:
        """A reason where y is no text, or the model writes none."""
        if data.captions is None:
            return "y is a concept, not a text: there are no words to count"
        return None if "concept" in model.spec.likelihoods else "there is no p(y|z): the model writes no text"

    def ask(self, context: Context) -> list[Score]:
        """Scores the texts of at most ``num_images`` images of the partition, and as many of the prior."""
        captions, model = context.data.captions, context.model
        assert captions is not None
        batches = list(
            real_batches(
                context.data, context.partition, seed=context.evaluation.seed, device=context.device,
                limit=self.spec.num_images,
            )
        )  # fmt: skip
        size = len(captions.vocabulary)
        training = _training_counts(context.data, size)
        held_out = word_counts(torch.cat([batch.description for batch in batches]).cpu(), size)
        best = total_variation(held_out.words, training.words)
        scores = []
        for ending, kind in (("", _encoder(model)), ("_prior", None)):
            if not ending and kind is None:
                missing = "there is no q(z|x) and no q(z|x,y): no image can be written about"
                context.left_out.update(dict.fromkeys(("word_frequency", "word_distance"), missing))
                continue
            written = word_counts(_written(context, batches, kind), size)
            proposal = "p(z)" if kind is None else POSTERIOR_NAMES[kind]
            for token in range(BLANK + 1, size):
                scores.append(
                    context.score(
                        f"word_frequency{ending}", written.has[:, token].double(), keep_values=False,
                        ceiling=float(training.has[token]), attribute=captions.vocabulary[token], proposal=proposal,
                    )
                )  # fmt: skip
            distance = torch.tensor([total_variation(written.words, training.words)], dtype=torch.float64)
            overall = context.score(
                f"word_distance{ending}", distance, keep_values=False, ceiling=best, proposal=proposal
            )
            scores.append(replace(overall, ci_low=math.nan, ci_high=math.nan, num_queries=len(written.has)))
        return scores


class Counted:
    """The words of some texts.

    Attributes:
        words: Float64[V], how often each occurs in all.
        has: Of texts, Bool[N, V]: which contain it; of training, Float64[V]: the share that do.
    """

    def __init__(self, words: Tensor, has: Tensor) -> None:
        self.words, self.has = words, has


def word_counts(texts: Tensor, size: int) -> Counted:
    """Counts the words of texts, Long[N, W], of a vocabulary of V = ``size`` words.

    >>> word_counts(torch.tensor([[1, 1], [2, 0]]), 3).words.tolist()
    [1.0, 2.0, 1.0]
    """
    counts = torch.zeros(len(texts), size, dtype=torch.float64).scatter_add_(1, texts, torch.ones(texts.shape).double())
    return Counted(counts.sum(0), counts > 0)


def total_variation(one: Tensor, other: Tensor) -> float:
    """Half the absolute differences between two distributions of words, blanks left out: Float64[V] counts each.

    nan where a text of blanks alone leaves no distribution.
    """
    shares = [each[BLANK + 1 :] / each[BLANK + 1 :].sum() for each in (one, other)]
    return float((shares[0] - shares[1]).abs().sum() / 2)


def _training_counts(data: ConceptDataModule, size: int) -> Counted:
    store = data.store
    assert isinstance(store, CaptionedStore)
    found = word_counts(store.tokens[data.rows("train")].cpu(), size)
    return Counted(found.words, found.has.double().mean(0))


def _encoder(model: Objective) -> Posterior | None:
    kinds: tuple[Posterior, ...] = ("image", "joint")
    return next((kind for kind in kinds if kind in model.spec.posteriors), None)


def _written(context: Context, batches: list[Batch], kind: Posterior | None) -> Tensor:
    """A text for each image, Long[N, W], on the CPU; z is the same for every objective where it is of the prior."""
    model, texts = context.model, []
    seed = derive_seed("words", seed=context.evaluation.seed, partition=context.partition, prior=kind is None)
    for place, batch in enumerate(batches):
        with own_randomness(derive_seed("batch", seed=seed, place=place), context.device):
            if kind is None:
                z = model.sample_prior(len(batch)).to(context.device)
            else:
                z = model.posterior(batch.image, batch.description if kind == "joint" else None).sample()
            texts.append(model.concept_likelihood(z).sample().cpu())
        context.report("words", (place + 1) * BATCH_SIZE, len(batches) * BATCH_SIZE)
    return torch.cat(texts)
