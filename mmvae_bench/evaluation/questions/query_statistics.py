"""The decoder's batch norm on the images of one query, as the released code of Vedantam et al. (2018) generates them.

Shapes: Q query, S sample, A attribute.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ...base.heartbeat import beat
from ...base.seeds import derive_seed
from ...data.base import ConceptDataModule
from ...objectives.base import Objective
from ...objectives.common.shared_decoder import NAME as SHARED_DECODER
from ...runs.scores import Score
from ...specs.built_in.questions import QueryStatisticsSpec
from ..queries import Queries
from .base import NO_IMAGINATION, Context, Question
from .three_cs import three_cs

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
QUERY_STATISTICS = "_query_statistics"


class QueryStatistics(Question):
    """``correctness_query_statistics`` and the like: the 3 C's of the fixed queries, where every batch norm of the
    image decoder normalises by the mean and variance of the query's own images instead of its running statistics.

    The released code ran its decoder in training mode on the images of one query at a time. So an image depends on the
    others that were drawn with it, and on their number.
    """

    spec: QueryStatisticsSpec

    def reason_not(self, model: Objective, data: ConceptDataModule) -> str | None:
        """A reason if there is no q(z|y), or nothing to normalise."""
        if not model.can_imagine:
            return NO_IMAGINATION
        decoder = image_decoder_of(model)
        if decoder is None:
            return "it has no one image decoder: it composes layers"
        if not any(isinstance(module, BATCH_NORMS) for module in decoder.modules()):
            return "its image decoder has no batch norm"
        return None

    def ask(self, context: Context) -> list[Score]:
        """Scores at each level, under each protocol."""
        if context.evaluation.num_samples < 2:
            context.left_out[self.name] = "one image per query has no statistics: num_samples must be at least 2"
            return []
        scores, rules = [], context.protocols("three_cs")
        for queries in context.queries if rules else ():
            for suffix, mean in context.shown:
                seen = self.predictions(context, queries, mean=mean)
                for rule in rules:
                    scores += three_cs(
                        context.judge, rule, queries, seen,
                        suffix=QUERY_STATISTICS + suffix, leaves_open=context.leaves_open,
                    )  # fmt: skip
        return scores

    def predictions(self, context: Context, queries: Queries, *, mean: bool) -> Tensor:
        """What the classifier reads in the images of each query, all of them one batch: Long[Q, S, A], on the CPU."""
        model, number, spec = context.model, context.evaluation.num_samples, context.data.spec
        rows, decoder = [], image_decoder_of(model)
        assert decoder is not None
        for index, concept in enumerate(queries.concepts):
            seed = derive_seed(
                "samples of one query", split=spec.split, split_seed=spec.split_seed, seed=context.evaluation.seed,
                partition=queries.partition, level=queries.level, query=index,
            )  # fmt: skip
            with batch_statistics(decoder):
                generator = torch.Generator().manual_seed(seed)
                images = model.imagine(concept, num_samples=number, mean=mean, generator=generator)
            rows.append(context.classifier.predict(images, given=concept.expand(number, -1)).cpu())
            context.report("imagine", (index + 1) * number, len(queries) * number)
            beat()
        return torch.stack(rows)


def image_decoder_of(model: Objective) -> nn.ModuleList | None:
    """The networks from z to p(x|z), with what they share with the other decoder; None if the model composes layers."""
    if getattr(model, "image_decoder", None) is None:
        return None
    return nn.ModuleList(getattr(model, name) for name in (SHARED_DECODER, "image_decoder") if hasattr(model, name))


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Inside the block every batch norm of a network in eval mode normalises by the statistics of its batch; its
    running ones are set aside, and are afterwards what they were."""
    norms = [module for module in network.modules() if isinstance(module, BATCH_NORMS)]
    kept = [(norm.running_mean, norm.running_var) for norm in norms]
    try:
        for norm in norms:
            norm.running_mean = norm.running_var = None
        yield
    finally:
        for norm, (mean, variance) in zip(norms, kept, strict=True):
            norm.running_mean, norm.running_var = mean, variance
