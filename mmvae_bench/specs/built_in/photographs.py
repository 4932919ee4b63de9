"""Photographs with many attributes that are read from the user's files alone: LFW and CUB-200-2011."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ...concepts import Attribute, Schema
from ..components import DatasetSpec, View, by_setting, datasets

LFW_NAMES = (
    "Male", "Asian", "White", "Black", "Baby", "Child", "Youth", "Middle Aged", "Senior", "Black Hair", "Blond Hair",
    "Brown Hair", "Bald", "No Eyewear", "Eyeglasses", "Sunglasses", "Mustache", "Smiling", "Frowning", "Chubby",
    "Blurry", "Harsh Lighting", "Flash", "Soft Lighting", "Outdoor", "Curly Hair", "Wavy Hair", "Straight Hair",
    "Receding Hairline", "Bangs", "Sideburns", "Fully Visible Forehead", "Partially Visible Forehead",
    "Obstructed Forehead", "Bushy Eyebrows", "Arched Eyebrows", "Narrow Eyes", "Eyes Open", "Big Nose", "Pointy Nose",
    "Big Lips", "Mouth Closed", "Mouth Slightly Open", "Mouth Wide Open", "Teeth Not Visible", "No Beard", "Goatee",
    "Round Jaw", "Double Chin", "Wearing Hat", "Oval Face", "Square Face", "Round Face", "Color Photo", "Posed Photo",
    "Attractive Man", "Attractive Woman", "Indian", "Gray Hair", "Bags Under Eyes", "Heavy Makeup", "Rosy Cheeks",
    "Shiny Skin", "Pale Skin", "5 o Clock Shadow", "Strong Nose-Mouth Lines", "Wearing Lipstick", "Flushed Face",
    "High Cheekbones", "Brown Eyes", "Wearing Earrings", "Wearing Necktie", "Wearing Necklace",
)  # fmt: skip
"""In the order of their file."""
_COLOURS = (
    "blue", "brown", "iridescent", "purple", "rufous", "grey", "yellow", "olive", "green", "pink", "orange", "black",
    "white", "red", "buff",
)  # fmt: skip
_PATTERNS = ("solid", "spotted", "striped", "multi-colored")
CUB_GROUPS: dict[str, tuple[str, ...]] = {
    "has_bill_shape": (
        "curved_(up_or_down)", "dagger", "hooked", "needle", "hooked_seabird", "spatulate", "all-purpose", "cone",
        "specialized",
    ),
    "has_wing_color": _COLOURS,
    "has_upperparts_color": _COLOURS,
    "has_underparts_color": _COLOURS,
    "has_breast_pattern": _PATTERNS,
    "has_back_color": _COLOURS,
    "has_tail_shape": (
        "forked_tail", "rounded_tail", "notched_tail", "fan-shaped_tail", "pointed_tail", "squared_tail",
    ),
    "has_upper_tail_color": _COLOURS,
    "has_head_pattern": (
        "spotted", "malar", "crested", "masked", "unique_pattern", "eyebrow", "eyering", "plain", "eyeline", "striped",
        "capped",
    ),
    "has_breast_color": _COLOURS,
    "has_throat_color": _COLOURS,
    "has_eye_color": tuple(colour for colour in _COLOURS if colour != "iridescent"),
    "has_bill_length": ("about_the_same_as_head", "longer_than_head", "shorter_than_head"),
    "has_forehead_color": _COLOURS,
    "has_under_tail_color": _COLOURS,
    "has_nape_color": _COLOURS,
    "has_belly_color": _COLOURS,
    "has_wing_shape": ("rounded-wings", "pointed-wings", "broad-wings", "tapered-wings", "long-wings"),
    "has_size": (
        "large_(16_-_32_in)", "small_(5_-_9_in)", "very_large_(32_-_72_in)", "medium_(9_-_16_in)",
        "very_small_(3_-_5_in)",
    ),
    "has_shape": (
        "upright-perching_water-like", "chicken-like-marsh", "long-legged-like", "duck-like", "owl-like", "gull-like",
        "hummingbird-like", "pigeon-like", "tree-clinging-like", "hawk-like", "sandpiper-like", "upland-ground-like",
        "swallow-like", "perching-like",
    ),
    "has_back_pattern": _PATTERNS,
    "has_tail_pattern": _PATTERNS,
    "has_belly_pattern": _PATTERNS,
    "has_primary_color": _COLOURS,
    "has_leg_color": _COLOURS,
    "has_bill_color": _COLOURS,
    "has_crown_color": _COLOURS,
    "has_wing_pattern": _PATTERNS,
}  # fmt: skip
"""28 groups of values, each of which is an attribute of its own: an image may have several of a group, or none."""
CUB_NAMES = tuple(f"{group}::{value}" for group, values in CUB_GROUPS.items() for value in values)
LFW_SCHEMA, CUB_SCHEMA = (
    Schema(tuple(Attribute(name, ("no", "yes")) for name in names)) for names in (LFW_NAMES, CUB_NAMES)
)
LFW_PARTS = {"eyes": (20, 32, 12, 52), "mouth": (42, 54, 20, 44), "face": (16, 56, 14, 50)}
"""Rows from, to, columns from, to, in 64ths: about where aligned faces have them."""


class PhotographsSpec(DatasetSpec):
    """What both sets of photographs have in common."""

    headline_protocol: ClassVar[str] = "corrected"
    """The attributes depend on each other."""
    mirrors: ClassVar[bool] = True
    """None of the attributes is one of a side."""

    source: Literal["files"]
    """files: your copy of them under the data root. There is no stand-in, so it has to be said."""
    size: Literal[16, 32, 64, 128] = 64
    """Height and width of an image in pixels; 64 is the paper's."""
    num_images: Annotated[int, Field(ge=20, le=100_000)] | None = None
    """Use only this many photographs, evenly spread over all of them; null: all."""
    split: Literal["iid"] = "iid"
    """iid: the official partition of training and test images; a tenth of the training images validates."""
    split_seed: Annotated[int, Field(ge=0, le=2**53)] = 42
    """Not used: the partition is given."""

    def image_shape(self) -> tuple[int, int, int]:
        """(3, size, size)."""
        return (3, self.size, self.size)

    def most_images(self) -> int | None:
        """Those asked for."""
        return self.num_images

    def default_classifier(self) -> str:
        """A convolutional network for colour images."""
        return "conv_rgb"


