"""The npz file of dSprites, read part by part: images and classes, and never the pickle that is beside them.

Shapes: N image of the grid, n image of a part, S side of an image in pixels, F factor.
"""

from __future__ import annotations

import hashlib
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np

from ...base.files import DATA_VARIABLE, DamagedFile, data_root, open_regular
from ...worlds.dsprites import SIDE, SIZES
from . import MissingSourceError, SourceError

NAME = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
FOLDERS = (".", "dsprites", "dsprites-dataset")
"""Folders to look in under the data root; the last is that of the original repository."""
IMAGES, CLASSES = "imgs", "latents_classes"
ROWS_AT_ONCE = 4096
_MOST_HEADER = 10_000
_UNREADABLE = (
    OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError,
    tokenize.TokenError,
)  # fmt: skip


class DSpritesFile:
    """The user's copy of the file, whose images must be those of the grid, in its order.

    Args:
        root: Folder to look in; by default the data root, ``$MMVAE_BENCH_DATA``.
        sizes: Values of each factor; the file has one more before them, the colour, which is always 0.
        side: S.
    """

    def __init__(self, *, root: Path | None = None, sizes: Sequence[int] = SIZES, side: int = SIDE) -> None:
        self.root, self.sizes, self.side = root, tuple(sizes), side

    @property
    def num_images(self) -> int:
        """N, of the whole grid."""
        return math.prod(self.sizes)

    @cached_property
    def path(self) -> Path:
        """The file; raises MissingSourceError if it is not there."""
        root = data_root() if self.root is None else self.root
        for folder in FOLDERS:
            if (path := root / folder / NAME).is_file():
                return path.resolve()
        looked = "".join(f"\n  {(root / folder).resolve()}" for folder in FOLDERS)
        raise MissingSourceError(
            f"the file of dSprites is missing: {NAME}\nlooked in:{looked}\n"
            f"copy it to a folder and set {DATA_VARIABLE} to it, or use source=drawn, which needs no file"
        )

    @cached_property
    def checksum(self) -> str:
        """md5 of the file."""
        digest = hashlib.md5(usedforsecurity=False)
        with self._open() as file:
            while part := file.read(2**20):
                digest.update(part)
        return digest.hexdigest()

    def images(self) -> Iterator[np.ndarray]:
        """The images in order, Byte[n, S, S] of 0 and 1, after a check of their classes.

        Whether the images are those of the classes is known once the last is read: see :class:`_Seen`.

        Raises:
            SourceError: if a member is missing, has another shape or type, holds a pickle or values that it must not,
                is not in the order of the grid, or shows nothing, or not what its classes say.
        """
        num, start = self.num_images, 0
        for classes in self._rows(CLASSES, (num, len(self.sizes) + 1), np.dtype(np.int64)):
            numbers = np.arange(start, start + len(classes))
            expected = np.stack([np.zeros_like(numbers), *np.unravel_index(numbers, self.sizes)], 1)
            if (wrong := (classes != expected).any(1)).any():
                row = int(wrong.argmax())
                raise self._refused(CLASSES, f"row {start + row} is {classes[row].tolist()}, not in the grid's order")
            start += len(classes)
        seen = _Seen(self.sizes)
        for images in self._rows(IMAGES, (num, self.side, self.side), np.dtype(np.uint8)):
            if images.max() > 1:
                raise self._refused(IMAGES, f"a pixel is {images.max()}, expected 0 or 1")
            if (wrong := seen.add(images)) is not None:
                raise self._refused(IMAGES, wrong)
            yield images
        if (wrong := seen.verdict()) is not None:
            raise self._refused(IMAGES, wrong)

    def _rows(self, member: str, shape: tuple[int, ...], dtype: np.dtype) -> Iterator[np.ndarray]:
        """An array in parts, after a check of its header: whatever it declares, no more is held than a part of what is
        expected."""
        try:
            with self._open() as file, zipfile.ZipFile(file) as archive:
                info = archive.getinfo(f"{member}.npy")
                # Of the other kinds, whatever a few bytes expand to is held at once.
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise self._refused(member, "it is neither stored nor deflated")
                with archive.open(info) as content:
                    self._check_header(member, content, shape, dtype)
                    yield from self._parts(member, content, shape, dtype)
        except KeyError:
            raise self._refused(member, "there is none") from None
        except _UNREADABLE as error:
            if isinstance(error, SourceError):
                raise
            # The first line: numpy goes on to recommend pickles.
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise self._refused(member, f"it cannot be read ({reason})") from None

    def _parts(self, member: str, content: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> Iterator[np.ndarray]:
        width = math.prod(shape[1:])
        for start in range(0, shape[0], ROWS_AT_ONCE):
            num = min(ROWS_AT_ONCE, shape[0] - start)
            part = content.read(num * width * dtype.itemsize)
            if len(part) < num * width * dtype.itemsize:
                raise self._refused(member, "it ends too early")
            yield np.frombuffer(part, dtype).reshape(num, *shape[1:])
        if content.read(1):
            raise self._refused(member, "it is longer than its shape")

    def _check_header(self, member: str, content: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> None:
        version = np.lib.format.read_magic(content)
        if version != (1, 0):  # A later one may have a header of gigabytes, which is read before it is measured.
            raise self._refused(member, f"its format {version} is not known")
        found, by_columns, kind = np.lib.format.read_array_header_1_0(content, max_header_size=_MOST_HEADER)
        if kind.hasobject:
            raise self._refused(member, "it holds a pickle, which is never loaded")
        if found != shape or kind != dtype or by_columns:
            layout = " by columns" if by_columns else ""
            raise self._refused(member, f"it is {kind} {found}{layout}, expected {dtype} {shape}")

    @contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        try:
            with open_regular(self.path) as file:
                yield file
        except DamagedFile as error:
            raise SourceError(f"{self.path}: {error.reason}") from None

    def _refused(self, member: str, why: str) -> SourceError:
        return SourceError(f"{self.path}: member {member}: {why}")


class _Seen:
    """What is cheaply seen in images of the grid: that there is a sprite, how large it is, and where.

    Of a shape, a larger scale has the larger mean area; over all images, the middle of the sprite moves along the row
    with x and down or up the column with y. So black images, images in another order and other images are noticed, if
    not a few that are exchanged.

    Args:
        sizes: Values of shape, scale, orientation, x and y.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes, self.start = tuple(sizes), 0
        self.areas = np.zeros(self.sizes[:2])
        self.middles = {"x": np.zeros(self.sizes[3]), "y": np.zeros(self.sizes[4])}

    def add(self, images: np.ndarray) -> str | None:
        """Looks at the next images, Byte[n, S, S] of 0 and 1; returns what is wrong with them by themselves."""
        columns, rows = images.sum(1, dtype=np.int32), images.sum(2, dtype=np.int32)
        areas = columns.sum(1)
        if not areas.all():
            return f"image {self.start + int((areas == 0).argmax()):,} is wholly black"
        shape, scale, _, *places = np.unravel_index(np.arange(self.start, self.start + len(images)), self.sizes)
        np.add.at(self.areas, (shape, scale), areas)
        pixels = np.arange(images.shape[1])
        for middles, profile, place in zip(self.middles.values(), (columns, rows), places, strict=True):
            middles += np.bincount(place, profile @ pixels / areas, len(middles))
        self.start += len(images)
        return None

    def verdict(self) -> str | None:
        """What is wrong with all images together."""
        if not (grown := np.diff(self.areas, axis=1) > 0).all():
            shape, scale = map(int, np.argwhere(~grown)[0])
            return f"shape {shape} is not larger at scale {scale + 1} than at {scale}: not the images of these classes"
        for name, middles in self.middles.items():
            steps = np.diff(middles)
            if not ((steps > 0).all() or (steps < 0).all()):
                return f"the sprite does not move steadily with {name}: not the images of these classes"
        return None
