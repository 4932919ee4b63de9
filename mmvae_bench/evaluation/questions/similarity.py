"""How well imagined images show what they were asked for, beside the training images that are nearest to it.

Shapes: N real image, S sample, C channel, H height, W width, A attribute, V value, K number that codes attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.nn import functional as F

from ...base.heartbeat import beat
from ...base.seeds import derive_seed
from ...data.augmentation import blurred
from ...data.base import ConceptDataModule
from ...data.batch import Batch
from ...metrics.protocols import PROTOCOL_RULES, ProtocolRule
from ...objectives.base import Objective
from ...runs.scores import Score
from ...specs.components import classifiers
from ...specs.trial import EvaluationSpec
from ..classifier import IMAGES_AT_ONCE, logits_of
from ..neighbours import MAX_TRAINING, lowest
from ..regressor import regressor
from ..sampling import images_at_once, real_batches
from .base import NO_IMAGINATION, Context, Question
from .reconstruction import BATCH

NUM_IMAGES = 200
"""The largest number of real images whose concepts are imagined."""


class Similarity(Question):
    """Protocol ``attribute2image`` (Yan et al. 2016, Table 2 and supplement C): samples of the concepts of real images,
    read by the observation classifier, against the concept: cosine and squared error, their mean over the samples and
    the best of them.

    A concept is coded as the authors' attributes are: +1 and -1 for a binary attribute, of which the classifier's
    reading is ``2 p - 1``; see :func:`coded`. In the view of strengths, as in the paper, the image's scores take the
    concept's place, and a :mod:`~mmvae_bench.evaluation.regressor` that of the classifier.

    The best of ten, as published, rewards samples that differ, right or wrong; so the mean is beside it, and the floor
    of both is what as many training images score, drawn without regard to the concept. The ceiling is the judge's
    reading of the real image that has the concept.
    """

    def wanted(self, evaluation: EvaluationSpec) -> bool:
        """Whether a protocol scores it."""
        return any(PROTOCOL_RULES[name].asks == self.name for name in evaluation.protocols)

    def reason_not(self, model: Objective, data: ConceptDataModule) -> str | None:
        """A reason if there is no q(z|y), or concepts are captions."""
        if data.captions is not None:
            return "captions leave attributes open: concepts are compared as a whole"
        return None if model.can_imagine else NO_IMAGINATION

    def ask(self, context: Context) -> list[Score]:
        """Scores under each protocol that asks for them."""
        return [score for rule in context.protocols(self.name) for score in self._scores(context, rule)]

    def _scores(self, context: Context, rule: ProtocolRule) -> list[Score]:
        data, number = context.data, rule.num_samples or context.evaluation.num_samples
        batches = list(
            real_batches(data, context.partition, seed=context.evaluation.seed, device=context.device, limit=NUM_IMAGES)
        )
        image, concept, described = (
            torch.cat(parts)
            for parts in zip(*((each.image, each.concept, each.description) for each in batches), strict=True)
        )
        reading, wanted = reading_of(context, concept), coded_batches(context, batches)
        pool = Pool.of(context, wanted, image)
        samples = imagined(context, rule, described, number)
        blind = pool.drawn(len(image), number, seed=context.evaluation.seed)
        read = {
            "": rearrange(reading(samples.flatten(0, 1), number), "(n s) k -> n s k", s=number),
            "blind": rearrange(reading(blind.flatten(0, 1), number), "(n s) k -> n s k", s=number),
            "_nearest": reading(pool.nearest, 1)[:, None],
            "_nearest_blurred": reading(blurred(pool.nearest), 1)[:, None],
            "real": reading(image, 1)[:, None],
        }
        scores = []
        for unit, compare, best in (("cosine", cosine, Tensor.amax), ("error", error, Tensor.amin)):
            values = {key: compare(each, wanted[:, None]) for key, each in read.items()}
            ceiling = float(values["real"].mean())
            for ending, over in (("", Tensor.mean), ("_best", best)):
                floor = float(over(values["blind"], dim=1).mean())
                scores.append(
                    context.score(
                        f"attribute_{unit}{ending}", over(values[""], dim=1), protocol=rule.name, ceiling=ceiling,
                        floor=floor, num_samples=number,
                    )
                )  # fmt: skip
            for ending in ("_nearest", "_nearest_blurred"):
                scores.append(context.score(f"attribute_{unit}{ending}", values[ending][:, 0], protocol=rule.name))
        ratio = pool.distance(samples).mean(1) / pool.real_distance.mean()
        scores.append(context.score("memorisation", ratio, protocol=rule.name, ceiling=1.0, num_samples=number))
        return sorted(scores, key=lambda score: self.spec.metrics.index(score.metric))


def coded(values: Sequence[Tensor]) -> Tensor:
    """Numbers for the probabilities of the attributes' values: Float64[N, K].

    One number for a binary attribute, ``2 p - 1`` with p of its second value; ``(V p - 1) / (V - 1)`` for each value of
    another: 1 for what is certain, and 0 for what is as probable as every other.

    >>> coded([torch.tensor([[0.25, 0.75]]), torch.tensor([[1.0, 0.0, 0.0]])]).tolist()
    [[0.5, 1.0, -0.5, -0.5]]
    """
    parts = [
        2 * each[:, 1:] - 1 if each.shape[1] == 2 else (each.shape[1] * each - 1) / (each.shape[1] - 1)
        for each in values
    ]
    return torch.cat(parts, 1).double()


def by_scores(context: Context) -> bool:
    """Whether y is scores of attributes, not their values."""
    return context.data.spec.chosen_view == "strengths"


def reading_of(context: Context, concept: Tensor) -> Callable[[Tensor, int], Tensor]:
    """What the judge reads in images, Float[N * S, C, H, W], S of each of N concepts: Float64[N * S, K].

    Args:
        context: Of the evaluation.
        concept: Long[N, A].
    """
    if not by_scores(context):
        return lambda images, number: coded_reading(context, images, number, concept)
    spec = context.evaluation.classifier or classifiers.parse(context.data.spec.default_classifier())
    judge = regressor(spec, context.data, device=context.device, progress=context.progress)
    return lambda images, number: judge.read(images)


def attribute_codes(data: ConceptDataModule, batch: Batch) -> Tensor:
    """What images are wanted to show: their scores in the view of strengths, else :func:`coded` of their concepts,
    without the given attributes, Float64[B, K]."""
    if batch.strength is not None and data.spec.chosen_view == "strengths":
        return batch.strength.double()
    schema = data.schema
    return coded([F.one_hot(batch.concept[:, k], schema.sizes[k]).double() for k in schema.scored_positions])


def coded_batches(context: Context, batches: Sequence[Batch]) -> Tensor:
    """:func:`attribute_codes` of all images of some batches, Float64[N, K]."""
    return torch.cat([attribute_codes(context.data, each) for each in batches])


def coded_reading(context: Context, images: Tensor, number: int, concept: Tensor) -> Tensor:
    """:func:`coded` of what the classifier reads in images, Float[N * S, C, H, W], S of each of N concepts."""
    told = repeat(concept, "n attribute -> (n s) attribute", s=number)
    parts = []
    for part, given in zip(images.split(IMAGES_AT_ONCE), told.split(IMAGES_AT_ONCE), strict=True):
        logits = logits_of(context.classifier.network, part, given, context.data.schema)
        parts.append(coded([each.double().softmax(1) for each in logits]))
        beat()
    return torch.cat(parts)


def nearest_coded(wanted: Tensor, held: Tensor) -> Tensor:
    """The place of the nearest vector, the first of those that are equally near: Float64[N, K], Float64[M, K] to
    Long[N]."""
    # By products, equal distances may differ in their last digits, in other ways on other machines.
    return lowest(torch.cdist(wanted, held, compute_mode="donot_use_mm_for_euclid_dist"))


def cosine(read: Tensor, wanted: Tensor) -> Tensor:
    """The cosine of the angle between two vectors: Float64[N, S, K] and Float64[N, 1, K] to Float64[N, S]."""
    return F.cosine_similarity(read, wanted, dim=-1)


def error(read: Tensor, wanted: Tensor) -> Tensor:
    """The squared error, the sum over attributes: Float64[N, S, K] and Float64[N, 1, K] to Float64[N, S]."""
    return (read - wanted).square().sum(-1)


def imagined(context: Context, rule: ProtocolRule, concept: Tensor, number: int) -> Tensor:
    """Images of each concept, Long[N, A], or of weights of values, Float[N, V]: Float[N, S, C, H, W].

    They are seeded by the evaluation and the place of the concept.
    """
    at_once = max(1, images_at_once(context.data.image_shape) // number)
    parts = []
    for start in range(0, len(concept), at_once):
        seed = derive_seed("similarity", seed=context.evaluation.seed, partition=context.partition, start=start)
        parts.append(
            context.model.imagine(
                concept[start : start + at_once],
                num_samples=number,
                mean=rule.image == "mean",
                generator=torch.Generator().manual_seed(seed),
            )
        )
        context.report("similarity", start, len(concept))
    return torch.cat(parts)


@dataclass(frozen=True)
class Pool:
    """At most :data:`MAX_TRAINING` training images, compared with N real ones.

    Attributes:
        images: Float[M, C, H, W].
        nearest: Float[N, C, H, W], of each real image the training image with the nearest attributes, the first of
            those that are equally near.
        real_distance: Float[N], from each real image to the training image with the nearest pixels.
    """

    images: Tensor
    nearest: Tensor
    real_distance: Tensor

    @classmethod
    def of(cls, context: Context, wanted: Tensor, image: Tensor) -> Pool:
        """The training images of a context, for real images and :func:`coded_batches` of them."""
        batches = list(
            real_batches(
                context.data, "train", seed=context.evaluation.seed, device=context.device, limit=MAX_TRAINING,
                batch_size=BATCH,
            )
        )  # fmt: skip
        images = torch.cat([each.image for each in batches])
        place = nearest_coded(wanted, coded_batches(context, batches))
        pool = cls(images, images[place], torch.empty(0))
        return cls(pool.images, pool.nearest, pool.distance(image[:, None])[:, 0])

    def distance(self, shown: Tensor) -> Tensor:
        """From each shown image to the training image with the nearest pixels: Float[N, S, C, H, W] to Float[N, S]."""
        flat, parts = self.images.flatten(1), []
        for part in shown.flatten(0, 1).flatten(1).split(BATCH):
            parts.append(torch.cdist(part, flat).amin(1))
            beat()
        return torch.cat(parts).view(shown.shape[:2])

    def drawn(self, rows: int, number: int, *, seed: int) -> Tensor:
        """Training images drawn without regard to any concept: Float[rows, number, C, H, W]."""
        generator = torch.Generator().manual_seed(derive_seed("similarity floor", seed=seed))
        chosen = torch.randint(len(self.images), (rows, number), generator=generator)
        return self.images[chosen.to(self.images.device)]
