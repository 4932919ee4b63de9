"""CelebA's photographs with their annotations, and the set of images cropped from them.

Aligned photographs are 178x218; a crop is resized to the canvas with an antialiased bicubic filter. 148x148 at (top 40,
left 15) is the crop of the released code of Vedantam et al. (2018), 128x128 at (top 48, left 25) that of Cremer and
Kushman (2018). A scaled copy is cropped at the same places, so an 89x109 one at (7.5, 20, 81.5, 94).

Shapes: N image, A attribute, S side.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from ...base.files import DATA_VARIABLE
from ...base.heartbeat import beat
from ...worlds.recipe import ImageRecipe, Images
from . import MissingSourceError, SourceError
from .celeba_files import IMAGES, describe_found, find_files, places
from .celeba_rows import ATTRIBUTES, NUM_IMAGES, PARTITION, Rows, TextFile, image_name, read_rows
from .pictures import decoded, opened
from .user_files import FileStamp

WIDTH, HEIGHT = 178, 218
DEFAULT_SIDE = 148
PLACES = {148: (15, 40), 128: (25, 48)}
"""Left and top of a crop in a whole photograph, by its side."""


def crop_box(width: int, height: int, *, side: int = DEFAULT_SIDE) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a crop in an image of that size.

    >>> crop_box(178, 218), crop_box(89, 109), crop_box(178, 218, side=128)
    ((15.0, 40.0, 163.0, 188.0), (7.5, 20.0, 81.5, 94.0), (25.0, 48.0, 153.0, 176.0))
    """
    across, down = width / WIDTH, height / HEIGHT
    left, top = PLACES[side]
    return (left * across, top * down, (left + side) * across, (top + side) * down)


def has_aspect(width: int, height: int) -> bool:
    """Whether an image can be a scaled copy of a 178x218 one, to a pixel.

    >>> has_aspect(89, 109), has_aspect(178, 178)
    (True, False)
    """
    return abs(height - width * HEIGHT / WIDTH) < 1


def image_size(content: bytes) -> tuple[int, int]:
    """Width and height of an image file; raises OSError if it is not an image, or a very large one."""
    with opened(content) as image:
        return image.size


def decode_and_crop(content: bytes, *, photo_size: tuple[int, int], size: int, side: int = DEFAULT_SIDE) -> np.ndarray:
    """One image file, decoded, cropped and resized: Byte[size, size, 3].

    Args:
        content: Content of the file.
        photo_size: The width and height it must have.
        size: Side of the result in pixels.
        side: Side of the crop, in pixels of a whole photograph.

    Raises:
        OSError: if the file is not an image, truncated, or of another size.
    """
    with opened(content) as image:
        if image.size != photo_size:
            raise OSError(f"{image.width}x{image.height}, the first image is {photo_size[0]}x{photo_size[1]}")
        colour = decoded(image)
        left, top, right, bottom = crop_box(*photo_size, side=side)
        # Cut out first: the filter of resize() would reach beyond its box.
        x, y = math.floor(left), math.floor(top)
        part = colour.crop((x, y, math.ceil(right), math.ceil(bottom)))
        box = (left - x, top - y, right - x, bottom - y)
        return np.asarray(part.resize((size, size), Image.Resampling.BICUBIC, box=box))


PREPARATION_VERSION = 1
"""Increased whenever the same photograph gives different pixels."""


class PhotoReader(Protocol):
    """Reads the content of images."""

    path: Path

    def stamps(self, positions: np.ndarray) -> Iterable[FileStamp]:
        """Sizes and times of the files that hold the images at some positions."""

    def read(self, positions: np.ndarray) -> Iterator[bytes | OSError]:
        """The image files at some positions, in order, or why one cannot be read."""


