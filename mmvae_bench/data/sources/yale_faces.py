"""The cropped photographs of the extended Yale Face Database B, each with its light in the file's name.

A file is ``CroppedYale/yaleB01/yaleB01_P00A+035E-20.pgm``: person 01, pose 00, azimuth +35, elevation -20 degrees. It
is a PGM of 168x192 greys. ``..._Ambient.pgm`` and ``....pgm.bad`` are no images of one light, and are left out.

Shapes: n image, S side of the canvas.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...base.files import DATA_VARIABLE
from ...base.heartbeat import beat
from ...base.printable import printable
from ...worlds.lit_faces import binned, direction, light_columns
from ...worlds.recipe import ImageRecipe, Images
from . import MissingSourceError, SourceError
from .user_files import FileStamp, read_file, stamps

FOLDERS = ("CroppedYale", "yale/CroppedYale", "yale")
"""Folders to look in under the data root."""
WIDTH, HEIGHT = 168, 192
NUM_IMAGES = 2_414
"""Photographs of one light in the whole database: 64 of 38 people, without 18 bad ones."""
PREPARATION_VERSION = 1
"""Increased whenever the same photograph gives different pixels."""

_NAME = re.compile(r"yaleB(\d\d)_P00A([+-]\d{3})E([+-]\d\d)\.pgm")
_BLANK = rb"(?:\s|#[^\n]*\n)"
_HEADER = re.compile(rb"P5" + _BLANK + rb"+(\d{1,6})" + _BLANK + rb"+(\d{1,6})" + _BLANK + rb"+(\d{1,6})\s")
_MOST_BYTES = 2**20


def parse_pgm(content: bytes) -> np.ndarray:
    """A PGM file of bytes, Byte[height, width]: ``P5``, width, height and 255, then the greys by rows.

    >>> parse_pgm(b"P5 2 1 255 " + bytes([7, 8])).tolist()
    [[7, 8]]

    Raises:
        OSError: if it is not one, or its length is not that of its header.
    """
    header = _HEADER.match(content[:4096])
    if header is None:
        raise OSError(f"not a PGM file ({len(content):,} bytes)")
    width, height, most = map(int, header.groups())
    if most != 255:
        raise OSError(f"its greys are from 0 to {most}, expected 255")
    found = len(content) - header.end()
    if found != width * height:
        raise OSError(f"{width}x{height}, but {found:,} greys")
    return np.frombuffer(content, np.uint8, offset=header.end()).reshape(height, width)


@dataclass(frozen=True)
class Photo:
    """A photograph.

    Attributes:
        path: Its file.
        person: Position of its person among those asked for.
        azimuth: Of its light, degrees.
        elevation: Of its light, degrees.
    """

    path: Path
    person: int
    azimuth: int
    elevation: int


def find_photos(root: Path, people: tuple[str, ...]) -> list[Photo]:
    """The photographs of some people, in the order of their names.

    Args:
        root: The data root.
        people: Their numbers, two digits each.

    Raises:
        MissingSourceError: if there are none, or none of one of the people.
    """
    for name in FOLDERS:
        photos = []
        for person, number in enumerate(people):
            for path in sorted((root / name / f"yaleB{number}").glob("yaleB*.pgm")):
                found = _NAME.fullmatch(path.name)
                if found is not None and found[1] == number:
                    photos.append(Photo(path, person, int(found[2]), int(found[3])))
        if not photos:
            continue
        missing = [number for person, number in enumerate(people) if not any(each.person == person for each in photos)]
        if missing:
            raise MissingSourceError(
                printable(f"{root / name}: no photographs of {len(missing)} of {len(people)} people")
                + f", the first: yaleB{missing[0]}\nwhat to do: copy their folders there, or ask for the first "
                f"{people.index(missing[0])} with num_people"
            )
        return photos
    looked = "".join("\n" + printable(f"  {(root / name).resolve()}") for name in FOLDERS)
    raise MissingSourceError(
        f"no photographs of the extended Yale B found; looked in:{looked}\n"
        f"expected there: yaleB01/yaleB01_P00A+000E+00.pgm ..., the cropped images of {WIDTH}x{HEIGHT}\n"
        f"what to do: set {DATA_VARIABLE} to the folder that holds CroppedYale/,\n"
        "  or use source=drawn, which needs no file"
    )


class YaleFaces(ImageRecipe):
    """The middle square of each photograph, scaled.

    Args:
        photos: The photographs.
        canvas: S.
        bins: The centres of azimuth and of elevation, degrees.
    """

    num_attributes = 3

    def __init__(self, photos: list[Photo], *, canvas: int, bins: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
        self.photos, self.canvas, self.bins = photos, canvas, bins
        self.num_images, self.image_shape = len(photos), (1, canvas, canvas)

    @property
    def user_files(self) -> YaleFaces:
        """See :attr:`ImageRecipe.user_files`."""
        return self

    def stamps(self) -> Iterable[FileStamp]:
        """See :class:`UserFiles`."""
        return stamps(photo.path for photo in self.photos)

    def digest(self) -> str:
        """Hash of the names and contents of the files."""
        whole = hashlib.sha256()
        for photo in self.photos:
            try:
                content = read_file(photo.path, at_most=_MOST_BYTES)
            except OSError:
                content = b""
            whole.update(photo.path.name.encode() + hashlib.sha256(content).digest())
            beat()
        return whole.hexdigest()

    def describe(self) -> dict[str, Any]:
        """See :meth:`ImageRecipe.describe`. The names of the files tell people and lights."""
        return {
            "images": "lit faces, photographs of Yale B",
            "preparation": PREPARATION_VERSION,
            "canvas": self.canvas,
            "bins": [list(centres) for centres in self.bins],
            "num_images": self.num_images,
            "names_md5": self._names,
        }

    @cached_property
    def _names(self) -> str:
        names = "\n".join(photo.path.name for photo in self.photos)
        return hashlib.md5(names.encode(), usedforsecurity=False).hexdigest()

    def make(self, start: int, stop: int) -> Images:
        """See :meth:`ImageRecipe.make`; raises SourceError with every photograph that cannot be used."""
        photos = self.photos[start:stop]
        squares = list(self._squares(photos))
        if any(isinstance(square, OSError) for square in squares):
            raise SourceError(self._unusable())
        angles = np.array([(photo.azimuth, photo.elevation) for photo in photos])
        light = direction(angles[:, 0], angles[:, 1])
        concepts = np.column_stack([[photo.person for photo in photos], binned(angles, self.bins)])
        pixels = np.stack([square for square in squares if isinstance(square, np.ndarray)])
        return Images(pixels[..., None], concepts, columns=light_columns(angles, light))

    def _squares(self, photos: list[Photo]) -> Iterator[np.ndarray | OSError]:
        """The image of each photograph, or why there is none."""
        top = (HEIGHT - WIDTH) // 2
        for photo in photos:
            beat()
            try:
                greys = parse_pgm(read_file(photo.path, at_most=_MOST_BYTES))
                if greys.shape != (HEIGHT, WIDTH):
                    raise OSError(f"{greys.shape[1]}x{greys.shape[0]}, expected {WIDTH}x{HEIGHT}")
            except OSError as error:
                yield error
                continue
            square = Image.fromarray(greys[top : top + WIDTH])
            yield np.asarray(square.resize((self.canvas, self.canvas), Image.Resampling.BOX))

    def _unusable(self) -> str:
        """Names all photographs that cannot be used, so that they can be fixed in one go."""
        squares = zip(self.photos, self._squares(self.photos), strict=True)
        problems = [(photo, square) for photo, square in squares if isinstance(square, OSError)]
        lines = [f"{len(problems):,} of {self.num_images:,} photographs of Yale B cannot be used"]
        lines += [printable(f"  {photo.path}: {problem.strerror or problem}") for photo, problem in problems[:10]]
        lines += ["  ..."] if len(problems) > 10 else []
        return "\n".join([*lines, "what to do: copy them again, or delete them; the others can be used without them"])
