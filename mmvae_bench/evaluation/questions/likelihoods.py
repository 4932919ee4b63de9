"""Log likelihoods of held-out images and their descriptions, with intervals over images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ...base.seeds import derive_seed
from ...metrics.entries.likelihoods import PER_DIM
from ...metrics.functional import nats_per_dimension
from ...objectives.base import CapabilityError
from ...runs.scores import Score
from ...specs.trial import EvaluationSpec
from ..likelihood import ENTROPY, FLOW_PRIOR, PROTOCOL, TIGHT, Bound, Bounds, tight_log_py
from ..sampling import images_at_once, real_batches
from ..summed import bounds_of
from .base import Context, Question


class Likelihoods(Question):
    """The bounds of :class:`~mmvae_bench.evaluation.likelihood.Bounds`, in nats per image and per dimension; where y
    and z are independent those of :class:`~mmvae_bench.evaluation.summed.SummedBounds`.

    Images, latents and noise are the same for every objective with the same posteriors.
    """

    def wanted(self, evaluation: EvaluationSpec) -> bool:
        """Whether ``likelihood_images`` is positive."""
        return evaluation.likelihood_images > 0

    def ask(self, context: Context) -> list[Score]:
        """Bounds for at most ``likelihood_images`` images of the partition, with ``likelihood_samples`` samples
        each."""
        data, partition, evaluation = context.data, context.partition, context.evaluation
        total = min(evaluation.likelihood_images, len(data.rows(partition)))
        batches = real_batches(
            data, partition, seed=evaluation.seed, device=context.device,
            limit=total, batch_size=images_at_once(data.image_shape),
        )  # fmt: skip
        found: dict[str, list[Bound]] = {}
        described: list[Tensor] = []
        done = 0
        for batch in batches:
            seed = derive_seed("likelihood", seed=evaluation.seed, partition=partition, start=done)
            bounds = bounds_of(context.model, batch, num_samples=evaluation.likelihood_samples, seed=seed)
            _add_bounds(bounds, found, context.left_out)
            described.append(batch.description)
            done += len(batch)
            context.report("likelihood", done, total)
        scores = [score for metric, parts in found.items() for score in _scores(context, metric, parts)]
        return scores + [
            score for flow_prior in (False, True) for score in _tight_scores(context, torch.cat(described), flow_prior)
        ]


def _tight_scores(context: Context, described: Tensor, flow_prior: bool) -> list[Score]:
    """log p(y) with a proposal that holds for every objective; an image's value is that of its description."""
    metric, evaluation = TIGHT + FLOW_PRIOR * flow_prior, context.evaluation
    distinct, place, counts = described.unique(dim=0, return_inverse=True, return_counts=True)
    seed = derive_seed("tight log p(y)", seed=evaluation.seed, partition=context.partition)
    try:
        bound = tight_log_py(
            context.model, distinct, counts, max_samples=evaluation.likelihood_max_samples, seed=seed,
            flow_prior=flow_prior, report=partial(context.report, "likelihood"),
        )  # fmt: skip
    except CapabilityError as error:
        context.left_out[metric] = str(error)
        return []
    score = partial(context.score, protocol=PROTOCOL, num_samples=bound.num_samples, proposal=bound.proposal)
    values = bound.values[place].cpu()
    found = [
        score(metric, values),
        score(metric + PER_DIM, nats_per_dimension(values, described.shape[1])),
    ]
    if not flow_prior:
        step = score(f"{metric}_step", torch.tensor([bound.step]), keep_values=False)
        found += [score(f"{metric}_ess", bound.effective[place].cpu()), replace(step, num_queries=len(values))]
    return found


def _add_bounds(bounds: Bounds, found: dict[str, list[Bound]], left_out: dict[str, str]) -> None:
    """Adds a batch's bounds to ``found``; one that the objective does not have is tried once."""
    known: dict[str, Callable[[], Bound | dict[str, Bound]]] = {
        "log_px_given_y": bounds.log_px_given_y,
        "log_px": bounds.log_px,
        f"log_px{FLOW_PRIOR}": lambda: bounds.log_px(flow_prior=True),
        "log_py": bounds.log_py,
        f"log_py{FLOW_PRIOR}": lambda: bounds.log_py(flow_prior=True),
        "log_pxy": bounds.log_pxy,
        f"log_pxy{FLOW_PRIOR}": lambda: bounds.log_pxy(flow_prior=True),
        "elbo": bounds.elbo,
        ENTROPY: bounds.description_entropy,
    }
    for metric, compute in known.items():
        if metric in left_out:
            continue
        try:
            computed = compute()
        except CapabilityError as error:
            left_out[metric] = str(error)
            continue
        for name, bound in (computed if isinstance(computed, dict) else {metric: computed}).items():
            found.setdefault(name, []).append(bound)


def _scores(context: Context, metric: str, bounds: list[Bound]) -> list[Score]:
    values, first = torch.cat([bound.values.cpu() for bound in bounds]), bounds[0]

    def score(name: str, values: Tensor, attribute: str | None = None) -> Score:
        return context.score(
            name,
            values,
            keep_values=attribute is None,
            protocol=PROTOCOL,
            attribute=attribute,
            num_samples=first.num_samples,
            proposal=first.proposal,
        )

    if metric == ENTROPY:
        data = context.data
        names = data.schema.names if data.captions is None else data.captions.word_names
        each = [score(metric, values[:, k], name) for k, name in enumerate(names)]
        return [score(metric, values.mean(1)), *each]
    scores = [score(metric, values)]
    if first.num_dimensions is not None:
        scores.append(score(metric + PER_DIM, nats_per_dimension(values, first.num_dimensions)))
    return scores
