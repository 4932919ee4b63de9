"""The built-in datasets of semi-supervised VAEs: faces under one light, house numbers, and several digits."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ...base.errors import ConfigError, Problem
from ...concepts import Attribute, Schema
from ..components import DatasetSpec, by_setting, datasets

PEOPLE = tuple(f"{number:02d}" for number in range(1, 40) if number != 14)
"""The 38 numbers of Yale B; there is no 14."""
AZIMUTHS, ELEVATIONS = (-100, -45, 0, 45, 100), (-25, 10, 55)
"""Where a light comes from, in degrees: the nearest of these is the value of the attribute. Azimuth is positive as in
the names of Yale B's files, elevation above the horizon."""
LIGHT = ("light_x", "light_y", "light_z")


@datasets.register
class LitFacesSpec(DatasetSpec):
    """Faces of 38 people, each under 64 lights: who it is, and where the light comes from.

    The direction of the light is a continuous variable; as attributes it is the nearest of five azimuths and of three
    elevations, and its exact unit vector comes beside them, as factors, for the objectives that can read it.
    """

    implementation: ClassVar[str] = "mmvae_bench.data.lit_faces:LitFacesDataModule"
    summary: ClassVar[str] = "faces of 38 people under 64 lights: drawn as (n . l) r + b, or your copy of Yale B"
    reference: ClassVar[str] = (
        "Siddharth et al. 2017, Learning Disentangled Representations with Semi-Supervised Deep Generative Models, "
        "4.2; Georghiades et al. 2001, Lee et al. 2005, the extended Yale Face Database B"
    )

    factors: ClassVar[tuple[str, ...]] = LIGHT
    """The unit vector to the light."""
    binary: ClassVar[bool] = False
    """They have shades."""
    masks: ClassVar[int] = by_setting(lambda spec: int(spec.source == "drawn"))
    """That of the head in a drawing; photographs have none."""

    name: Literal["lit_faces"] = "lit_faces"
    """The dataset's name."""
    source: Literal["drawn", "yale"] = "drawn"
    """drawn: heads by a height field and an albedo of each person, lit by the paper's own equation; yale: the cropped
    photographs of the extended Yale B, looked for under the data root."""
    canvas: Annotated[int, Field(ge=16, le=168)] = 32
    """Height and width of an image in pixels; of a photograph the middle 168x168."""
    num_people: Annotated[int, Field(ge=2, le=len(PEOPLE))] = len(PEOPLE)
    """Number of people: the first ones."""
    seed: Annotated[int, Field(ge=0, le=2**53)] = 0
    """Seed of the heads and of the noise; not used for photographs."""
    split: Literal["iid", "comp"] = "iid"
    """iid: by image, 0.85 / 0.05 / 0.10; comp: by concept. A person is not seen in training under some of the lights
    under which others are."""
    split_seed: Annotated[int, Field(ge=0, le=2**53)] = 42
    """Seed of the split."""

    def most_images(self) -> int:
        """64 of each person."""
        return self.num_people * 64

    def concept_schema(self) -> Schema:
        """Identity, and the azimuth and elevation of the light."""
        return Schema(
            (
                Attribute("identity", PEOPLE[: self.num_people]),
                Attribute("azimuth", tuple(map(str, AZIMUTHS))),
                Attribute("elevation", tuple(map(str, ELEVATIONS))),
            )
        )

    def image_shape(self) -> tuple[int, int, int]:
        """(1, canvas, canvas)."""
        return (1, self.canvas, self.canvas)

    def default_classifier(self) -> str:
        """The thin network: it takes shades and any canvas."""
        return "conv_thin"


HOUSE_NUMBERS = 99_289
"""Images of SVHN's training and test sets."""
NUM_DRAWN = 10_000
"""Number of drawn house numbers by default."""


