"""Two coloured squares, named in an order that only the relation between them tells: a tiny two-object world."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmvae_bench.concepts import Attribute, Schema, satisfies
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.data.batch import Batch
from mmvae_bench.evaluation.classifier import HeldOut, ObservationClassifier
from mmvae_bench.objectives.base import Objective, Terms
from mmvae_bench.specs.components import DatasetSpec

from .fakes import FakeSpec, Store

COLOURS = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.2, 0.2, 0.9], [0.9, 0.9, 0.1]])
NAMES = ("red", "green", "blue", "yellow")
RELATIONS = ("left", "right", "front", "behind")
SQUARES = Schema(
    (Attribute("colour_1", NAMES), Attribute("relation", RELATIONS), Attribute("colour_2", NAMES)),
    given=("relation",),
)
CANVAS, SIDE = 32, 6


def draw_squares(number: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Float[N, 3, 32, 32] and Long[N, 3], N at most ``number``: the first square is there as seen from the second."""
    generator = torch.Generator().manual_seed(seed)
    concepts = torch.stack([torch.randint(4, (number,), generator=generator) for _ in range(3)], 1)
    places = torch.randint(0, CANVAS - SIDE, (number, 2, 2), generator=generator)  # of each square, x and y
    apart = ((places[:, 0] - places[:, 1]).abs() > SIDE).all(1)
    concepts, places = concepts[apart], places[apart]
    relation = concepts[:, 1]
    offset = (places[:, 0] - places[:, 1]).gather(1, (relation >= 2).long()[:, None])[:, 0]
    # Right and front are where coordinates grow.
    wrong = (offset > 0) != ((relation == 1) | (relation == 2))
    places = torch.where(wrong[:, None, None], places.flip(1), places)
    images = torch.full((len(places), 3, CANVAS, CANVAS), 0.5)
    for image, concept, ends in zip(images, concepts, places.tolist(), strict=True):
        for colour, (x, y) in zip(COLOURS[concept[[0, 2]]], ends, strict=True):
            image[:, y : y + SIDE, x : x + SIDE] = colour[:, None, None]
    return images, concepts


class SquaresSpec(DatasetSpec):
    implementation: ClassVar[str] = "tests.evaluation.squares:SquaresData"
    summary: ClassVar[str] = "squares"
    reference: ClassVar[str] = "none"

    name: Literal["squares"] = "squares"
    source: str = "drawn"
    split: str = "iid"
    split_seed: int = 42

    def concept_schema(self) -> Schema:
        return SQUARES

    def image_shape(self) -> tuple[int, int, int]:
        return (3, CANVAS, CANVAS)

    def default_classifier(self) -> str:
        return "conv_rgb"


class SquaresData(ConceptDataModule):
    def setup(self, stage: str | None = None) -> None:
        self._store = Store(*draw_squares(7000, seed=0))

    @property
    def fingerprint(self) -> str:
        return "squares"

    def rows(self, partition: str, *, split: str | None = None) -> Tensor:
        start = {"train": 0, "val": 1, "test": 2}[partition]
        rows = torch.arange(len(self.store))
        return rows[(rows % 6 >= 2) if partition == "train" else (rows % 6 == start - 1)]


class ExactOrder(nn.Module):
    """The observation classifier that is always right, when told the right relation."""

    def forward(self, images: Tensor, told: Tensor) -> list[Tensor]:
        values = []
        for image, relation in zip(images, told[:, 0].tolist(), strict=True):
            # Along the axis of the relation, from the end where the first square must be.
            lines = image.transpose(1, 2) if relation < 2 else image
            inked = ((lines - 0.5).abs().sum(0) > 0.1).any(1).nonzero()[:, 0]
            ends = [lines[:, int(row)] for row in (inked[0], inked[-1])]
            colours = [
                line[:, int(((line - 0.5).abs().sum(0) > 0.1).nonzero()[0])].sub(COLOURS).abs().sum(1).argmin()
                for line in ends
            ]
            values.append(colours[::-1] if RELATIONS[relation] in ("right", "front") else colours)
        read = torch.tensor(values)
        return [F.one_hot(read[:, k], len(NAMES)).float() for k in range(2)]


class SquaresOracle(nn.Module):
    """Shows a drawing that satisfies the query, any of them alike."""

    can_imagine, can_describe = True, True
    schema, image_shape, latent_size, device = SQUARES, (3, CANVAS, CANVAS), 2, torch.device("cpu")
    own_prior, sample_prior = Objective.own_prior, Objective.sample_prior

    def __init__(self) -> None:
        super().__init__()
        self.spec, self.stage = FakeSpec(), None
        self.images, self.concepts = draw_squares(4000, seed=5)

    @property
    def takes_partial_concepts(self) -> bool:
        return True

    def imagine(
        self, concept: Tensor, *, num_samples: int = 10, mean: bool = False, generator: torch.Generator | None = None
    ) -> Tensor:
        fitting = satisfies(self.concepts, concept).double()
        return self.images[torch.multinomial(fitting, num_samples, True, generator=generator)]

    def describe(self, image: Tensor) -> Tensor:
        return torch.zeros(len(image), 3, dtype=torch.long)

    def terms(self, batch: Batch) -> Terms:
        return Terms(batch.image.mean(), {})


def exact_order(data: ConceptDataModule) -> ObservationClassifier:
    """A classifier that needs no training."""
    concepts = data.concepts("test", split="iid")
    seen = concepts.clone()
    seen[:, 1] = -1
    return ObservationClassifier("exact", "0" * 12, ExactOrder(), SQUARES, HeldOut(concepts, seen))