@dataclass(frozen=True)
class Photos:
    """The photographs that were found.

    Attributes:
        files: Where they are read from.
        rows: Their ids, concepts and official partition, N of each.
        annotated: Number of images in the annotations.
        photo_size: Width and height of every photograph.
    """

    files: PhotoReader
    rows: Rows
    annotated: int
    photo_size: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        first = next(iter(self.files.read(np.arange(1))))
        name = image_name(self.rows.ids[0])
        try:
            if isinstance(first, OSError):
                raise first
            size = image_size(first)
        except OSError as error:
            raise SourceError(f"{self.files.path}: {name} cannot be used: {error}; copy it again") from error
        if not has_aspect(*size):
            raise SourceError(
                f"{self.files.path}: {name} is {size[0]}x{size[1]}; the crop is defined on the aligned images, "
                f"{WIDTH}x{HEIGHT} or scaled copies"
            )
        object.__setattr__(self, "photo_size", size)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def checksum(self) -> str:
        """md5 of the ids, size and annotations of the photographs."""
        digest = hashlib.md5(repr(self.photo_size).encode(), usedforsecurity=False)
        for array, dtype in ((self.rows.ids, "<i8"), (self.rows.concepts, "u1"), (self.rows.partition, "u1")):
            digest.update(np.ascontiguousarray(array, dtype).tobytes())
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """Plain JSON: what was found where, and how much is missing."""
        return {
            "found_in": str(self.files.path),
            "photo_size": list(self.photo_size),
            "photos": len(self),
            "annotated": self.annotated,
            "missing": self.annotated - len(self),
            "complete": len(self) == self.annotated,
        }


def find_photos(root: Path, *, attributes: TextFile = ATTRIBUTES, partition: TextFile = PARTITION) -> Photos:
    """Looks for photographs and lists under a data root, then for a copy of the Hugging Face hub's dataset.

    Args:
        root: The data root.
        attributes: The annotation file and its md5.
        partition: The file of the official partition and its md5.

    Raises:
        SourceError: if there are no images or annotations, or they do not match.
    """
    files = find_files(root)
    if files is None:
        from .celeba_hub import find_hub_copy

        found = find_hub_copy(root)
        if found is not None:
            reader, rows = found
            return Photos(reader, rows, max(NUM_IMAGES, len(rows)))
        raise MissingSourceError(_advice(root))
    rows = read_rows(places(root), attributes=attributes, partition=partition)
    known = np.isin(files.ids, rows.ids)
    if not known.all():
        unknown = files.ids[~known]
        raise SourceError(
            f"{files.path}: {len(unknown):,} of {len(files.ids):,} images have no row in {attributes.name}, the first: "
            f"{', '.join(image_name(number) for number in unknown[:3])}; images and annotations differ"
        )
    there = np.searchsorted(rows.ids, files.ids)
    return Photos(files, Rows(files.ids, rows.concepts[there], rows.partition[there]), len(rows))


@dataclass(frozen=True)
class UsedPhotos:
    """The photographs that images are made from, as files of the user.

    Attributes:
        photos: All of them.
        positions: Which are used: Long[n].
    """

    photos: Photos
    positions: np.ndarray

    def stamps(self) -> Iterable[FileStamp]:
        """See :class:`UserFiles`."""
        return self.photos.files.stamps(self.positions)

    def digest(self) -> str:
        """Hash of the ids and of the content of each file, the same for a folder, an archive and a hub's copy."""
        whole = hashlib.sha256()
        ids = self.photos.rows.ids[self.positions].tolist()
        for number, content in zip(ids, self.photos.files.read(self.positions), strict=True):
            readable = b"" if isinstance(content, OSError) else content
            whole.update(number.to_bytes(8, "little") + hashlib.sha256(readable).digest())
            beat()
        return whole.hexdigest()


