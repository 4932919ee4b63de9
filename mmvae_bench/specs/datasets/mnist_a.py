"""Spec of MNIST-A: MNIST digits with scale, orientation and location (Vedantam et al. 2018, Appendix A.2)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ...base.errors import ConfigError, Problem
from ...concepts import Attribute, Schema
from ..components import DatasetSpec, datasets

SCHEMA = Schema(
    (
        Attribute("digit", tuple("0123456789")),
        Attribute("scale", ("big", "small")),
        Attribute("orientation", ("clockwise", "upright", "counterclockwise")),
        Attribute("location", ("top-left", "top-right", "bottom-left", "bottom-right")),
    )
)


SOURCE_SIZES = {"mnist": 70_000, "digits": 1_797}


@datasets.register
class MnistASpec(DatasetSpec):
    """Handwritten digits, scaled, rotated, placed in a quadrant and binarised once: 240 concepts."""

    implementation: ClassVar[str] = "mmvae_bench.data.mnist_a:MnistADataModule"
    summary: ClassVar[str] = "handwritten digits with scale, orientation and location: 240 concepts"
    reference: ClassVar[str] = "Vedantam et al. 2018, Generative Models of Visually Grounded Imagination, A.2"

    name: Literal["mnist_a"] = "mnist_a"
    """The dataset's name."""
    source: Literal["mnist", "digits"] = "digits"
    """mnist: the 70,000 MNIST images; digits: scikit-learn's 1,797 real 8x8 digits, a stand-in that needs no file."""
    canvas: Annotated[int, Field(ge=16, le=256)] = 64
    """Height and width of an image in pixels; the geometry scales with it. 64 is the paper's."""
    replicas: Annotated[int, Field(gt=0, le=1000)] = 10
    """Images made from each source digit."""
    num_sources: Annotated[int, Field(ge=20)] | None = None
    """Use only this many source digits, evenly spread over the source; null: all of them."""
    seed: Annotated[int, Field(ge=0, le=2**53)] = 0
    """Seed of the rendering."""
    split: Literal["iid", "iid_disjoint", "comp"] = "iid"
    """iid: each image on its own; iid_disjoint: by source digit, so that none is in two parts; comp: by concept."""
    split_seed: Annotated[int, Field(ge=0, le=2**53)] = 42
    """Seed of the split; 42 is the published compositional split."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        available = SOURCE_SIZES[self.source]
        if self.num_sources is not None and self.num_sources > available:
            message = f"source {self.source} has {available:,} digits; use at most that many, or null for all"
            raise ConfigError([Problem(message, ("num_sources",), str(self.num_sources))])
        return self

    def schema(self) -> Schema:  # type: ignore[override]
        """Digit, scale, orientation, location."""
        return SCHEMA

    def image_shape(self) -> tuple[int, int, int]:
        """(1, canvas, canvas)."""
        return (1, self.canvas, self.canvas)

    def default_classifier(self) -> str:
        """The published network at the published canvas, the thin one elsewhere."""
        return "conv_published" if self.canvas == 64 else "conv_thin"
