"""Where the parts of a head are, from attributes and nuisance factors."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .canvas import outline
from .person import Nuisance, Traits

if TYPE_CHECKING:
    import skia

SKULL_TOP = -23.5


class Geometry(NamedTuple):
    """Lengths and places in head coordinates, in 64ths of the canvas.

    Attributes:
        width: Half the width of the face at the eyes.
        jaw: Half the width of the jaw.
        chin: Height of the chin's lower end.
        yaw: How far the features are pushed to the side by turning the head.
        eye_x: Distance of an eye from the middle of the face.
        eye_y: Height of the eyes.
        eye_height: Half the opening of an eye.
        brow_y: Height of the eyebrows.
        nose_y: Height of the nose's tip.
        mouth_y: Height of the mouth.
        mouth_width: Half the width of the mouth.
    """

    width: float
    jaw: float
    chin: float
    yaw: float
    eye_x: float
    eye_y: float
    eye_height: float
    brow_y: float
    nose_y: float
    mouth_y: float
    mouth_width: float

    def face(self) -> skia.Path:
        """The outline of the face, from ear to ear and round the chin."""
        width, jaw, chin = self.width, self.jaw, self.chin
        return outline(
            (-width, -6),
            [
                (-width, SKULL_TOP, 0, SKULL_TOP),
                (width, SKULL_TOP, width, -6),
                (width, 7, jaw, 13),
                (jaw * 0.55, chin, 0, chin),
                (-jaw * 0.55, chin, -jaw, 13),
                (-width, 7, -width, -6),
            ],
        )


def geometry(traits: Traits, nuisance: Nuisance) -> Geometry:
    """A man's face is wider, with a broad jaw and a longer chin."""
    male = traits.male
    eye_y = -2.5
    return Geometry(
        width=(15.3 if male else 14.0) + 0.7 * nuisance.face_width,
        jaw=(11.8 if male else 8.2) + 0.8 * nuisance.jaw_width,
        chin=(20.6 if male else 19.4) + 0.8 * nuisance.chin_length,
        yaw=nuisance.yaw,
        eye_x=6.6 + 0.35 * nuisance.eye_distance,
        eye_y=eye_y,
        eye_height=(1.5 if male else 1.8) + 0.2 * nuisance.eye_size,
        brow_y=eye_y - (4.3 if male else 4.7),
        nose_y=6.2 + 0.6 * nuisance.nose_length,
        mouth_y=11.8 + 0.3 * nuisance.nose_length,
        mouth_width=(6.9 if traits.smiling else 4.5) + 0.4 * nuisance.mouth_width,
    )
