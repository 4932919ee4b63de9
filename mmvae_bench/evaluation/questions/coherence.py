"""Coherence, as other projects report it: each modality generated from the others, and both from the prior.

Shapes: N image, A attribute, D latent dimension.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...base.randomness import own_randomness
from ...base.seeds import derive_seed
from ...base.statistics import mean_interval
from ...concepts import UNSPECIFIED
from ...data.batch import Batch
from ...metrics.functional import agreement_by_chance, correctness
from ...metrics.protocols import PROTOCOL_RULES, ProtocolRule
from ...objectives.base import CapabilityError
from ...runs.scores import Score
from ...specs.trial import EvaluationSpec
from ..sampling import images_at_once, real_batches
from .base import Context, Question

NUM_JOINT = 10_000
"""z from the prior, as in the released codes."""
Route = tuple[str, str]
"""What is generated, and what is given."""
_ACROSS: tuple[Route, ...] = (("image", "concept"), ("concept", "image"))
_INSIDE: tuple[Route, ...] = (
    *(("image", "image"), ("concept", "concept")),
    *(("image", "both"), ("concept", "both")),
)


@dataclass(frozen=True)
class Answers:
    """What was generated along one route, and what it is compared with.

    Attributes:
        read: Long[N, A]: the attributes of what was generated, each value from 0 up; -1 where there is none.
        truth: Long[N, A]; -1 where an attribute does not count.
        judged: Long[N, A]: what a perfect generator would score: the real images as the classifier reads them, or the
            truth.
        blind: Double[V] per attribute: how often an answer drawn from training has each value.
    """

    read: Tensor
    truth: Tensor
    judged: Tensor
    blind: list[Tensor]


class Coherence(Question):
    """The protocols ``multivae``, ``mmvaeplus`` and ``mopoe``, on one set of samples from at most 2,000 pairs.

    From an image, a concept (in the text view its caption) or both one z is drawn, z ~ q(z|.), and decoded to the mean
    image, which the classifier reads, or the most probable concept. The protocols differ in what is averaged, see
    :func:`accuracy` and :class:`~mmvae_bench.metrics.protocols.ProtocolRule`. ``coherence`` is the mean over the routes
    of a protocol, and is left out if the model lacks one of them. With two modalities the subsets of one size have one
    target each, so MultiVae's standard deviation over subsets has nothing to say, and is not computed.

    If the schema has given attributes, concept from image has no ceiling, and neither has the mean: an image does not
    show what they are.
    """

    def wanted(self, evaluation: EvaluationSpec) -> bool:
        """Whether a protocol scores it."""
        return any(PROTOCOL_RULES[name].asks == self.name for name in evaluation.protocols)

    def ask(self, context: Context) -> list[Score]:
        """Conditional and joint coherence under each of the protocols."""
        rules = context.protocols(self.name)
        routes = _ACROSS + (_INSIDE if any(rule.inside for rule in rules) else ())
        answers = {route: found for route in routes if (found := _answers(context, route)) is not None}
        joint = _joint(context)
        return [score for rule in rules for score in _scores(context, rule, answers, joint)]


def accuracy(read: Tensor, truth: Tensor, *, by_class: bool) -> Tensor:
    """The value of each image, whose mean over images is the accuracy: Double[N], nan where nothing counts.

    The mean over attributes of 1 where an attribute is right and 0 where it is wrong; ``by_class`` weighted, so that
    each value that occurs counts as much as any other, and each attribute, however often it counts: the mean is then,
    over attributes, that of the accuracies of their values.

    Args:
        read: Long[N, A].
        truth: Long[N, A]; -1 where an attribute does not count.
        by_class: Average over the values of an attribute first.

    >>> truth = torch.tensor([[0], [0], [0], [1]])
    >>> read = torch.tensor([[0], [0], [0], [0]])
    >>> [float(accuracy(read, truth, by_class=by_class).mean()) for by_class in (False, True)]
    [0.75, 0.5]
    """
    right = (read == truth).double()
    return _averaged(right, truth) if by_class else right.masked_fill(truth == UNSPECIFIED, torch.nan).nanmean(1)


def _averaged(values: Tensor, truth: Tensor) -> Tensor:
    """Double[N], whose mean is that over attributes of the mean over values; nan where nothing counts.

    Args:
        values: Double[N, A].
        truth: Long[N, A]; -1 where an attribute does not count.
    """
    counts = truth != UNSPECIFIED
    some, number = counts.any(1), counts.sum(0)
    each = (values * _class_weights(truth)).masked_fill(~counts, 0) * (some.sum() / number.clamp(min=1))
    return (each.sum(1) / (number > 0).sum()).masked_fill(~some, torch.nan)


def _class_weights(truth: Tensor) -> Tensor:
    """Double[N, A]: the number of images over that of the values which occur, over how often this image's occurs."""
    columns = []
    for column in truth.T:
        values, place, counts = column.unique(return_inverse=True, return_counts=True)
        counted = values != UNSPECIFIED
        columns.append(counts[counted].sum() / (counted.sum() * counts[place]).double())
    return torch.stack(columns, 1)


