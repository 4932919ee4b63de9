"""What z says about the attributes: linear probes of every posterior, and disentanglement of q(z|x).

Shapes: N image, A attribute, D latent dimension.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ...base.heartbeat import beat
from ...base.randomness import own_randomness
from ...base.seeds import derive_seed
from ...data.base import ConceptDataModule
from ...metrics.functional.representations import (
    factor_vae_score,
    higgins_score,
    linear_probe,
    mutual_information_gaps,
)
from ...metrics.functional.validation import NOT_SCORED
from ...objectives.base import CapabilityError, Objective
from ...runs.scores import Score
from ...specs.built_in.questions import DisentanglementSpec, ProbesSpec
from ...specs.components import Posterior
from ..sampling import MAX_IMAGES, images_at_once, real_batches
from .base import Context, Question
from .description import accuracy_scores

POSTERIORS: tuple[Posterior, ...] = ("image", "joint", "concept")
TOLD = "q(z|x,y) has been told the attributes: only q(z|x) is a representation of an image, and there is none"


class Probes(Question):
    """``probe_image``, ``probe_joint`` and ``probe_concept``: the accuracy of a logistic regression from z to each
    scored attribute, fitted to training images and scored on at most 2,000 of the partition, over all attributes and by
    attribute; compared with 1 and with the most frequent value of training.

    The attributes are those of the image, also in the text view. If the schema has given attributes ``probe_image`` has
    no ceiling: an image does not show what they are.
    """

    spec: ProbesSpec

    def ask(self, context: Context) -> list[Score]:
        """The scores of each posterior that the model has."""
        scored, found = list(context.data.schema.scored_positions), []
        for kind in POSTERIORS:
            sample = self.spec.latents == "sample"
            try:
                train, labels = _codes(context, kind, "train", self.spec.num_images, sample=sample)
            except CapabilityError as error:
                context.left_out[f"probe_{kind}"] = str(error)
                continue
            test, truth = _codes(context, kind, context.partition, MAX_IMAGES, sample=sample)
            read = torch.full_like(truth, NOT_SCORED)
            for done, k in enumerate(scored, 1):
                read[:, k] = torch.from_numpy(linear_probe(train.numpy(), labels[:, k].numpy(), test.numpy()))
                context.report("probes", done, len(scored))
                beat()
            majority = context.data.concepts("train").mode(0).values.cpu()
            ceiling = math.nan if kind == "image" and context.data.schema.given else 1.0
            found += accuracy_scores(context, f"probe_{kind}", read, truth, majority=majority, ceiling=ceiling)
        return found


class Disentanglement(Question):
    """``higgins_score``, ``factor_vae_score`` and ``mig`` of the mean of q(z|x), scored attributes as factors.

    From the images of the partition, so without an interval: the examples of a score are drawn from the same images.
    The floor of the first two is their score of z that belong to other images, and at least 1 over the number of
    attributes; the ceiling of the MIG is that of the attributes themselves.
    """

    spec: DisentanglementSpec

    def reason_not(self, model: Objective, data: ConceptDataModule) -> str | None:
        """A reason if there is no q(z|x)."""
        return None if "image" in model.spec.posteriors else TOLD

    def ask(self, context: Context) -> list[Score]:
        """Three scores, and the MIG of each attribute; attributes with a single value are left out."""
        codes, concepts = (
            each.numpy() for each in _codes(context, "image", context.partition, self.spec.num_images, sample=False)
        )
        varying = [k for k in context.data.schema.scored_positions if len(np.unique(concepts[:, k])) > 1]
        if len(varying) < 2:
            context.left_out[self.name] = "fewer than two attributes vary"
            return []
        factors = concepts[:, varying]
        seed = derive_seed("disentanglement", seed=context.evaluation.seed, partition=context.partition)
        beat()
        gaps = torch.from_numpy(mutual_information_gaps(codes, factors))
        # 20 bins do not hold every attribute, and attributes may depend on each other.
        best = torch.from_numpy(mutual_information_gaps(factors.astype(float), factors))
        # Of few images some share an attribute and, by accident, a part of z: more than 1 / K without any knowledge.
        others = codes[np.random.default_rng(derive_seed("codes of others", seed=seed)).permutation(len(codes))]
        values: dict[str, tuple[float, float, float]] = {}
        for name, measure in (("higgins_score", higgins_score), ("factor_vae_score", factor_vae_score)):
            chance = max(1 / len(varying), measure(others, factors, seed=seed))
            values[name] = measure(codes, factors, seed=seed), chance, 1.0
            beat()
        values["mig"] = float(gaps.mean()), 0.0, float(best.mean())

        def score(name: str, value: float, floor: float, ceiling: float, attribute: str | None = None) -> Score:
            one = context.score(
                name,
                torch.tensor([value], dtype=torch.float64),
                keep_values=False,
                ceiling=ceiling,
                floor=floor,
                attribute=attribute,
            )
            return replace(one, num_queries=len(codes))

        names = context.data.schema.names
        return [
            *(score(name, *each) for name, each in values.items()),
            *(
                score("mig", float(gap), 0.0, float(most), names[k])
                for gap, most, k in zip(gaps, best, varying, strict=True)
            ),
        ]


def _codes(context: Context, kind: Posterior, partition: str, limit: int, *, sample: bool) -> tuple[Tensor, Tensor]:
    """The mean of a posterior, or a sample, and the concept of each image: Float64[N, D] and Long[N, A], on the CPU."""
    model, codes, concepts = context.model, [], []
    batches = real_batches(
        context.data, partition, seed=context.evaluation.seed, device=context.device, limit=limit,
        batch_size=images_at_once(context.data.image_shape),
    )  # fmt: skip
    for number, batch in enumerate(batches):
        q = model.posterior(batch.image if kind != "concept" else None, batch.description if kind != "image" else None)
        seed = derive_seed("codes", seed=context.evaluation.seed, partition=partition, posterior=kind, number=number)
        with own_randomness(seed, context.device):
            codes.append((q.sample() if sample else model.centre(q)).double().cpu())
        concepts.append(batch.concept.cpu())
    return torch.cat(codes), torch.cat(concepts)
