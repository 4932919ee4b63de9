"""Specs of rendered scenes: Two-Object CLEVR (Cremer and Kushman 2018, section 5), and what its variants share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ...concepts import Attribute, Schema
from ..components import DatasetSpec, datasets
from .captioned import CaptionedSpec

if TYPE_CHECKING:
    from ...concepts.captions import Captions

SIZES = ("small", "large")
COLOURS = ("gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow")
MATERIALS = ("rubber", "metal")
SHAPES = ("cube", "sphere", "cylinder")
RELATIONS = ("left", "right", "front", "behind")

OBJECT_SCHEMA = Schema(
    (
        Attribute("size", SIZES),
        Attribute("colour", COLOURS),
        Attribute("material", MATERIALS),
        Attribute("shape", SHAPES),
    )
)
"""Of one object: 96 combinations."""


def _numbered(number: int) -> tuple[Attribute, ...]:
    return tuple(Attribute(f"{each.name}_{number}", each.values) for each in OBJECT_SCHEMA.attributes)


SCHEMA = Schema((*_numbered(1), Attribute("relation", RELATIONS), *_numbered(2)), given=("relation",))


class ClevrSpec(DatasetSpec):
    """What every dataset of rendered scenes has."""

    source: Literal["mitsuba"] = "mitsuba"
    """The scenes are path-traced by Mitsuba 3 (extra clevr)."""
    canvas: Annotated[int, Field(ge=32, le=224)] = 112
    """Height and width of an image in pixels, into which the 4:3 frame is squashed. 112 is the paper's."""
    samples: Literal[16, 64, 256] = 64
    """Paths traced a pixel: 16 for small sets, 64 for the real one, 256 for pictures to print."""
    num_images: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    """How many scenes; a smaller set is the beginning of a larger one."""
    seed: Annotated[int, Field(ge=0, le=2**53)] = 0
    """Seed of the scenes."""
    variant: Literal["auto", "cuda", "llvm", "scalar"] = "auto"
    """What computes: a GPU, LLVM on the CPU, or neither (slow); auto takes the first that works here. The images of two
    variants differ in their noise, so the one used is part of the fingerprint."""

    def image_shape(self) -> tuple[int, int, int]:
        """(3, canvas, canvas)."""
        return (3, self.canvas, self.canvas)

    def default_classifier(self) -> str:
        """A convolutional network for colour images."""
        return "conv_rgb"


@datasets.register
class TwoObjectClevrSpec(ClevrSpec, CaptionedSpec):
    """Two objects on a plane, with a caption of nine words: "small red metal cube left large gray rubber sphere"."""

    implementation: ClassVar[str] = "mmvae_bench.data.two_object_clevr:TwoObjectClevrDataModule"
    summary: ClassVar[str] = "path-traced scenes of two objects, nine words each: 36,864 captions"
    reference: ClassVar[str] = (
        "Cremer and Kushman 2018, On the Importance of Learning Aggregate Posteriors in Multimodal VAEs, section 5; "
        "Johnson et al. 2017, CLEVR"
    )

    name: Literal["two_object_clevr"] = "two_object_clevr"
    """The dataset's name."""
    split: Literal["iid", "comp"] = "iid"
    """iid: each image on its own, 0.85 / 0.05 / 0.10; comp: by object. Of the 96 objects (size, colour, material,
    shape) some are held out: test images show a test object, validation images a validation object and no test one."""
    split_seed: Annotated[int, Field(ge=0, le=2**53)] = 42
    """Seed of the split."""

    def schema(self) -> Schema:  # type: ignore[override]
        """Size, colour, material and shape of the first object, its relation to the second, and those of the second."""
        return SCHEMA

    def captions(self) -> Captions:
        """The nine words of the concept, in order."""
        from ...concepts.slot_captions import SlotCaptions

        return SlotCaptions(SCHEMA)