def _answers(context: Context, route: Route) -> Answers | None:
    """One z per pair, decoded; None, with the reason in ``left_out``, if the model has no such route."""
    to, given = route
    parts = []
    batches = real_batches(
        context.data, context.partition, seed=context.evaluation.seed, device=context.device,
        batch_size=images_at_once(context.data.image_shape),
    )  # fmt: skip
    done = 0
    for batch in batches:
        seed = derive_seed(
            "coherence", seed=context.evaluation.seed, partition=context.partition, given=given, start=done
        )
        try:
            with own_randomness(seed, context.device):
                parts.append(_GENERATE[to](context, batch, given))
        except CapabilityError as error:
            context.left_out[f"coherence_{to}_from_{given}"] = str(error)
            return None
        done += len(batch)
        context.report("coherence", done, done)
    read, truth, judged = (torch.cat(each).cpu() for each in zip(*parts, strict=True))
    return Answers(read, truth, judged, _blind(context, to))


def _drawn(context: Context, batch: Batch, given: str) -> tuple[Tensor, Tensor | None]:
    """z ~ q(z|.), Float[N, D], and what an image decoder may be told."""
    image = batch.image if given != "concept" else None
    description = batch.description if given != "image" else None
    return context.model.posterior(image, description).sample(), description


def _image(context: Context, batch: Batch, given: str) -> tuple[Tensor, Tensor, Tensor]:
    """What the classifier reads in mean images, the truth, and what it reads in the real ones."""
    z, told = _drawn(context, batch, given)
    images = context.model.image_likelihood(z, told).mean.clamp(0, 1)
    captions = context.data.captions
    # A caption asks for no more than it says.
    said = batch.concept if captions is None or given == "image" else captions.parse(batch.description)
    truth = said.masked_fill(~context.judge.scored.to(said.device), UNSPECIFIED)
    read, real = (context.classifier.predict(each, given=batch.concept) for each in (images, batch.image))
    return read, truth, real


def _concept(context: Context, batch: Batch, given: str) -> tuple[Tensor, Tensor, Tensor]:
    """The most probable concept and the truth; in the text view silence is a value like the others."""
    z, _ = _drawn(context, batch, given)
    captions = context.data.captions
    silence = 0 if captions is None else 1
    said = batch.concept if captions is None else captions.parse(batch.description)
    truth = (said + silence).masked_fill(~context.judge.scored.to(said.device), UNSPECIFIED)
    return context.model.describe_latents(z) + silence, truth, truth


_GENERATE: Mapping[str, Callable[[Context, Batch, str], tuple[Tensor, Tensor, Tensor]]] = {
    "image": _image, "concept": _concept,
}  # fmt: skip


def _blind(context: Context, to: str) -> list[Tensor]:
    """How often an answer drawn from training has each value; an image as the classifier reads it."""
    if to == "image":
        return context.judge.blind.read()
    data = context.data
    said = data.said("train").cpu() + (data.captions is not None)
    sizes = (size + (data.captions is not None) for size in data.schema.sizes)
    return [
        torch.bincount(column, minlength=size).double() / len(said) for column, size in zip(said.T, sizes, strict=True)
    ]


