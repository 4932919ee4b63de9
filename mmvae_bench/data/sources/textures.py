"""A folder of pictures that serve as textures, such as the Describable Textures Dataset (Cimpoi et al. 2014).

Its layout is ``images/banded/banded_0002.jpg``; any folder of JPEG, PNG or WebP files does, whatever is in between.

Shapes: T picture, P side of a picture as it is kept, in pixels.
"""

from __future__ import annotations

import hashlib
import os
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
    """

    def __init__(self, name: str) -> None:
        self.path = data_root() / Path(name).expanduser()

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

    def pictures(self, side: int) -> Tensor:
        """The middle square of each picture, in grey: Byte[T, P, P], mapped from the cache.

        Args:
            side: P.

        Raises:
            SourceError: if a file is not a picture.
        """
        folder = cache_root() / "textures" / f"{self.digest}-{side}-{PREPARATION_VERSION}"
        build_once(folder, lambda unfinished: self._write(unfinished, side))
        return torch.from_numpy(np.load(folder / "pictures.npy", mmap_mode="c"))

    def _write(self, folder: Path, side: int) -> dict[str, Any]:
        shape = (len(self.names), side, side)
        pictures = np.lib.format.open_memmap(folder / "pictures.npy", "w+", np.uint8, shape)
        for index, name in enumerate(self.names):
            pictures[index] = self._square(name, side)
            beat()
        pictures.flush()
        return {"name": "textures", "digest": self.digest, "side": side}

    def _square(self, name: str, side: int) -> np.ndarray:
        try:
            with opened(self._read(name)) as image:
                grey = decoded(image, "L")
        except OSError as error:
            raise SourceError(printable(f"texture: {self.path / name} cannot be used: {error}")) from None
        shorter = min(grey.size)
        left, top = ((length - shorter) // 2 for length in grey.size)
        box = (left, top, left + shorter, top + shorter)
        # Cut out first: the filter of resize() would reach beyond its box.
        return np.asarray(grey.crop(box).resize((side, side), Image.Resampling.BICUBIC))

    def _read(self, name: str) -> bytes:
        try:
            return read_file(self.path / name)
        except OSError as error:
            why = error.strerror or error
            raise SourceError(printable(f"texture: {self.path / name} cannot be read ({why})")) from None