@datasets.register
class LFWSpec(PhotographsSpec):
    """Labeled Faces in the Wild: aligned faces with real-valued scores of 73 attributes.

    A concept says yes where the score is above 0; the scores themselves are the ``strength`` of an image.
    """

    implementation: ClassVar[str] = "mmvae_bench.data.photographs:LFWDataModule"
    summary: ClassVar[str] = "faces with scores of 73 attributes: your copy of LFW"
    reference: ClassVar[str] = (
        "Huang et al. 2007, Labeled Faces in the Wild; scores of Kumar et al. 2009; Yan et al. 2016, section 5"
    )

    name: Literal["lfw"] = "lfw"
    """The dataset's name."""
    view: Literal["attributes", "strengths"] = "attributes"
    """attributes: y is the concept; strengths: y is the scores (Yan et al. 2016)."""
    masked: bool = False
    """Use your own masks of the people, and only the photographs that have one."""

    masks: ClassVar[int] = by_setting(lambda spec: int(spec.masked))
    """That of the person, where it is asked for."""
    masks_hint: ClassVar[str] = "masked: true reads masks of your own"
    strengths: ClassVar[bool] = True
    """Scores of a classifier of each attribute, as they are in its authors' file."""
    parts: ClassVar[dict[str, tuple[int, int, int, int]]] = LFW_PARTS

    @property
    def chosen_view(self) -> View:
        """The value of ``view``."""
        return self.view

    def concept_schema(self) -> Schema:
        """73 attributes with the values no and yes."""
        return LFW_SCHEMA


@datasets.register
class CUBSpec(PhotographsSpec):
    """Caltech-UCSD Birds-200-2011: birds cut out tightly, with 312 binary attributes and masks."""

    implementation: ClassVar[str] = "mmvae_bench.data.photographs:CUBDataModule"
    summary: ClassVar[str] = "birds with 312 binary attributes and masks: your copy of CUB-200-2011"
    reference: ClassVar[str] = "Wah et al. 2011, The Caltech-UCSD Birds-200-2011 Dataset; Yan et al. 2016, section 5"

    name: Literal["cub"] = "cub"
    """The dataset's name."""

    masks: ClassVar[int] = 1
    """That of the bird."""
    margin: ClassVar[int] = by_setting(lambda spec: spec.size // 16)
    """4 at 64 pixels: images are stored at 72."""
    hidden_squares: ClassVar[tuple[str, ...]] = ("random-8", "random-16")
    """Birds have no parts at a known place (Yan et al. 2016, table 1)."""

    def concept_schema(self) -> Schema:
        """312 attributes with the values no and yes."""
        return CUB_SCHEMA
