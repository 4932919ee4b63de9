"""For any registered backbone, without its name: small settings, and a dataset of images that it takes."""

from __future__ import annotations

import math
from functools import cache
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..base.errors import ConfigError
from ..concepts import Attribute, Schema
from ..concepts.captions import Captions, SlotCaptions
from ..data.base import ConceptDataModule
from ..specs.built_in.datasets import CaptionedSpec
from ..specs.components import BackboneSpec, ObjectiveSpec, View, backbones, objectives, of_domain
from ..training.rehearsal import Images as Images

BANDS = Schema(
    (Attribute("top", ("dark", "light")), Attribute("middle", ("dark", "grey", "light")), Attribute("hue", ("a", "b")))
)
SHAPES = ((1, 16, 16), (3, 16, 16), (1, 64, 64), (3, 64, 64), (3, 112, 112))
"""Tried in this order: a backbone gets the smallest images that it takes."""
MOST_IMAGES = 32
MOST_NUMBERS = MOST_IMAGES * 3 * 32 * 32
SMALL = {"width": 4, "hidden": 32, "latent_size": 4}
"""Settings of whichever parameters a backbone has."""


def images_at_once(shape: tuple[int, int, int]) -> int:
    """How many images a batch of a check has: fewer large ones, whose networks are large too and would take a quarter
    of an hour for what is as true of eight images."""
    return max(4, min(MOST_IMAGES, MOST_NUMBERS // math.prod(shape)))


def networks_of(objective: str) -> str:
    """A backbone of small images that an objective can be trained on, of RGB ones where it can."""
    spec = objectives.parse(objective)
    for name in ("rgb_thin", "attribute2image_thin"):
        try:
            spec.check(small(name))
        except ConfigError:
            continue
        return name
    return "mnist_a_thin"


def objectives_on(backbone: str) -> list[str]:
    """The objectives that can be trained on the networks of a backbone, and on concepts of any attributes."""
    return [name for name in of_domain(objectives, "images") if _can(objectives.parse(name), backbone)]


def _can(objective: ObjectiveSpec, backbone: str) -> bool:
    try:
        objective.check(small(backbone))
        objective.check_concepts(BandsSpec())
    except ConfigError:
        return False
    return True


class BandsSpec(CaptionedSpec):
    """Images with two bands, made in memory."""

    implementation: ClassVar[str] = "mmvae_bench.conformance.worlds:BandsData"
    summary: ClassVar[str] = "bands"
    reference: ClassVar[str] = "none"
    masks: ClassVar[int] = 1

    name: Literal["bands"] = "bands"
    source: str = "drawn"
    split: str = "iid"
    split_seed: int = 42
    shape: tuple[int, int, int] = (3, 16, 16)
    num_images: int = 96

    def concept_schema(self) -> Schema:
        return BANDS

    def image_shape(self) -> tuple[int, int, int]:
        return self.shape

    def captions(self) -> Captions:
        return SlotCaptions(BANDS)

    def default_classifier(self) -> str:
        return "conv_thin"


class BandsData(ConceptDataModule):
    """Two bands as bright as the concept says, on a gradient, with noise: grey levels, or bits on one channel. The mask
    is where the bands are."""

    spec: BandsSpec

    @property
    def fingerprint(self) -> str:
        """Of images that are never stored."""
        return f"{self.spec.name} in memory"

    def setup(self, stage: str | None = None) -> None:
        generator = torch.Generator().manual_seed(0)
        count, (channels, height, width) = self.spec.num_images, self.spec.shape
        columns = [torch.randint(size, (count,), generator=generator) for size in BANDS.sizes]
        concepts = torch.stack(columns, 1)
        images = torch.linspace(0, 0.3, width).expand(count, channels, height, width).clone()
        third = height // 3
        images[:, :, :third] += (0.1 + 0.5 * columns[0].float())[:, None, None, None]
        images[:, :, third : 2 * third] += (0.1 + 0.25 * columns[1].float())[:, None, None, None]
        images[:, -1] += 0.1 * columns[2].float()[:, None, None]
        images += 0.05 * torch.rand(images.shape, generator=generator)
        levels = 1 if channels == 1 else 255
        mask = torch.zeros(count, 1, height, width, dtype=torch.bool)
        mask[:, :, : 2 * third, width // 4 :] = True
        self._store = Images((images.clamp(0, 1) * levels).round() / levels, concepts, mask)

    def rows(self, partition: str, *, split: str | None = None) -> Tensor:
        cut = 3 * self.spec.num_images // 4
        return torch.arange(cut) if partition == "train" else torch.arange(cut, self.spec.num_images)


COUNTS = Schema((Attribute("count", ("0", "1", "2")),))


class CountsSpec(BandsSpec):
    """Images with no square, one or two, made in memory: for an objective whose concept is a number of things."""

    implementation: ClassVar[str] = "mmvae_bench.conformance.worlds:CountsData"
    summary: ClassVar[str] = "squares"

    name: Literal["counts"] = "counts"  # type: ignore[assignment]

    def concept_schema(self) -> Schema:
        return COUNTS

    def captions(self) -> Captions:
        return SlotCaptions(COUNTS)


class CountsData(BandsData):
    """White squares, at most one in each half, on black. The mask is where they are."""

    def setup(self, stage: str | None = None) -> None:
        generator = torch.Generator().manual_seed(0)
        count, (channels, height, width) = self.spec.num_images, self.spec.shape
        number = torch.randint(3, (count,), generator=generator)
        first = torch.randint(2, (count,), generator=generator)
        corner = torch.randint(width // 4, (count, 2, 2), generator=generator)
        mask = torch.zeros(count, 1, height, width, dtype=torch.bool)
        for image, (most, half) in enumerate(zip(number.tolist(), first.tolist(), strict=True)):
            for k, (down, right) in enumerate(corner[image, :most].tolist()):
                top = (half + k) % 2 * (height // 2) + down
                mask[image, 0, top : top + height // 4, right : right + width // 4] = True
        self._store = Images(mask.float().expand(-1, channels, -1, -1).clone(), number[:, None], mask)


WORLDS: tuple[type[BandsSpec], ...] = (BandsSpec, CountsSpec)


def world_of(objective: ObjectiveSpec, backbone: str, view: View = "attributes") -> BandsData:
    """The first dataset whose concepts an objective takes, with the smallest images that a backbone takes."""
    for kind in WORLDS:
        try:
            objective.check_concepts(kind(view=view))
        except ConfigError:
            continue
        return world(backbone, view, kind)
    return world(backbone, view)


def small(name: str, **settings: object) -> BackboneSpec:
    """A backbone with small settings."""
    known = {key: value for key, value in SMALL.items() if key in backbones.get(name).model_fields}
    return backbones.parse({"name": name} | known | settings)


@cache
def world(name: str, view: View = "attributes", kind: type[BandsSpec] = BandsSpec) -> BandsData:
    """The dataset with the smallest images that a backbone takes, three times as many as in a batch."""
    for shape in SHAPES:
        spec = kind(shape=shape, view=view, num_images=3 * images_at_once(shape))
        try:
            small(name).check(spec)
        except ConfigError:
            continue
        data = spec.build()
        assert isinstance(data, BandsData)
        data.setup()
        return data
    raise AssertionError(f"no images of these sizes for backbone {name}: {SHAPES}")
