"""The texts of real images, as Cremer and Kushman (2018) ask for them: their table 1.

Shapes: N text, S sample, A attribute.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...base.errors import BenchmarkError
from ...concepts import UNSPECIFIED
from ...concepts.captions import Captions
from ...data.base import ConceptDataModule
from ...metrics.functional import correctness
from ...metrics.functional.validation import mean_where
from ...metrics.protocols import PROTOCOL_RULES, ProtocolRule
from ...objectives.base import Objective
from ...runs.scores import Score
from ...specs.components import DatasetSpec
from ...specs.trial import EvaluationSpec
from ..queries import Queries
from ..sampling import real_batches
from ..scoring import accuracy_on_real_images, mean_of
from .base import NO_IMAGINATION, Context, Question

WORDS = "_words"
"""Suffix of the name of a correctness that counts only the words of a text, and not what it leaves unsaid."""


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


class Texts(Question):
    """Protocol ``cremer``: z ~ q(z|y) for the text of each of at most 2,000 real images, the mean image E[x|z], and the
    fraction of the text's attributes that the classifier finds there, given ones left out (Table 1, Sec. 5.4).

    In the attribute view y is the whole concept; in the text view it is what the image's own caption says, and no more.
    ``correctness`` counts all attributes, absences included; ``correctness_words``, where captions leave absences
    unsaid, only what a caption says. The floor is the base rate: what the image of another text would score, a training
    concept drawn without regard to this one and read by the classifier. The ceiling is the classifier's accuracy on held-out real images of the same
    concepts.
    """

    records_reason = False

    def wanted(self, evaluation: EvaluationSpec) -> bool:
        """Whether a protocol scores it."""
        return any(PROTOCOL_RULES[name].asks == self.name for name in evaluation.protocols)

    def reason_not(self, model: Objective, data: ConceptDataModule) -> str | None:
        """A reason if there is no q(z|y)."""
        return None if model.can_imagine else NO_IMAGINATION

    def ask(self, context: Context) -> list[Score]:
        """Scores under each protocol that scores texts."""
        data, wording = context.data, Wording.of(context.data.spec)
        cpu = torch.device("cpu")
        batches = list(real_batches(data, context.partition, seed=context.evaluation.seed, device=cpu))
        concepts = torch.cat([batch.concept for batch in batches])
        if data.captions is None:
            asked, said = concepts, wording.said(concepts)
        else:
            asked = said = data.captions.parse(torch.cat([batch.description for batch in batches]))
        queries = Queries(context.partition, len(data.schema), asked, name="texts")
        return [
            score
            for rule in context.protocols(self.name)
            for score in text_scores(context, rule, queries, concepts, said if wording.silent else None)
        ]


def text_scores(
    context: Context, rule: ProtocolRule, queries: Queries, concepts: Tensor, said: Tensor | None
) -> list[Score]:
    """Correctness over all attributes and by attribute, and, if captions leave something out, of their words only.

    Args:
        context: What the question is asked with.
        rule: The protocol.
        queries: N texts.
        concepts: Long[N, A], of the images that the texts belong to.
        said: Long[N, A], what captions say about these; None if that is everything.
    """
    schema, judge = context.data.schema, context.judge
    predictions = context.predictions(queries, num_samples=rule.num_samples, mean=rule.image == "mean")
    real = accuracy_on_real_images(judge.held_out, concepts)
    constant = judge.blind.constant(len(concepts))

    def score(metric: str, text: Tensor, attribute: str | None = None) -> Score:
        counted = (text != UNSPECIFIED) & judge.scored
        floor = mean_of(judge.blind.correctness(text))
        return context.score(
            metric,
            correctness(predictions, text),
            keep_values=attribute is None,
            ceiling=float(mean_where(real.nan_to_num(), counted & ~real.isnan()).nanmean()),
            floor=floor,
            constant=mean_of(correctness(constant, text)),
            deaf=floor,
            protocol=rule.name,
            attribute=attribute,
            level=len(schema),
            num_samples=predictions.shape[1],
        )

    scores = [score("correctness", concepts)]
    for k in schema.scored_positions:
        alone = torch.full_like(concepts, UNSPECIFIED)
        alone[:, k] = concepts[:, k]
        scores.append(score("correctness", alone, schema.names[k]))
    if said is not None:
        scores.append(score(f"correctness{WORDS}", said))
    return scores
