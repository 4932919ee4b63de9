"""Spec of CelebA-18: faces with 18 binary attributes (Vedantam et al. 2018, section 5.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ...base.errors import ConfigError, Problem
from ...concepts import Attribute, Schema
from ..components import datasets
from .captioned import CaptionedSpec

if TYPE_CHECKING:
    from ...concepts.captions import Captions

NAMES = (
    "Bald",
    "Bangs",
    "Black_Hair",
    "Blond_Hair",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Eyeglasses",
    "Gray_Hair",
    "Heavy_Makeup",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "Pale_Skin",
    "Receding_Hairline",
    "Smiling",
    "Straight_Hair",
    "Wavy_Hair",
    "Wearing_Hat",
)
SCHEMA = Schema(tuple(Attribute(name, ("no", "yes")) for name in NAMES))

NUM_DRAWN = 200_000
"""Faces drawn where no number is given: about as many as CelebA has."""


@datasets.register
class CelebA18Spec(CaptionedSpec):
    """Faces with the 18 visible attributes of CelebA that Vedantam et al. chose: photographs, or drawings of them."""

    implementation: ClassVar[str] = "mmvae_bench.data.celeba18:CelebA18DataModule"
    summary: ClassVar[str] = "faces with 18 binary attributes: CelebA's photographs, or drawn from its statistics"
    reference: ClassVar[str] = "Vedantam et al. 2018, section 5.3; Liu et al. 2015, Deep Learning Face Attributes"
    later_fields: ClassVar[frozenset[str]] = CaptionedSpec.later_fields | {"crop"}

    name: Literal["celeba18"] = "celeba18"
    """The dataset's name."""
    source: Literal["celeba", "drawn"] = "drawn"
    """celeba: the aligned photographs under the data root; drawn: a stand-in that needs no file, drawn from attribute
    rows sampled from a model of CelebA's joint statistics."""
    size: Annotated[int, Field(ge=16, le=128)] = 64
    """Height and width of an image in pixels; 64 is the paper's."""
    crop: Literal[148, 128] = 148
    """Side of what is kept of a photograph of 178x218, in pixels: 148 as Vedantam et al., 128 as Cremer and Kushman."""
    num_images: Annotated[int, Field(ge=100, le=10_000_000)] | None = None
    """How many images; null: 200,000 drawn ones, or all the photographs there are. Fewer photographs than there are
    means evenly spread ones."""
    seed: Annotated[int, Field(ge=0, le=2**53)] = 0
    """Seed of the attribute rows and of the drawing; photographs have none."""
    split: Literal["iid", "comp"] = "iid"
    """iid: the official partition of the photographs, random parts of the drawings; comp: by concept, with every
    bald-and-not-male concept in the test part."""
    split_seed: Annotated[int, Field(ge=0, le=2**53)] = 42
    """Seed of the split."""

    watched_attributes: ClassVar[tuple[str, ...]] = ("Eyeglasses",)
    """Attributes whose frequency, when unspecified, is compared with training (figure 5 of the paper)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.source == "drawn" and self.crop != 148:
            raise ConfigError([Problem("only photographs are cropped (source: celeba)", ("crop",), str(self.crop))])
        return self

    def schema(self) -> Schema:  # type: ignore[override]
        """18 attributes with the values no and yes."""
        return SCHEMA

    def image_shape(self) -> tuple[int, int, int]:
        """(3, size, size)."""
        return (3, self.size, self.size)

    def default_classifier(self) -> str:
        """A convolutional network for colour images."""
        return "conv_rgb"

    def named_queries(self) -> Mapping[str, str]:
        """The concept that the paper asks for and training hardly has: 9 of 162,770 rows."""
        return {"bald and not male": "Bald=yes, Male=no"}

    def captions(self) -> Captions:
        """Words of the present attributes with Male or Female: 20 tokens, at most 9 (Cremer and Kushman 2018)."""
        from ...concepts.captions import PresenceCaptions

        return PresenceCaptions(SCHEMA, opposites={"Male": "Female"}, max_words=9)
