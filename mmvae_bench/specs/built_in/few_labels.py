"""The built-in datasets of semi-supervised VAEs: faces under one light, house numbers, and several digits."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

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
