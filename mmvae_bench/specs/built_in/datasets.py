"""The built-in datasets: which images, which concepts, which splits."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ...base.errors import ConfigError, Problem, nearest
from ...concepts import Attribute, Schema
from ..base import LARGEST
from ..components import DatasetSpec, View, by_setting, datasets
from . import graphs as graphs  # Registers its own.
from . import papers as papers
from . import photographs as photographs

if TYPE_CHECKING:
    from ...concepts.captions import Captions


class CaptionedSpec(DatasetSpec):
    """A dataset with captions. The view determines what y is, but not the images or the split."""

    later_fields: ClassVar[frozenset[str]] = frozenset({"view"})

    view: Literal["attributes", "text"] = "attributes"
    """attributes: y is the concept; text: y is its caption, a sequence of words determined by the image's number."""

    @property
    def chosen_view(self) -> View:
        """The value of ``view``."""
        return self.view

    def texts(self) -> Captions | None:
        """The captions, in the text view."""
        return self.captions() if self.view == "text" else None


MNIST_A_SCHEMA = Schema(
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
    """Images rendered from each source digit."""
    num_sources: Annotated[int, Field(ge=20, le=LARGEST)] | None = None
    """Use only this many source digits, evenly spaced over the source; null: all of them."""
    seed: Annotated[int, Field(ge=0, le=2**53)] = 0
    """Seed of the rendering."""
    split: Literal["iid", "iid_disjoint", "comp"] = "iid"
    """iid: by image, as published: the source of nearly every test digit is in training too, so choose it for
    reproductions; iid_disjoint: by source digit, so that none is in two partitions; comp: by concept."""
    split_seed: Annotated[int, Field(ge=0, le=2**53)] = 42
    """Seed of the split; 42 is the published compositional split."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        available = SOURCE_SIZES[self.source]
        if self.num_sources is not None and self.num_sources > available:
            message = f"source {self.source} has {available:,} digits; use at most that many, or null for all"
            raise ConfigError([Problem(message, ("num_sources",), str(self.num_sources))])
        return self

    def most_images(self) -> int:
        """The replicas of all digits."""
        return (self.num_sources or SOURCE_SIZES[self.source]) * self.replicas

    def concept_schema(self) -> Schema:
        """Digit, scale, orientation, location."""
        return MNIST_A_SCHEMA

    def image_shape(self) -> tuple[int, int, int]:
        """(1, canvas, canvas)."""
        return (1, self.canvas, self.canvas)

    def default_classifier(self) -> str:
        """The published network at the published canvas, the thin one otherwise."""
        return "conv_published" if self.canvas == 64 else "conv_thin"


class PlainMnistSpec(DatasetSpec):
    """Handwritten digits as they are, one image each, binarised once. Subclasses say what y is."""

    implementation: ClassVar[str] = "mmvae_bench.data.mnist:MnistDataModule"
    greys: ClassVar[bool] = True

    source: Literal["mnist", "digits"] = "digits"
    """mnist: the 70,000 MNIST images; digits: scikit-learn's 1,797 real 8x8 digits, a stand-in that needs no file."""
    canvas: Annotated[int, Field(ge=16, le=256)] = 28
    """Height and width of an image in pixels. 28 is MNIST's own size; digits are scaled to any other."""
    num_images: Annotated[int, Field(ge=20, le=LARGEST)] | None = None
    """Use only this many digits, evenly spaced over the source; null: all of them."""
    seed: Annotated[int, Field(ge=0, le=2**53)] = 0
    """Seed of the binarisation: each pixel is drawn once as Bernoulli of its grey."""
    split: Literal["iid"] = "iid"
    """iid: by image. MNIST's own test digits are the test partition, and of its training digits one in twelve, about
    5,000, is for validation; of the stand-in, which has no partition of its own, 0.85 / 0.05 / 0.10. There are too few
    concepts to hold some out."""
    split_seed: Annotated[int, Field(ge=0, le=2**53)] = 42
    """Seed of the split."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        available = SOURCE_SIZES[self.source]
        if self.num_images is not None and self.num_images > available:
            message = f"source {self.source} has {available:,} digits; use at most that many, or null for all"
            raise ConfigError([Problem(message, ("num_images",), str(self.num_images))])
        return self

    def most_images(self) -> int:
        """One for each digit."""
        return self.num_images or SOURCE_SIZES[self.source]

    def image_shape(self) -> tuple[int, int, int]:
        """(1, canvas, canvas)."""
        return (1, self.canvas, self.canvas)

    def default_classifier(self) -> str:
        """The published network at 64x64, the thin one otherwise."""
        return "conv_published" if self.canvas == 64 else "conv_thin"

    def concepts_of_digits(self) -> tuple[tuple[int, ...], ...]:
        """The concept of each digit from 0 to 9, as value indices."""
        raise NotImplementedError


MNIST_SCHEMA = Schema((Attribute("digit", tuple("0123456789")),))
MNIST_2BIT_SCHEMA = Schema((Attribute("parity", ("even", "odd")), Attribute("magnitude", ("small", "large"))))


@datasets.register
class MnistSpec(PlainMnistSpec):
    """Handwritten digits and their label. With one attribute a query leaves nothing open, so there is no coverage, and
    a digit that was never seen cannot be put together from others, so there is no compositional split."""

    summary: ClassVar[str] = "handwritten digits and their label: 10 concepts of one attribute"
    reference: ClassVar[str] = "LeCun et al. 1998, Gradient-Based Learning Applied to Document Recognition"

    name: Literal["mnist"] = "mnist"
    """The dataset's name."""

    def concept_schema(self) -> Schema:
        """The digit."""
        return MNIST_SCHEMA

    def concepts_of_digits(self) -> tuple[tuple[int, ...], ...]:
        """The digit itself."""
        return tuple((digit,) for digit in range(10))


@datasets.register
class Mnist2bitSpec(PlainMnistSpec):
    """Handwritten digits with two bits in place of the label. The paper shows what a latent space of two dimensions
    makes of them; all four concepts are in every partition."""

    summary: ClassVar[str] = "handwritten digits, even or odd, small (below 5) or large: 4 concepts"
    reference: ClassVar[str] = "Vedantam et al. 2018, Generative Models of Visually Grounded Imagination, A.3"

    name: Literal["mnist_2bit"] = "mnist_2bit"
    """The dataset's name."""

    def concept_schema(self) -> Schema:
        """Parity and magnitude."""
        return MNIST_2BIT_SCHEMA

    def concepts_of_digits(self) -> tuple[tuple[int, ...], ...]:
        """Whether it is odd, and whether it is 5 or more."""
        return tuple((digit % 2, int(digit >= 5)) for digit in range(10))


CELEBA18_NAMES = (
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
CELEBA18_SCHEMA = Schema(tuple(Attribute(name, ("no", "yes")) for name in CELEBA18_NAMES))

FACE_PARTS = {"eyes": (27, 39, 12, 52), "mouth": (43, 57, 20, 44), "face": (16, 60, 14, 50)}
"""Rows from, to, columns from, to, in 64ths: the parts that Yan et al. (2016) hide, where these faces have them."""
NUM_DRAWN = 200_000
"""Number of drawn faces by default: about as many as CelebA has."""


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
    """Side in pixels of the square cut from a 178x218 photograph: 148 (Vedantam et al.) or 128 (Cremer and Kushman)."""
    num_images: Annotated[int, Field(ge=100, le=10_000_000)] | None = None
    """Number of images; null: 200,000 drawn ones, or all photographs. A smaller number of photographs is evenly spaced
    over all of them."""
    seed: Annotated[int, Field(ge=0, le=2**53)] = 0
    """Seed of the attribute rows and of the drawing; not used for photographs."""
    split: Literal["iid", "comp"] = "iid"
    """iid: the official partitions of the photographs, random ones of the drawings; comp: by concept, with every
    bald-and-not-male concept in the test partition."""
    split_seed: Annotated[int, Field(ge=0, le=2**53)] = 42
    """Seed of the split."""
    view: View = "attributes"  # type: ignore[assignment]
    """attributes: y is the concept; text: y is its caption, a sequence of words determined by the image's number;
    strengths: y is how strongly each attribute is drawn (Yan et al. 2016), -1 and 1 in the middle of no and yes."""

    watched_attributes: ClassVar[tuple[str, ...]] = ("Eyeglasses",)
    """Attributes whose frequency, when unspecified, is compared with training (figure 5 of the paper)."""
    headline_protocol: ClassVar[str] = "corrected"
    """A mustache is not independent of being male."""
    masks: ClassVar[int] = by_setting(lambda spec: int(spec.source == "drawn"))
    """That of the person in a drawing; photographs have none."""
    strengths: ClassVar[bool] = by_setting(lambda spec: spec.source == "drawn")
    """How strongly an attribute is drawn; of photographs nobody knows."""
    parts: ClassVar[Mapping[str, tuple[int, int, int, int]]] = FACE_PARTS
    """Where aligned faces have them."""
    mirrors: ClassVar[bool] = True
    """None of the attributes is one of a side."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.source == "drawn" and self.crop != 148:
            raise ConfigError([Problem("only applies to photographs (source: celeba)", ("crop",), str(self.crop))])
        return self

    def most_images(self) -> int | None:
        """Those asked for; all photographs are counted when they are read."""
        return self.num_images or (NUM_DRAWN if self.source == "drawn" else None)

    def concept_schema(self) -> Schema:
        """18 attributes with the values no and yes."""
        return CELEBA18_SCHEMA

    def image_shape(self) -> tuple[int, int, int]:
        """(3, size, size)."""
        return (3, self.size, self.size)

    def default_classifier(self) -> str:
        """A convolutional network for colour images."""
        return "conv_rgb"

    def named_queries(self) -> Mapping[str, str]:
        """The concept that the paper asks for and that is rare in training: 9 of 162,770 rows."""
        return {"bald and not male": "Bald=yes, Male=no"}

    def captions(self) -> Captions:
        """Words for the present attributes, and Male or Female: at most 9 of 20 tokens (Cremer and Kushman 2018)."""
        from ...concepts.captions import PresenceCaptions

        return PresenceCaptions(CELEBA18_SCHEMA, opposites={"Male": "Female"}, max_words=9)


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
"""The attributes of one object: 96 combinations."""


def _numbered(number: int) -> tuple[Attribute, ...]:
    return tuple(Attribute(f"{each.name}_{number}", each.values) for each in OBJECT_SCHEMA.attributes)


TWO_OBJECT_SCHEMA = Schema((*_numbered(1), Attribute("relation", RELATIONS), *_numbered(2)), given=("relation",))


class ClevrSpec(DatasetSpec):
    """What all datasets of rendered scenes share."""

    source: Literal["mitsuba"] = "mitsuba"
    """The scenes are path-traced by Mitsuba 3 (extra clevr)."""
    canvas: Annotated[int, Field(ge=32, le=224)] = 112
    """Height and width of an image in pixels; the 4:3 frame is squeezed into it. 112 is the paper's."""
    samples: Literal[16, 64, 256] = 64
    """Paths traced per pixel: 16 for small sets, 64 for the full dataset, 256 for print."""
    num_images: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    """Number of scenes; a smaller set is the beginning of a larger one."""
    seed: Annotated[int, Field(ge=0, le=2**53)] = 0
    """Seed of the scenes."""
    variant: Literal["auto", "cuda", "llvm", "scalar"] = "auto"
    """What renders: a GPU, LLVM on the CPU, or plain CPU code (slow); auto takes the first that works on this machine.
    The images of two variants differ in their noise, so the variant is part of the fingerprint."""

    def most_images(self) -> int:
        """All scenes."""
        return self.num_images

    def image_shape(self) -> tuple[int, int, int]:
        """(3, canvas, canvas)."""
        return (3, self.canvas, self.canvas)

    def default_classifier(self) -> str:
        """A convolutional network for colour images."""
        return "conv_rgb"


@datasets.register
class TwoObjectClevrSpec(ClevrSpec, CaptionedSpec):
    """Two objects on a plane, with a caption of nine words: "small red metal cube left large gray rubber sphere"."""

    implementation: ClassVar[str] = "mmvae_bench.data.clevr:TwoObjectClevrDataModule"
    summary: ClassVar[str] = "path-traced scenes of two objects, nine words each: 36,864 captions"
    reference: ClassVar[str] = (
        "Cremer and Kushman 2018, On the Importance of Learning Aggregate Posteriors in Multimodal VAEs, section 5; "
        "Johnson et al. 2017, CLEVR"
    )

    masks: ClassVar[int] = 2
    """One for each object."""

    name: Literal["two_object_clevr"] = "two_object_clevr"
    """The dataset's name."""
    split: Literal["iid", "comp"] = "iid"
    """iid: by image, 0.85 / 0.05 / 0.10; comp: by object. Some of the 96 objects (size, colour, material, shape) are
    held out: test images show a test object, validation images a validation object and no test object."""
    split_seed: Annotated[int, Field(ge=0, le=2**53)] = 42
    """Seed of the split."""

    def concept_schema(self) -> Schema:
        """Size, colour, material and shape of the first object, its relation to the second, and those of the second."""
        return TWO_OBJECT_SCHEMA

    def captions(self) -> Captions:
        """The nine words of the concept, in order."""
        from ...concepts.captions import SlotCaptions

        return SlotCaptions(TWO_OBJECT_SCHEMA)


SINGLE_OBJECT_COLOURS = ("red", "blue")
SINGLE_OBJECT_SCHEMA = Schema((Attribute("colour", SINGLE_OBJECT_COLOURS), Attribute("size", SIZES)))


@datasets.register
class SingleObjectClevrSpec(ClevrSpec):
    """A rubber sphere, red or blue, small or large, somewhere on a plane: nothing else varies."""

    implementation: ClassVar[str] = "mmvae_bench.data.clevr:SingleObjectClevrDataModule"
    summary: ClassVar[str] = "path-traced scenes of one sphere, red or blue, small or large: 4 concepts"
    reference: ClassVar[str] = (
        "Cremer and Kushman 2018, On the Importance of Learning Aggregate Posteriors in Multimodal VAEs, figure 1"
    )

    masks: ClassVar[int] = 1
    """That of the sphere."""

    name: Literal["single_object_clevr"] = "single_object_clevr"
    """The dataset's name."""
    num_images: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    """Number of scenes; a smaller set is the beginning of a larger one."""
    split: Literal["iid"] = "iid"
    """iid: by image, 0.85 / 0.05 / 0.10."""
    split_seed: Annotated[int, Field(ge=0, le=2**53)] = 42
    """Seed of the split."""

    def concept_schema(self) -> Schema:
        """Colour and size."""
        return SINGLE_OBJECT_SCHEMA


SPRITES_ATTRIBUTES = (
    Attribute("shape", ("square", "ellipse", "heart")),
    Attribute("size", ("small", "big")),
    Attribute("colour", ("red", "green", "blue", "yellow", "white")),
    Attribute("location", ("top-left", "top-right", "bottom-left", "bottom-right")),
    Attribute("background", ("dark", "light")),
)
"""Level L has the first L of them: 3, 6, 30, 120 and 240 concepts."""
PLAIN = "none"
NAMED_TEXTURES = (PLAIN, "procedural")
"""What a background may be besides the user's own pictures."""
DSPRITES_CANVASES = (32, 64)
"""Sizes that the images of dSprites can have without being interpolated."""
FIRST_COMPOSITIONAL_LEVEL = 3
"""At lower levels there are fewer concepts than a split has parts of its fractions."""


@datasets.register
class SpritesSpec(CaptionedSpec):
    """One square, ellipse or heart on a plain background; a caption of one word per attribute: "heart big red"."""

    implementation: ClassVar[str] = "mmvae_bench.data.sprites:SpritesDataModule"
    summary: ClassVar[str] = "drawn shapes in five levels, from 3 concepts to 240: learnt on a CPU in minutes"
    reference: ClassVar[str] = (
        "after Sejnova et al. 2022, Benchmarking Multimodal Variational Autoencoders: CdSprites+ Dataset and Toolkit"
    )

    later_fields: ClassVar[frozenset[str]] = CaptionedSpec.later_fields | {"texture"}
    masks: ClassVar[int] = 1
    """That of the sprite."""

    name: Literal["sprites"] = "sprites"
    """The dataset's name."""
    source: Literal["drawn", "dsprites"] = "drawn"
    """drawn: each image is a function of its number, drawn when it is needed, with shapes of this project; nothing is
    stored. dsprites: drawn in the same way, but with the shapes of dSprites, of which CdSprites+ is made too, from the
    original npz file, which is looked for under the data root; the canvas is then 32 or 64."""
    level: Literal[1, 2, 3, 4, 5] = 5
    """1: shape; 2: and size; 3: and colour; 4: and location; 5: and background. What a level leaves out is always the
    same: big, white, in the middle, on a dark background."""
    canvas: Annotated[int, Field(ge=16, le=256)] = 32
    """Height and width of an image in pixels."""
    num_images: Annotated[int, Field(ge=100, le=10_000_000)] = 30_000
    """Number of images; a smaller set is the beginning of a larger one."""
    texture: str = PLAIN
    """none: the background has one shade; procedural: stripes, checks, waves or grain around that shade; or a folder of
    pictures, such as DTD's, written with a slash: absolute, or under the data root (dtd/images)."""
    seed: Annotated[int, Field(ge=0, le=2**53)] = 0
    """Seed of the concepts and of the drawing."""
    split: Literal["iid", "comp"] = "iid"
    """iid: by image, 0.85 / 0.05 / 0.10; comp: by concept, from level 3 on."""
    split_seed: Annotated[int, Field(ge=0, le=2**53)] = 42
    """Seed of the split."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.split == "comp" and self.level < FIRST_COMPOSITIONAL_LEVEL:
            message = (
                f"level {self.level} has {prod(self.concept_schema().sizes)} concepts, too few to hold some out: "
                f"choose split iid, or a level from {FIRST_COMPOSITIONAL_LEVEL} on"
            )
            raise ConfigError([Problem(message, ("split",), "comp", ("iid",), "iid")])
        if self.source == "dsprites" and self.canvas not in DSPRITES_CANVASES:
            message = "the images of dSprites have 64 x 64 pixels, shown as they are or as means of 2 x 2"
            choices = tuple(map(str, DSPRITES_CANVASES))
            raise ConfigError([Problem(message, ("canvas",), str(self.canvas), choices, None)])
        if self.texture not in NAMED_TEXTURES and "/" not in self.texture:
            message = "not one of the choices (a folder of pictures is written with a slash, such as dtd/images)"
            near = nearest(self.texture, NAMED_TEXTURES)
            raise ConfigError([Problem(message, ("texture",), repr(self.texture), NAMED_TEXTURES, near)])
        return self

    def concept_schema(self) -> Schema:
        """The attributes of the level."""
        return Schema(SPRITES_ATTRIBUTES[: self.level])

    def image_shape(self) -> tuple[int, int, int]:
        """(3, canvas, canvas)."""
        return (3, self.canvas, self.canvas)

    def default_classifier(self) -> str:
        """A convolutional network for colour images."""
        return "conv_rgb"

    def captions(self) -> Captions:
        """The value of each attribute, in order."""
        from ...concepts.captions import SlotCaptions

        return SlotCaptions(self.concept_schema())


DSPRITES_SCHEMA = Schema(
    (
        Attribute("shape", SPRITES_ATTRIBUTES[0].values),
        Attribute("scale", ("0.5", "0.6", "0.7", "0.8", "0.9", "1.0")),
        Attribute("orientation", tuple(map(str, range(40)))),
        Attribute("x", tuple(map(str, range(32)))),
        Attribute("y", tuple(map(str, range(32)))),
    )
)
"""The factors of dSprites in its order, each value by its place: orientation k is k times 360 / 39 degrees, so that the
first and the last are the same; x and y are in pixels, from the left and from the top."""
NUM_DSPRITES = prod(DSPRITES_SCHEMA.sizes)
SPRITE_FACTORS = 3
"""The first of the factors, which say what the sprite is; the others say where."""


@datasets.register
class DSpritesSpec(DatasetSpec):
    """A white square, ellipse or heart on black, one image for each combination of five factors: 737,280 in all."""

    implementation: ClassVar[str] = "mmvae_bench.data.dsprites:DSpritesDataModule"
    summary: ClassVar[str] = "the factor grid of dSprites: shape, scale, orientation, x and y, 737,280 binary images"
    reference: ClassVar[str] = "Matthey et al. 2017, dSprites: Disentanglement Testing Sprites Dataset"

    masks: ClassVar[int] = by_setting(lambda spec: int(spec.source == "drawn"))
    """That of the sprite, which is the whole of what is white."""

    name: Literal["dsprites"] = "dsprites"
    """The dataset's name."""
    source: Literal["drawn", "dsprites"] = "drawn"
    """drawn: the same grid, drawn by this project when it is needed, nothing stored; dsprites: the images of the
    original npz file, which is looked for under the data root."""
    num_images: Annotated[int, Field(ge=1000, le=NUM_DSPRITES)] | None = 30_000
    """Number of images, drawn from the grid without replacement; a smaller number is part of a larger one. null: the
    whole grid, in its own order, for the questions about factors; there the 3 C's take much memory."""
    split: Literal["iid", "comp"] = "iid"
    """iid: by image, 0.85 / 0.05 / 0.10; comp: by sprite. Of the combinations of shape, scale and orientation some are
    held out wherever they stand; sprites with the same picture, such as those of the first and the last orientation,
    are in the same partition. With iid they are not: of the 720 sprites 669 differ, and 11.1 % of the test images of
    the whole grid (0.6 % of 30,000 images) have their very picture, under other factors, in training."""
    split_seed: Annotated[int, Field(ge=0, le=2**53)] = 42
    """Seed of the split."""

    def most_images(self) -> int:
        """Those asked for, or the whole grid."""
        return self.num_images or NUM_DSPRITES

    def concept_schema(self) -> Schema:
        """Shape, scale, orientation, x and y."""
        return DSPRITES_SCHEMA

    def image_shape(self) -> tuple[int, int, int]:
        """(1, 64, 64)."""
        return (1, 64, 64)

    def default_classifier(self) -> str:
        """The published network of binary images at 64x64: it keeps where things are."""
        return "conv_published"


from . import few_labels as few_labels  # noqa: E402 - registers its own; it needs what is above
from . import own_data as own_data  # noqa: E402 - registers the user's own; last, so that it is last in the page