@datasets.register
class HouseNumbersSpec(DatasetSpec):
    """House numbers and the digit in the middle. With one attribute there is no coverage and no compositional split."""

    implementation: ClassVar[str] = "mmvae_bench.data.house_numbers:HouseNumbersDataModule"
    summary: ClassVar[str] = "digits of house numbers in colour: drawn from typefaces, or your copy of SVHN"
    reference: ClassVar[str] = (
        "Siddharth et al. 2017, 4.1; Netzer et al. 2011, Reading Digits in Natural Images with Unsupervised Feature "
        "Learning (SVHN)"
    )

    masks: ClassVar[int] = by_setting(lambda spec: int(spec.source == "drawn"))
    """That of the digit in a drawing, without its neighbours; photographs have none."""

    name: Literal["house_numbers"] = "house_numbers"
    """The dataset's name."""
    source: Literal["drawn", "svhn"] = "drawn"
    """drawn: a stand-in that needs no file, whose error rates are not SVHN's; svhn: the 99,289 cropped photographs of
    train_32x32.mat and test_32x32.mat, which are looked for under the data root."""
    canvas: Annotated[int, Field(ge=16, le=64, multiple_of=8)] = 32
    """Height and width of an image in pixels. 32 is SVHN's own; photographs are scaled to any other."""
    num_images: Annotated[int, Field(ge=100, le=1_000_000)] | None = None
    """Number of images; null: 10,000 drawn ones, or all photographs, of which a smaller number is evenly spaced over
    both files."""
    seed: Annotated[int, Field(ge=0, le=2**53)] = 0
    """Seed of the drawing; not used for photographs."""
    split: Literal["iid"] = "iid"
    """iid: by image. SVHN's own test images are the test partition, and of its training images one in twelve, about
    6,100, is for validation; of the drawn ones 0.85 / 0.05 / 0.10."""
    split_seed: Annotated[int, Field(ge=0, le=2**53)] = 42
    """Seed of the split."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.source == "svhn" and (self.num_images or 0) > HOUSE_NUMBERS:
            message = f"SVHN has {HOUSE_NUMBERS:,} images; use at most that many, or null for all"
            raise ConfigError([Problem(message, ("num_images",), str(self.num_images))])
        return self

    def most_images(self) -> int:
        """Those asked for, or all."""
        return self.num_images or (NUM_DRAWN if self.source == "drawn" else HOUSE_NUMBERS)

    def concept_schema(self) -> Schema:
        """The digit."""
        return Schema((Attribute("digit", tuple("0123456789")),))

    def image_shape(self) -> tuple[int, int, int]:
        """(3, canvas, canvas)."""
        return (3, self.canvas, self.canvas)

    def default_classifier(self) -> str:
        """A convolutional network for colour images."""
        return "conv_rgb"


DIGIT_NAMES = ("zeros", "ones", "twos", "threes", "fours", "fives", "sixes", "sevens", "eights", "nines")
ONE_IN = 7
"""Of the images one in so many is made of the source's test digits: 10,000 of 70,000."""


@datasets.register
class MultiMnistSpec(DatasetSpec):
    """No digit to three handwritten digits on a canvas, each as often as the others: how many there are, or of each."""

    implementation: ClassVar[str] = "mmvae_bench.data.multi_mnist:MultiMnistDataModule"
    summary: ClassVar[str] = "none to three handwritten digits on one canvas, and how many: a world of counts"
    reference: ClassVar[str] = (
        "Siddharth et al. 2017, Learning Disentangled Representations with Semi-Supervised Deep Generative Models, 4.3"
    )

    headline_protocol: ClassVar[str] = by_setting(lambda spec: "paper" if spec.labels == "count" else "corrected")
    """Counts of digits are not independent of each other: together they are at most the largest number."""

    name: Literal["multi_mnist"] = "multi_mnist"
    """The dataset's name."""
    source: Literal["mnist", "digits"] = "digits"
    """mnist: the 70,000 MNIST images; digits: scikit-learn's 1,797 real 8x8 digits, a stand-in that needs no file."""
    labels: Literal["count", "digits"] = "count"
    """count: one attribute, the number of digits, as in the paper; digits: ten, how many there are of each digit."""
    max_digits: Literal[1, 2, 3] = 3
    """The largest number of digits on a canvas. Each number from 0 on is equally frequent, and so is each digit."""
    canvas: Annotated[int, Field(ge=32, le=128, multiple_of=4)] = 64
    """Height and width of an image in pixels. On 64 pixels a digit of 28 is scaled by 0.6 to 0.9; with the canvas."""
    num_images: Annotated[int, Field(ge=100, le=1_000_000)] | None = None
    """Number of images; null: 70,000, or 14,000 of the stand-in. A smaller set is the beginning of a larger one."""
    seed: Annotated[int, Field(ge=0, le=2**53)] = 0
    """Seed of the digits, their places and the binarisation."""
    split: Literal["iid", "comp"] = "iid"
    """iid: by image. One image in seven is made of the source's test digits (of the stand-in, of a tenth of its digits)
    and is for testing; of the others one in twelve is for validation. comp: by concept, with labels digits."""
    split_seed: Annotated[int, Field(ge=0, le=2**53)] = 42
    """Seed of the split."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.split == "comp" and self.labels == "count":
            message = "there are too few counts to hold some out: choose split iid, or labels digits"
            raise ConfigError([Problem(message, ("split",), "comp", ("iid",), "iid")])
        return self

    def most_images(self) -> int:
        """Those asked for, or all."""
        return self.num_images or {"mnist": 70_000, "digits": 14_000}[self.source]

    def concept_schema(self) -> Schema:
        """The number of digits, or how many there are of each."""
        values = tuple(map(str, range(self.max_digits + 1)))
        names = ("count",) if self.labels == "count" else DIGIT_NAMES
        return Schema(tuple(Attribute(name, values) for name in names))

    def image_shape(self) -> tuple[int, int, int]:
        """(1, canvas, canvas)."""
        return (1, self.canvas, self.canvas)

    def default_classifier(self) -> str:
        """The published network at 64x64, the thin one otherwise."""
        return "conv_published" if self.canvas == 64 else "conv_thin"
