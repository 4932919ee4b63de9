"""Parts that break one thing each, as another package may."""

from __future__ import annotations

from dataclasses import replace
from secrets import token_hex
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from mmvae_bench.base.canonical import content_hash
from mmvae_bench.conformance.worlds import Images
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import CapabilityError, Terms
from mmvae_bench.objectives.common.elbo import joint_terms
from mmvae_bench.objectives.cvae import CVAE
from mmvae_bench.objectives.jmvae import JMVAE
from mmvae_bench.specs.built_in.datasets import SpritesSpec
from mmvae_bench.specs.built_in.families.conditional import CVAESpec
from mmvae_bench.specs.built_in.families.joint import JMVAESpec
from mmvae_bench.specs.components import ObjectiveSpec


def objective(implementation: str) -> ObjectiveSpec:
    """JMVAE with another implementation, one of this module."""

    class Spec(JMVAESpec):
        pass

    Spec.implementation = f"{__name__}:{implementation}"
    return Spec()


class MeanParts(JMVAE):
    def terms(self, batch: Batch) -> Terms:
        terms = super().terms(batch)
        return Terms(terms.loss, {name: part.mean() for name, part in terms.parts.items()}, terms.latents)


class JointAlone(JMVAE):
    def terms(self, batch: Batch) -> Terms:
        return joint_terms(self, batch, lambda_=50.0)


class NumpyNoise(JMVAE):
    def terms(self, batch: Batch) -> Terms:
        terms = super().terms(batch)
        return Terms(terms.loss + float(np.random.default_rng().normal()), terms.parts, terms.latents)


class Uphill(JMVAE):
    """The loss is right, its gradient has the wrong sign."""

    def terms(self, batch: Batch) -> Terms:
        terms = super().terms(batch)
        return Terms(2 * terms.loss.detach() - terms.loss, terms.parts, terms.latents)


class Bursting(JMVAE):
    """The gradient of its second step is nan, and no distribution takes the weights after it."""

    calls = 0

    def terms(self, batch: Batch) -> Terms:
        self.calls += 1
        terms = super().terms(batch)
        if self.calls == 2:
            terms.loss.register_hook(lambda gradient: gradient * torch.nan)
        return terms


class NoImagePosterior(JMVAE):
    def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
        if concept is None:
            raise CapabilityError("no q(z|x)")
        return super().posterior(image, concept)


class Warming(JMVAE):
    """Its weight of the loss grows with the number of calls, which is in no state_dict."""

    calls = 0

    def terms(self, batch: Batch) -> Terms:
        self.calls += 1
        terms = super().terms(batch)
        return Terms(terms.loss * self.calls, terms.parts, terms.latents)


class Rounding(CVAE):
    """Told scores, it looks at their sign alone."""

    def terms(self, batch: Batch) -> Terms:
        weights = None if batch.weights is None else (batch.weights > 0.5).float() * 0.999
        return super().terms(replace(batch, weights=weights))


class RoundingSpec(CVAESpec):
    implementation: ClassVar[str] = f"{__name__}:Rounding"


class GlobalNoise(JMVAE):
    def imagine(self, *given: Any, **options: Any) -> Tensor:
        torch.rand(1)
        return super().imagine(*given, **options)


class DotsSpec(SpritesSpec):
    """Images of sprites' shape, of which ``fault`` is wrong."""

    implementation: ClassVar[str] = "tests.conformance.broken:DotsData"
    fault: Literal["none", "pixels", "shape", "overlap", "fingerprint", "split", "order", "concepts", "unsaid"] = "none"


class DotsData(ConceptDataModule):
    spec: DotsSpec
    made = 0

    def prepare_data(self) -> None:
        DotsData.made += 1

    def setup(self, stage: str | None = None) -> None:
        fault, generator = self.spec.fault, torch.Generator().manual_seed(0)
        images = torch.rand(100, *self.image_shape, generator=generator)
        columns = [torch.randint(size, (100,), generator=generator) for size in self.schema.sizes]
        concepts = torch.stack(columns, 1)
        if fault == "pixels":
            images = images * 255
        if fault == "shape":
            images = images[..., :-1]
        if fault == "order":
            images = images.roll(DotsData.made, 0)
        if fault == "concepts":
            concepts[:, 0] += 100
        masks = torch.ones(100, self.spec.masks, *self.image_shape[1:], dtype=torch.bool)
        scores = (2 * concepts - 1).float() if fault == "unsaid" else None
        self._store = Images(images, concepts, masks if self.spec.masks else None, scores)

    @property
    def fingerprint(self) -> str:
        made = {"fingerprint": token_hex(), "split": self.spec.split_seed}
        return content_hash(["dots", made.get(self.spec.fault)])

    def rows(self, partition: str, *, split: str | None = None) -> Tensor:
        first, last = {"train": (0, 80), "val": (80, 90), "test": (90, 100)}[partition]
        return torch.arange(first - 5 if self.spec.fault == "overlap" and partition == "test" else first, last)
