"""For any registered backbone, without its name: small settings, and a dataset of images that it takes."""

from __future__ import annotations

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
SMALL = {"width": 4, "hidden": 32, "latent_size": 4}
"""Settings of whichever parameters a backbone has."""


def networks_of(objective: str) -> str:
    """A backbone of small RGB images that an objective can be trained on."""
    return "rgb_thin" if _can(objectives.parse(objective), "rgb_thin") else "attribute2image_thin"


def objectives_on(backbone: str) -> list[str]:
    """The objectives that can be trained on the networks of a backbone."""
    return [name for name in of_domain(objectives, "images") if _can(objectives.parse(name), backbone)]


def _can(objective: ObjectiveSpec, backbone: str) -> bool:
    try:
        objective.check(small(backbone))
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


class BandsData(ConceptDataModule):
    """Two bands as bright as the concept says, on a gradient, with noise: grey levels, or bits on one channel. The mask
    is where the bands are."""

    spec: BandsSpec

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


def small(name: str, **settings: object) -> BackboneSpec:
    """A backbone with small settings."""
    known = {key: value for key, value in SMALL.items() if key in backbones.get(name).model_fields}
    return backbones.parse({"name": name} | known | settings)


@cache
def world(name: str, view: View = "attributes") -> BandsData:
    """The dataset with the smallest images that a backbone takes."""
    for shape in SHAPES:
        spec = BandsSpec(shape=shape, view=view)
        try:
            small(name).check(spec)
        except ConfigError:
            continue
        data = BandsData(spec)
        data.setup()
        return data
    raise AssertionError(f"no images of these sizes for backbone {name}: {SHAPES}")
