"""Spec of Single-Object CLEVR: two binary attributes, for pictures of a two-dimensional latent space."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ...concepts import Attribute, Schema
from ..components import datasets
from .two_object_clevr import SIZES, ClevrSpec

COLOURS = ("red", "blue")
SCHEMA = Schema((Attribute("colour", COLOURS), Attribute("size", SIZES)))


@datasets.register
class SingleObjectClevrSpec(ClevrSpec):
    """A rubber sphere, red or blue, small or large, somewhere on a plane: nothing else varies."""

    implementation: ClassVar[str] = "mmvae_bench.data.single_object_clevr:SingleObjectClevrDataModule"
    summary: ClassVar[str] = "path-traced scenes of one sphere, red or blue, small or large: 4 concepts"
    reference: ClassVar[str] = (
        "Cremer and Kushman 2018, On the Importance of Learning Aggregate Posteriors in Multimodal VAEs, figure 1"
    )

    name: Literal["single_object_clevr"] = "single_object_clevr"
    """The dataset's name."""
    num_images: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    """How many scenes; a smaller set is the beginning of a larger one."""
    split: Literal["iid"] = "iid"
    """iid: each image on its own, 0.85 / 0.05 / 0.10."""
    split_seed: Annotated[int, Field(ge=0, le=2**53)] = 42
    """Seed of the split."""

    def schema(self) -> Schema:  # type: ignore[override]
        """Colour and size."""
        return SCHEMA