def _joint(context: Context) -> tuple[Tensor, Tensor] | None:
    """Concepts and what the classifier reads in the images of the same z ~ p(z), Long[N, A] each, on the CPU."""
    model, given = context.model, list(context.data.schema.given_positions)
    at_once, concepts, shown = images_at_once(context.data.image_shape), [], []
    for start in range(0, NUM_JOINT, at_once):
        seed = derive_seed("joint coherence", seed=context.evaluation.seed, start=start)
        # Drawn on the CPU, so that z are the same for every objective and device.
        generator = torch.Generator().manual_seed(seed)
        z = model.sample_prior(min(at_once, NUM_JOINT - start), generator=generator).to(context.device)
        try:
            images, concept = model.image_likelihood(z).mean.clamp(0, 1), model.describe_latents(z)
        except CapabilityError as error:
            context.left_out["coherence_joint"] = str(error)
            return None
        judged = (concept[:, given] >= 0).all(1)
        concepts.append(concept[judged].cpu())
        shown.append(context.classifier.predict(images[judged], given=concept[judged]).cpu())
        if context.leaves_open:
            # A caption that can say everything and does not: no value of any attribute, so wrong.
            concepts[-1] = concepts[-1].masked_fill(concepts[-1] == UNSPECIFIED, max(context.data.schema.sizes))
        context.report("coherence", start + len(z), NUM_JOINT)
    return torch.cat(concepts), torch.cat(shown)


def _scores(
    context: Context, rule: ProtocolRule, answers: Mapping[Route, Answers], joint: tuple[Tensor, Tensor] | None
) -> list[Score]:
    """What one protocol reports of the samples."""
    routes = _ACROSS + (_INSIDE if rule.inside else ())
    parts: dict[str, tuple[Tensor, float, float]] = {}
    for route in routes:
        if route in answers:
            values, ceiling, floor = _values(answers[route], rule)
            if route == ("concept", "image") and context.data.schema.given:
                ceiling = math.nan  # An image does not show what is given, and the model is not told.
            parts[f"coherence_{route[0]}_from_{route[1]}"] = values, ceiling, floor
    if len(parts) < len(routes):
        context.left_out[f"coherence, {rule.name}"] = "it is a mean over routes, and the model lacks one of them"
    else:
        each, ceilings, floors = zip(*parts.values(), strict=True)
        mean = torch.stack(each).nanmean(0), sum(ceilings) / len(routes), sum(floors) / len(routes)
        parts = {"coherence": mean, **parts}
    scores = [_score(context, rule, name, *part) for name, part in parts.items()]
    if joint is not None:
        concepts, shown = (_whole(each, rule) for each in joint)
        agreement = correctness(shown[:, None], concepts)
        ceiling, floor = context.classifier.mean_accuracy, float(agreement_by_chance(shown, concepts).nanmean())
        # Neither of the two is the truth, whose values could be averaged over.
        plain = replace(rule, by_class=False)
        scores.append(_score(context, plain, "coherence_joint", agreement, ceiling, floor))
    return scores


def _values(answers: Answers, rule: ProtocolRule) -> tuple[Tensor, float, float]:
    """The value of each image under a protocol, the ceiling and the floor."""
    read, truth, judged = (_whole(each, rule) for each in (answers.read, answers.truth, answers.judged))
    ceiling = accuracy(judged, truth, by_class=rule.by_class)
    columns = [table[column.clamp(min=0)] for table, column in zip(answers.blind, truth.T, strict=True)]
    blind = torch.stack(columns, 1)
    floor = _averaged(blind, truth) if rule.by_class else blind.masked_fill(truth == UNSPECIFIED, torch.nan).nanmean(1)
    return accuracy(read, truth, by_class=rule.by_class), float(ceiling.nanmean()), float(floor.nanmean())


def _whole(rows: Tensor, rule: ProtocolRule) -> Tensor:
    """Without the last, smaller batch: the mean of the means of the others is the mean over their rows."""
    size = rule.whole_batches
    return rows if size is None or len(rows) < size else rows[: len(rows) // size * size]


def _score(context: Context, rule: ProtocolRule, metric: str, values: Tensor, ceiling: float, floor: float) -> Score:
    details = {"protocol": rule.name, "ceiling": ceiling, "floor": floor, "num_samples": 1}
    if not rule.by_class:
        return context.score(metric, values, **details)
    # Weighted answers are no shares: Student's interval, and no values from which a report would make another.
    score = context.score(
        metric, torch.full_like(values, torch.nan), value=float(values.nanmean()), keep_values=False, **details
    )
    low, high = mean_interval(values.tolist())
    return replace(score, ci_low=max(low, 0.0), ci_high=min(high, 1.0), num_queries=int((~values.isnan()).sum()))