class CroppedPhotos(ImageRecipe):
    """The crops of photographs.

    Args:
        photos: The photographs.
        size: S, side of a crop in pixels.
        num_images: Use only this many of them, evenly spread; None for all.
        side: Side of the crop, in pixels of a whole photograph.

    Raises:
        SourceError: if there are fewer than ``num_images``.
    """

    def __init__(self, photos: Photos, *, size: int, num_images: int | None = None, side: int = DEFAULT_SIDE) -> None:
        self.photos, self.size, self.side = photos, size, side
        self.num_images = len(photos) if num_images is None else num_images
        if self.num_images > len(photos):
            raise SourceError(
                f"num_images is {self.num_images:,}, but {photos.files.path} has only {len(photos):,} photographs of "
                f"{photos.annotated:,}; use at most that many, or null for all"
            )
        self.image_shape = (3, size, size)
        self.num_attributes = photos.rows.concepts.shape[1]

    @property
    def positions(self) -> np.ndarray:
        """Which of the photographs are used: Long[num_images], ascending."""
        return np.arange(self.num_images) * len(self.photos) // self.num_images

    @property
    def user_files(self) -> UsedPhotos:
        """See :attr:`ImageRecipe.user_files`."""
        return UsedPhotos(self.photos, self.positions)

    def describe(self) -> dict[str, Any]:
        """See :meth:`ImageRecipe.describe`."""
        return {
            "images": "celeba18 photographs",
            "size": self.size,
            "num_images": self.num_images,
            "preparation": PREPARATION_VERSION,
            "photo_size": list(self.photos.photo_size),
            "box": list(crop_box(*self.photos.photo_size, side=self.side)),
            "source_md5": self.photos.checksum,
        }

    def make(self, start: int, stop: int) -> Images:
        """See :meth:`ImageRecipe.make`; raises SourceError with every image of the whole set that cannot be read."""
        positions = self.positions[start:stop]
        rows = self.photos.rows
        crops = list(self._crops(positions))
        if any(isinstance(crop, Exception) for crop in crops):
            raise SourceError(self._unusable())
        pixels = np.stack([crop for crop in crops if isinstance(crop, np.ndarray)])
        columns = {"id": rows.ids[positions].astype(np.int32), "official_partition": rows.partition[positions]}
        return Images(pixels, rows.concepts[positions], columns=columns)

    def _crops(self, positions: np.ndarray) -> Iterator[np.ndarray | Exception]:
        """The crop of each photograph, or why there is none."""
        for content in self.photos.files.read(positions):
            if isinstance(content, OSError):
                yield content
                continue
            try:
                yield decode_and_crop(content, photo_size=self.photos.photo_size, size=self.size, side=self.side)
            except OSError as error:
                yield error

    def _unusable(self) -> str:
        """Names all photographs that cannot be used, so that they can be fixed in one go."""
        numbers = self.photos.rows.ids[self.positions]
        crops = zip(numbers, self._crops(self.positions), strict=True)
        problems = [f"  {image_name(number)}: {crop}" for number, crop in crops if isinstance(crop, Exception)]
        return "\n".join(
            [f"{self.photos.files.path}: {len(problems):,} of {self.num_images:,} images cannot be used"]
            + problems[:10]
            + (["  ..."] if len(problems) > 10 else [])
            + ["what to do: copy them again or delete them; the other images can be used without them"]
        )


def _advice(root: Path) -> str:
    lines = ["no CelebA images found; looked in:"] + [f"  {path.resolve()}" for path in places(root)]
    found = describe_found(root)
    lines += ["what was found there:", *found] if found else ["none of these folders exists"]
    lines += [
        "expected there:",
        f"  {IMAGES}/000001.jpg ..., or {IMAGES}*.zip, or {IMAGES}*.tar; some of the images are enough",
        *(f"  {file.name}, plain or with .gz, md5 of the plain file {file.md5}" for file in (ATTRIBUTES, PARTITION)),
        "  or Kaggle's CSV files of the same names",
        "or a copy of the Hugging Face hub's dataset: saved with save_to_disk, or its parquet files",
        "  (train.parquet, train-00000-of-00019.parquet ... or train/0000.parquet ..., and so on for valid and test)",
        f"what to do: set {DATA_VARIABLE} to the folder that holds celeba/,",
        "  or use source=drawn, which needs no file. CelebA is for non-commercial research; its authors distribute it.",
    ]
    return "\n".join(lines)
