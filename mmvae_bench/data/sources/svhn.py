"""The cropped digits of SVHN: two MATLAB files, each with ``X``, Byte[32, 32, 3, N], and ``y``, [N, 1], where 10 is 0.

Shapes: N image of a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ...base.files import DATA_VARIABLE
from ...base.heartbeat import beat
from ...base.printable import printable
from . import MissingSourceError, SourceError
from .mat_file import MatError, read_arrays
from .user_files import FileStamp, KnownFiles, read_file, stamps

SIDE = 32
FOLDERS = (".", "svhn", "SVHN")
"""Folders to look in under the data root."""
MOST_BYTES = 2**28
"""The training file has 182 MB."""


@dataclass(frozen=True)
class MatFile:
    """One of the files.

    Attributes:
        name: Its name.
        md5: Of its content.
        num_images: N.
    """

    name: str
    md5: str
    num_images: int


FILES = (
    MatFile("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373", 73_257),
    MatFile("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3", 26_032),
)
"""Training images, then test images. The 531,131 further ones of ``extra_32x32.mat`` are not read."""


@dataclass(frozen=True)
class HouseDigits:
    """The digits of both files, one after the other.

    Attributes:
        images: Byte[N, 32, 32, 3].
        labels: Long[N], 0 to 9.
    """

    images: np.ndarray
    labels: np.ndarray


class SvhnSource(KnownFiles):
    """The user's copy of SVHN. A file is parsed only if its md5 is right, so it cannot be another one.

    Args:
        root: Folder to look in; by default the data root, ``$MMVAE_BENCH_DATA``.
        files: Training file and test file.
    """

    files: Sequence[MatFile]

    def __init__(self, *, root: Path | None = None, files: Sequence[MatFile] = FILES) -> None:
        self.root, self.files = root, tuple(files)

    @property
    def num_images(self) -> int:
        """Of both files."""
        return sum(file.num_images for file in self.files)

    @property
    def num_training(self) -> int:
        """Of the first file."""
        return self.files[0].num_images

    def path(self, file: MatFile) -> Path | None:
        """Where a file is; None if it is missing."""
        paths = (self.folder / folder / file.name for folder in FOLDERS)
        return next((path for path in paths if path.is_file()), None)

    def stamps(self) -> Iterable[FileStamp]:
        """See :class:`UserFiles`."""
        return stamps(path for file in self.files if (path := self.path(file)) is not None)

    def digest(self) -> str:
        """The checksum; raises SourceError if a file is missing or another one."""
        for file in self.files:
            self._content(file)
        return self.checksum

    @property
    def user_files(self) -> SvhnSource | None:
        """See :attr:`ImageRecipe.user_files`."""
        return self if any(self.path(file) for file in self.files) else None

    def load(self) -> HouseDigits:
        """Reads the files, the first time.

        Raises:
            MissingSourceError: if a file is missing.
            SourceError: if one is damaged, or does not hold what it should.
        """
        return self._digits

    @cached_property
    def _digits(self) -> HouseDigits:
        parts = [parse_mat(self._content(file), num_images=file.num_images, name=file.name) for file in self.files]
        return HouseDigits(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def _content(self, file: MatFile) -> bytes:
        path = self.path(file)
        if path is None:
            raise MissingSourceError(
                self._advice([f"missing: {each.name}" for each in self.files if not self.path(each)])
            )
        beat()
        try:
            content = read_file(path, at_most=MOST_BYTES)
        except OSError as error:
            raise SourceError(self._advice([f"{path}: cannot be read ({error.strerror or error})"])) from None
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found != file.md5:
            wrong = f"{path}: wrong md5 {found}, expected {file.md5} ({len(content):,} bytes)"
            raise SourceError(self._advice([wrong, "what to do: delete it, and copy or download it again"]))
        return content

    def _advice(self, problems: list[str]) -> str:
        lines = ["the files of SVHN are not usable", *(printable(f"  {problem}") for problem in problems), "looked in:"]
        lines += [printable(f"  {(self.folder / folder).resolve()}") for folder in FOLDERS]
        lines += ["expected:", *(f"  {file.name}  md5 {file.md5}" for file in self.files)]
        return "\n".join(
            [
                *lines,
                f"copy them to a folder and set {DATA_VARIABLE} to it, or use source=drawn, which needs no file",
            ]
        )


def parse_mat(content: bytes, *, num_images: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a file: Byte[N, 32, 32, 3] and Long[N], 0 to 9.

    Args:
        content: Of the file.
        num_images: N, as it must be.
        name: Of the file, for errors.

    Raises:
        SourceError: if it is no such file, or holds something else.
    """
    try:
        arrays = read_arrays(content, {"X": (SIDE, SIDE, 3, num_images), "y": (num_images, 1)})
    except MatError as error:
        raise SourceError(printable(f"{name} is not as it should be: {error}")) from None
    if arrays["X"].dtype != np.uint8:
        raise SourceError(f"{name}: X is {arrays['X'].dtype}, expected uint8")
    labels = arrays["y"][:, 0]
    if not np.isin(labels, np.arange(1, 11)).all():
        raise SourceError(f"{name}: a label is not one of 1 to 10, where 10 stands for the digit 0")
    images = np.ascontiguousarray(np.moveaxis(arrays["X"], 3, 0))
    return images, labels.astype(np.int64) % 10
