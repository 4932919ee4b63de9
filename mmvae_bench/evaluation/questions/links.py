"""Link prediction: which of the pairs of nodes that a model was not shown are linked.

Shapes: N node, D latent dimension, P pair of nodes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from ...data.graphs import GraphDataModule
from ...metrics.functional.links import link_auc, link_average_precision
from ...objectives.gae import GAE
from ...runs.scores import Score
from .base import Context, Question

CHANCE = 0.5
"""Of both scores, since there are as many gaps as links."""


class Links(Question):
    """``link_auc`` and ``link_ap`` of the inner products of the means of q(z|X,A), given the links of training alone.

    One number each for a trained model, without an interval of its own: how it depends on the split and the initial
    weights is what seeds show.
    """

    def ask(self, context: Context) -> list[Score]:
        """Both scores of a partition; the floor is that of scores that know nothing."""
        data, model = cast(GraphDataModule, context.data), cast(GAE, context.model)
        (batch,) = data.batches(context.partition)
        assert batch.graph is not None
        z = model.centre(model.graph_posterior(batch.graph))
        split = data.divided
        linked, unlinked = (_products(z, each[context.partition]) for each in (split.links, split.gaps))
        values = {"link_auc": link_auc(linked, unlinked), "link_ap": link_average_precision(linked, unlinked)}
        return [
            replace(
                context.score(name, torch.tensor([value], dtype=torch.float64), keep_values=False, floor=CHANCE),
                num_queries=len(linked),
            )
            for name, value in values.items()
        ]


def _products(z: Tensor, pairs: Tensor) -> Tensor:
    """Float[P]: z_i . z_j, of which the sigmoid, which would tie large ones, is an increasing function."""
    first, second = pairs.to(z.device)
    return (z[first].double() * z[second].double()).sum(1)
