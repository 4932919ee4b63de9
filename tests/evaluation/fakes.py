"""A dataset that can be drawn and read without error, and models whose scores are known beforehand.

An image of 16x16 pixels has one to three lines, horizontal or vertical, in one of its four quarters.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmvae_bench.concepts import UNSPECIFIED, Attribute, Schema, compositional_split
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.data.batch import Batch
from mmvae_bench.evaluation.classifier import HeldOut, ObservationClassifier
from mmvae_bench.evaluation.evaluate import references_of
from mmvae_bench.evaluation.questions import Context, Question, build_question
from mmvae_bench.objectives.base import Objective, Terms
from mmvae_bench.specs.components import DatasetSpec, questions
from mmvae_bench.specs.trial import EvaluationSpec

LINES = Schema(
    (
        Attribute("place", ("top-left", "top-right", "bottom-left", "bottom-right")),
        Attribute("direction", ("horizontal", "vertical")),
        Attribute("number", ("one", "two", "three")),
    )
)
SIDE = 16


def draw(concepts: Tensor) -> Tensor:
    """Long[B, A], fully specified, to Float[B, 1, 16, 16]."""
    images = torch.zeros(len(concepts), 1, SIDE, SIDE)
    for image, (place, direction, number) in zip(images, concepts.tolist(), strict=True):
        quarter = image[0, 8 * (place // 2) : 8 * (place // 2) + 8, 8 * (place % 2) : 8 * (place % 2) + 8]
        if direction:
            quarter = quarter.T
        quarter[1 : 2 * number + 2 : 2, 1:7] = 1
    return images


def read_exactly(images: Tensor) -> Tensor:
    """The inverse of :func:`draw`."""
    quarters = images.reshape(-1, 2, 8, 2, 8).transpose(2, 3).reshape(-1, 4, 8, 8)
    place = quarters.sum((2, 3)).argmax(1)
    quarter = quarters[torch.arange(len(images)), place]
    rows, columns = (quarter.sum(2) == 6).sum(1), (quarter.sum(1) == 6).sum(1)
    return torch.stack([place, (columns > 0).long(), torch.maximum(rows, columns) - 1], 1)


class ExactReader(nn.Module):
    """The observation classifier that is always right."""

    def forward(self, images: Tensor) -> list[Tensor]:
        values = read_exactly(images)
        return [F.one_hot(values[:, k], size).float() for k, size in enumerate(LINES.sizes)]


class LinesSpec(DatasetSpec):
    implementation: ClassVar[str] = "tests.evaluation.fakes:LinesData"
    summary: ClassVar[str] = "lines"
    reference: ClassVar[str] = "none"

    name: Literal["lines"] = "lines"
    source: str = "drawn"
    split: str = "iid"
    split_seed: int = 42
    num_images: int = 2000
    skewed: bool = False

    def concept_schema(self) -> Schema:
        return LINES

    def image_shape(self) -> tuple[int, int, int]:
        return (1, SIDE, SIDE)

    def default_classifier(self) -> str:
        return "conv_thin"


class Store:
    def __init__(self, images: Tensor, concepts: Tensor, masks: Tensor | None = None) -> None:
        self.images, self.concepts, self.masks = images, concepts, masks

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, rows: Tensor) -> Batch:
        return Batch(
            self.images[rows], self.concepts[rows], rows, mask=None if self.masks is None else self.masks[rows]
        )

    def to(self, device: torch.device | str) -> Store:
        masks = None if self.masks is None else self.masks.to(device)
        return Store(self.images.to(device), self.concepts.to(device), masks)


class LinesData(ConceptDataModule):
    """Concepts drawn at random: uniformly, or with attributes that depend on each other."""

    spec: LinesSpec

    def setup(self, stage: str | None = None) -> None:
        generator = torch.Generator().manual_seed(0)
        columns = [torch.randint(size, (self.spec.num_images,), generator=generator) for size in LINES.sizes]
        if self.spec.skewed:
            follows = torch.rand(self.spec.num_images, generator=generator) < 0.8
            columns[2] = torch.where(follows, columns[1], columns[2])
        concepts = torch.stack(columns, 1)
        self._store = Store(draw(concepts), concepts)
        self._uniform = torch.rand(len(concepts), generator=generator)

    @property
    def fingerprint(self) -> str:
        return f"lines-{self.spec.num_images}-{self.spec.skewed}"

    def rows(self, partition: str, *, split: str | None = None) -> Tensor:
        if (split or self.spec.split) == "comp":
            combinations = compositional_split(LINES, seed=self.spec.split_seed)[partition]
            return (self.store.concepts[:, None] == combinations).all(-1).any(1).nonzero()[:, 0]
        low, high = {"train": (0.0, 0.85), "val": (0.85, 0.9), "test": (0.9, 1.0)}[partition]
        return ((self._uniform >= low) & (self._uniform < high)).nonzero()[:, 0]


class FakeSpec:
    name = "fake"
    partial_concepts = True


class Fake(nn.Module):
    """What the evaluation asks of an objective, and nothing else."""

    can_imagine, can_describe = True, True
    schema, image_shape, latent_size, device = LINES, (1, SIDE, SIDE), 2, torch.device("cpu")
    own_prior, sample_prior = Objective.own_prior, Objective.sample_prior

    def __init__(self) -> None:
        super().__init__()
        self.spec = FakeSpec()
        self.stage: Any = None
        self.asked: list[Tensor] = []

    @property
    def takes_partial_concepts(self) -> bool:
        return self.spec.partial_concepts

    def complete(self, queries: Tensor, generator: torch.Generator) -> Tensor:
        raise NotImplementedError

    def imagine(
        self, concept: Tensor, *, num_samples: int = 10, mean: bool = False, generator: torch.Generator | None = None
    ) -> Tensor:
        assert generator is not None
        self.asked.append(concept)
        full = self.complete(concept.repeat_interleave(num_samples, 0), generator)
        return draw(full).unflatten(0, (len(concept), num_samples))

    def describe(self, image: Tensor) -> Tensor:
        return read_exactly(image)

    def terms(self, batch: Batch) -> Terms:
        assert self.stage is None
        assert not self.training
        assert not torch.is_grad_enabled()
        return Terms(batch.image.sum((1, 2, 3)).mean() + torch.randn(()), {})


class Oracle(Fake):
    """Shows what is specified, and draws the rest from given distributions, independently."""

    def __init__(self, tables: list[Tensor]) -> None:
        super().__init__()
        self.tables = tables

    def complete(self, queries: Tensor, generator: torch.Generator) -> Tensor:
        drawn = [torch.multinomial(table, len(queries), True, generator=generator) for table in self.tables]
        return torch.where(queries == UNSPECIFIED, torch.stack(drawn, 1), queries)


class Collapsed(Fake):
    """Always shows the same image."""

    def __init__(self, concept: Tensor) -> None:
        super().__init__()
        self.concept = concept

    def complete(self, queries: Tensor, generator: torch.Generator) -> Tensor:
        return self.concept.expand(len(queries), -1)


def exact_classifier(data: ConceptDataModule) -> ObservationClassifier:
    """A classifier that needs no training."""
    concepts = data.concepts("test", split="iid")
    return ObservationClassifier("exact", "0" * 12, ExactReader(), LINES, HeldOut(concepts, concepts.clone()))


def question(name: str) -> Question:
    """A built-in question."""
    return build_question(questions.parse(name))


def context(
    model: Any, data: ConceptDataModule, classifier: Any, partition: str = "test", **evaluation: object
) -> Context:
    """What a question is asked with, on the CPU."""
    spec = EvaluationSpec.parse({"num_resamples": 50, **evaluation})
    return Context(model, data, classifier, references_of(data, spec, classifier), spec, partition, torch.device("cpu"))
