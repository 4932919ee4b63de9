"""A folder of pictures that serve as textures, such as the Describable Textures Dataset (Cimpoi et al. 2014).

Its layout is ``images/banded/banded_0002.jpg``; any folder of JPEG, PNG or WebP files does, whatever is in between.

Shapes: T picture, P side of a picture as it is kept, in pixels.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...base.files import DATA_VARIABLE, cache_root, data_root
from ...base.heartbeat import beat
from ...base.printable import printable
from ..cache import build_once
from . import MissingSourceError, SourceError
from .pictures import decoded, opened
from .user_files import read_file

ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
PREPARATION_VERSION = 1
"""Increased whenever the same file gives different pixels."""


class TextureFolder:
    """Pictures in a folder and the folders in it, in the order of their names.

    Args:
        name: An absolute path, or one under the data root.
        side: P.
    """

    def __init__(self, name: str, *, side: int) -> None:
        self.path, self.side = data_root() / Path(name).expanduser(), side

    @cached_property
    def names(self) -> list[str]:
        """The files, relative to the folder.

        Raises:
            MissingSourceError: if there is no such folder.
            SourceError: if no picture is in it.
        """
        if not self.path.is_dir():
            raise MissingSourceError(
                f"texture: there is no folder {self.path}: name one that is absolute or under {DATA_VARIABLE}, "
                "or use texture=procedural, which needs no file"
            )
        found = [Path(folder, name) for folder, _, names in os.walk(self.path) for name in names]
        names = sorted(path.relative_to(self.path).as_posix() for path in found if path.suffix.lower() in ENDINGS)
        if not names:
            raise SourceError(
                f"texture: no picture ({', '.join(ENDINGS)}) is in {self.path} or a folder in it: copy some there, "
                "or use texture=procedural, which needs no file"
            )
        return names

    @cached_property
    def digest(self) -> str:
        """Hash of the names and contents of the files."""
        digest = hashlib.sha256()
        for name in self.names:
            digest.update(f"{name}\0".encode(errors="surrogateescape"))
            digest.update(hashlib.sha256(self._read(name)).digest())
            beat()
        return digest.hexdigest()[:16]

    @cached_property
    def folder(self) -> Path:
        """Where the squares are kept. Raises SourceError if a file cannot be read."""
        return cache_root() / "textures" / f"{self.digest}-{self.side}-{PREPARATION_VERSION}"

    def pictures(self, progress: Callable[[int, int], None] | None = None) -> Tensor:
        """The middle square of each picture, in grey: Byte[T, P, P], mapped from the cache.

        Args:
            progress: Called with the number of pictures that are read, and that of all.

        Raises:
            SourceError: if a file is not a picture.
        """
        build_once(self.folder, lambda unfinished: self._write(unfinished, progress))
        return torch.from_numpy(np.load(self.folder / "pictures.npy", mmap_mode="c"))

    def compare(self, progress: Callable[[int, int], None] | None = None) -> dict[str, int]:
        """How many squares that are kept were ``compared`` with the user's pictures, which are read for it, and how
        many are ``different``. Raises SourceError as :meth:`pictures`."""
        kept, different = np.load(self.folder / "pictures.npy", mmap_mode="r"), 0
        alike = kept.shape == self._shape and kept.dtype == np.uint8
        for index, square in enumerate(self._squares(progress)):
            different += not (alike and np.array_equal(kept[index], square))
        return {"compared": len(self.names), "different": different}

    @property
    def _shape(self) -> tuple[int, int, int]:
        return len(self.names), self.side, self.side

    def _write(self, folder: Path, progress: Callable[[int, int], None] | None) -> dict[str, Any]:
        pictures = np.lib.format.open_memmap(folder / "pictures.npy", "w+", np.uint8, self._shape)
        for index, square in enumerate(self._squares(progress)):
            pictures[index] = square
        pictures.flush()
        return {"name": "textures", "digest": self.digest, "side": self.side}

    def _squares(self, progress: Callable[[int, int], None] | None) -> Iterator[np.ndarray]:
        """The middle square of each picture, in the order of ``names``: Byte[P, P] each."""
        for done, name in enumerate(self.names, 1):
            yield self._square(name)
            beat()
            if progress is not None:
                progress(done, len(self.names))

    def _square(self, name: str) -> np.ndarray:
        try:
            with opened(self._read(name)) as image:
                grey = decoded(image, "L")
        except OSError as error:
            raise SourceError(printable(f"texture: {self.path / name} cannot be used: {error}")) from None
        shorter = min(grey.size)
        left, top = ((length - shorter) // 2 for length in grey.size)
        box = (left, top, left + shorter, top + shorter)
        # Cut out first: the filter of resize() would reach beyond its box.
        return np.asarray(grey.crop(box).resize((self.side, self.side), Image.Resampling.BICUBIC))

    def _read(self, name: str) -> bytes:
        try:
            return read_file(self.path / name)
        except OSError as error:
            why = error.strerror or error
            raise SourceError(printable(f"texture: {self.path / name} cannot be read ({why})")) from None
