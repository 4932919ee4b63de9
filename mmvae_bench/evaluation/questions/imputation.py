"""What it costs to complete a concept before imagining it, against leaving its open attributes out.

Shapes: Q query, A attribute, U distinct training concept.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...concepts import UNSPECIFIED, satisfies
from ...data.base import ConceptDataModule
from ...objectives.base import Objective
from ...runs.scores import Score
from ...specs.built_in.questions import ImputationSpec
from ..queries import fixed_queries
from ..references import TrainingConcepts
from .base import NO_IMAGINATION, Context, Question
from .three_cs import three_cs

IMPUTED = "_imputed"
_QUERIES_AT_ONCE = 64


class Imputation(Question):
    """``correctness_imputed`` and the like: the fixed partial queries, each completed first, then p(x|y) of the whole.

    The completion is the most probable one, ``argmax_{y_M} p(y_M|y_O)`` over training concepts (Vedantam et al. 2018,
    Sec. 5, "Handling missing inputs"), one for each query. Scores are those of the 3 C's of the query as it was, with
    the same references, so they stand beside the scores of the same model that leaves the attributes out. A model
    whose q(z|y) takes full concepts only can be asked too.
    """

    spec: ImputationSpec

    def reason_not(self, model: Objective, data: ConceptDataModule) -> str | None:
        """A reason if there is no q(z|y), or if queries are captions."""
        if not model.can_imagine:
            return NO_IMAGINATION
        if data.captions is not None:
            return "queries are captions, which are asked as they are: attributes are completed, words are not"
        return None

    def ask(self, context: Context) -> list[Score]:
        """Scores at each level with open attributes, under each protocol."""
        training, num_attributes = context.judge.training, len(context.data.schema)
        every = fixed_queries(context.data, context.evaluation, context.partition)
        partial = [queries for queries in every if queries.level < num_attributes]
        if not partial:
            context.left_out[self.name] = "every query is a full concept: there is nothing to complete"
        scores = []
        for queries in partial:
            completed = replace(queries, concepts=most_probable_completion(queries.concepts, training))
            for rule in context.protocols("three_cs"):
                for suffix, mean in context.shown:
                    seen = context.predictions(completed, mean=mean)
                    scores += three_cs(context.judge, rule, queries, seen, suffix=IMPUTED + suffix)
        return scores


def most_probable_completion(concepts: Tensor, training: TrainingConcepts) -> Tensor:
    """``argmax_{y_M} p(y_M|y_O)`` for the open attributes M of each concept, p the frequencies of training concepts.

    Of several that are equally frequent, the first in the order of values. Where no training concept has all that is
    specified, p(y_M|y_O) is not defined, and each open attribute takes its most frequent value.

    Args:
        concepts: Long[Q, A], -1 where unspecified.
        training: U distinct concepts, and how often each occurs.

    Returns:
        Long[Q, A], fully specified; what was specified is as it was.

    >>> training = TrainingConcepts(torch.tensor([[0, 0], [0, 1], [0, 1], [1, 0]]), sizes=(3, 2))
    >>> most_probable_completion(torch.tensor([[0, -1], [1, -1], [2, -1], [-1, -1]]), training).tolist()
    [[0, 1], [1, 0], [2, 0], [0, 1]]
    """
    found = []
    for part in concepts.cpu().split(_QUERIES_AT_ONCE):
        counts = satisfies(training.combinations, part) * training.counts
        most, which = counts.max(1)
        likely = torch.where(most[:, None] > 0, training.combinations[which], training.majority)
        found.append(torch.where(part == UNSPECIFIED, likely, part))
    return torch.cat(found)
