"""Squares as a dataset, registered by nobody but the tests."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.concepts.captions import Captions, PresenceCaptions
from mmvae_bench.data.sharded import ShardedDataModule
from mmvae_bench.specs.components import DatasetSpec
from mmvae_bench.worlds.recipe import ImageRecipe

from .squares import Squares

SCHEMA = Schema((Attribute("colour", ("red", "green", "blue")), Attribute("large", ("no", "yes"))))


class SquaresSpec(DatasetSpec):
    """Coloured squares."""

    implementation: ClassVar[str] = "tests.data.shards.spec:SquaresModule"
    summary: ClassVar[str] = "squares"
    reference: ClassVar[str] = "none"

    name: Literal["squares"] = "squares"
    source: Literal["drawn"] = "drawn"
    num_images: int = 20
    num_masks: int = 1
    version: int = 1
    seconds: float = 0.0
    captioned: bool = False
    split: Literal["iid", "halves"] = "iid"
    split_seed: int = 42

    def concept_schema(self) -> Schema:
        return SCHEMA

    def image_shape(self) -> tuple[int, int, int]:
        return Squares.image_shape

    def default_classifier(self) -> str:
        return "conv_thin"

    def captions(self) -> Captions:
        if not self.captioned:
            raise BenchmarkError("squares have no captions")
        flag = Schema((SCHEMA.attributes[1],))
        return _SizeCaptions(flag, opposites={"large": "small"}, max_words=1)


class _SizeCaptions(PresenceCaptions):
    def render(self, concepts: Tensor, *, index: Tensor, seed: int) -> Tensor:
        return super().render(concepts[:, 1:], index=index, seed=seed)


class SquaresModule(ShardedDataModule):
    """Of which every fifth image is a test image, every sixth one for validation."""

    spec: SquaresSpec
    num_verified = 8

    def recipe(self) -> ImageRecipe:
        return Squares(self.spec.num_images, self.spec.num_masks, self.spec.version, self.spec.seconds)

    def assign(self, split: str, seed: int) -> Tensor:
        rows = torch.arange(len(self.store)) + seed
        if split == "iid":
            return torch.where(rows % 5 == 0, 2, (rows % 6 == 0).long()).byte()
        if split == "halves":
            return (self.store.concepts[:, 1] * 2).byte()
        raise ValueError(f"unknown split {split!r}; choices: iid, halves")

    def extras(self) -> dict[str, object]:
        return {"mean_brightness": float(self.columns["brightness"].mean())}
