"""The texts of real images, as Cremer and Kushman (2018) ask for them: their table 1.

Shapes: N text, S sample, A attribute.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...concepts import UNSPECIFIED
from ...data.base import ConceptDataModule
from ...metrics.functional import correctness
from ...metrics.functional.validation import mean_where
from ...metrics.protocols import PROTOCOL_RULES, ProtocolRule
from ...objectives.base import Objective
from ...runs.scores import Score
from ...specs.trial import EvaluationSpec
from ..queries import Queries
from ..sampling import real_batches
from ..scoring import accuracy_on_real_images, mean_of
from ..wording import Wording
from .base import NO_IMAGINATION, Context, Question

WORDS = "_words"
"""Suffix of the name of a correctness that counts only the words of a text, and not what it leaves unsaid."""


class Texts(Question):
    """Protocol ``cremer``: z ~ q(z|y) for the text of each of at most 2,000 real images, the mean image E[x|z], and the
    fraction of the text's attributes that the classifier finds there, given ones left out (Table 1, Sec. 5.4).

    In the attribute view y is the whole concept; in the text view it is what the image's own caption says, and no more.
    ``correctness`` counts all attributes, absences included; ``correctness_words``, where captions leave absences
    unsaid, only what a caption says. The floor is the base rate: what a real image of a training concept scores, drawn
    without regard to the text and read by the classifier. The ceiling is the classifier's accuracy on held-out real
    images of the same concepts.
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
