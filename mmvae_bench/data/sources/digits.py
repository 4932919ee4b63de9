"""Handwritten digits: MNIST, and scikit-learn's as a stand-in that needs no file."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from ...base.errors import BenchmarkError
from ...base.files import DATA_VARIABLE
from ...base.heartbeat import patiently
from ...worlds.recipe import UserFiles
from . import MissingSourceError, SourceError
from .user_files import FileStamp, KnownFiles, gunzip, is_gzip, read_file, stamps


@dataclass(frozen=True)
class Digits:
    """Handwritten digits on 28x28 pixels, in the order of their source.

    Attributes:
        images: Byte[source, 28, 28], 0 black to 255 white.
        labels: Long[source], 0 to 9.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


class DigitSource(Protocol):
    """A source of digits that knows the checksum of its images before it reads them."""

    @property
    def name(self) -> str:
        """The name in a spec; a stand-in has its own name."""

    @property
    def checksum(self) -> str:
        """Checksum of the raw content that :meth:`load` accepts; part of a dataset's fingerprint."""

    @property
    def user_files(self) -> UserFiles | None:
        """The files of the user that there are; None if the source needs none or there are none."""

    def load(self) -> Digits:
        """Reads and checks the images; raises SourceError."""


def digit_source(name: str) -> DigitSource:
    """The source of that name: ``mnist`` or ``digits``."""
    if name == "mnist":
        return MnistSource()
    if name == "digits":
        return ScikitDigitsSource()
    raise ValueError(f"unknown source of digits {name!r}; choices: mnist or digits")


def load_counted(source: DigitSource, number: int) -> Digits:
    """The digits of a source, which are ``number`` as a recipe has been told; else raises BenchmarkError."""
    digits = source.load()
    if len(digits) != number:
        raise BenchmarkError(f"source {source.name} has {len(digits):,} digits, expected {number:,}")
    return digits


MD5 = "7696c07daa6d85010f8268703ab8b067"
"""md5 of the 1,797 images and labels as bytes."""

# The edge of a stroke is where half of a pixel is covered. A third of the ink then is grey, against half of MNIST's,
# and the mean grey is 0.158 against 0.131, for the pens were thicker.
CONTRAST, MIDDLE = 3.0, 0.5


class ScikitDigitsSource:
    """The 1,797 test digits of the UCI Optical Recognition of Handwritten Digits set (Alpaydin and Kaynak 1998).

    They come with scikit-learn, so that everything runs offline. They are a stand-in: 8x8 pixels of 17 greys, enlarged
    to the 20x20 middle of 28x28 pixels, where MNIST's digits sit, with a contrast curve in place of the lost sharpness.
    Scores on them are not MNIST's.
    """

    name: ClassVar[str] = "digits"
    checksum: ClassVar[str] = MD5
    user_files: ClassVar[None] = None

    def load(self) -> Digits:
        """Reads the digits; raises SourceError if this version of scikit-learn has different ones."""
        from sklearn.datasets import load_digits

        bunch = load_digits()
        small, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.uint8)
        found = hashlib.md5(small.tobytes() + labels.tobytes(), usedforsecurity=False).hexdigest()
        if found != MD5:
            raise SourceError(
                f"scikit-learn's load_digits has changed: md5 {found}, expected {MD5}.\n"
                "  Install scikit-learn with the 1,797 digits of versions 1.5 to 1.9, or use source=mnist."
            )
        return Digits(enlarge(torch.from_numpy(small)), torch.from_numpy(labels).long())


def enlarge(small: Tensor) -> Tensor:
    """Byte[source, 8, 8] in 0..16 to Byte[source, 28, 28] in 0..255, with a margin of four black pixels."""
    # Eight pixels become twenty: so 24, with black around, become 60, of which the middle 28 are kept.
    framed = pad(small[:, None].float() / 16, (8, 8, 8, 8))
    large = interpolate(framed, size=(60, 60), mode="bicubic", align_corners=False)[:, 0, 16:44, 16:44]
    return (((large - MIDDLE) * CONTRAST + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)


@dataclass(frozen=True)
class IdxFile:
    """An idx file, as it is downloaded (gzip) and unpacked.

    Attributes:
        name: Without ``.gz``.
        packed_md5: md5 of the gzip file.
        md5: md5 of the content.
    """

    name: str
    packed_md5: str
    md5: str


FILES = (
    IdxFile("train-images-idx3-ubyte", "f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
    IdxFile("train-labels-idx1-ubyte", "d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
    IdxFile("t10k-images-idx3-ubyte", "9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
    IdxFile("t10k-labels-idx1-ubyte", "ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
)
"""Images and labels of the 60,000 training digits, then of the 10,000 test digits."""

FOLDERS = (".", "mnist", "MNIST/raw")
"""Folders to look in under the data root; the last is torchvision's."""


class MnistSource(KnownFiles):
    """The 70,000 MNIST digits (LeCun et al. 1998), training digits first.

    Args:
        root: Folder to look in; by default the data root, ``$MMVAE_BENCH_DATA``.
        files: The expected files, in the order images, labels, images, labels.
        download: Whether to fetch what is missing into ``root`` with torchvision.
    """

    name: ClassVar[str] = "mnist"
    files: Sequence[IdxFile]

    def __init__(self, *, root: Path | None = None, files: Sequence[IdxFile] = FILES, download: bool = True) -> None:
        self.root, self.files, self.download = root, tuple(files), download

    @property
    def user_files(self) -> UserFiles | None:
        """See :attr:`DigitSource.user_files`."""
        found = MnistFiles(self)
        return found if found.paths else None

    def load(self) -> Digits:
        """Reads the files; raises SourceError if they are neither found nor fetched, or wrong."""
        root = self.folder
        contents, problems, missing = self._read(root)
        if missing and not problems and self.download:
            failure = _download(root)
            contents, problems, missing = self._read(root)
            if missing and failure:
                problems.append(f"download: {failure}")
        if missing or problems:
            raise (MissingSourceError if missing else SourceError)(self._advice(root, problems, missing))
        arrays = [parse_idx(content) for content in contents]
        images, labels = torch.cat(arrays[::2]), torch.cat(arrays[1::2]).long()
        if images.ndim != 3 or images.shape[1:] != (28, 28) or labels.shape != images.shape[:1]:
            raise SourceError(
                f"MNIST images and labels have unexpected shapes: {tuple(images.shape)} and {tuple(labels.shape)}"
            )
        return Digits(images, labels)

    def check(self) -> None:
        """Raises SourceError if a file that is there is wrong; missing ones are not looked for elsewhere."""
        _, problems, missing = self._read(self.folder)
        if problems:
            raise SourceError(self._advice(self.folder, problems, missing))

    def _read(self, root: Path) -> tuple[list[bytes], list[str], list[str]]:
        """The contents found, what is wrong with the others, and the names of those that are missing."""
        contents: list[bytes] = []
        problems: list[str] = []
        missing: list[str] = []
        for file in self.files:
            refused: list[str] = []
            for path in places(root, file.name):
                content, problem = _read_checked(path, file)
                if content is not None:
                    contents.append(content)
                    break
                refused.append(problem)
            else:
                problems += refused
                missing += [] if refused else [file.name]
        return contents, problems, missing

    def _advice(self, root: Path, problems: list[str], missing: list[str]) -> str:
        lines = ["the MNIST files are not usable"]
        lines += [f"  {problem}" for problem in problems]
        lines += [f"  missing: {name}" for name in missing]
        lines += ["looked in:"] + [f"  {(root / folder).resolve()}" for folder in FOLDERS]
        lines += ["expected, unpacked or packed with gzip:"]
        lines += [f"  {file.name}  md5 {file.md5}  (.gz: {file.packed_md5})" for file in self.files]
        if problems and not missing:
            lines += ["what to do: delete the damaged files and copy or download them again"]
        lines += [
            f"offline: copy the four files to a folder and set {DATA_VARIABLE} to it,",
            "  or use source=digits, which needs no file",
        ]
        return "\n".join(lines)


_MOST_DIMENSIONS = 8


def parse_idx(content: bytes) -> Tensor:
    """An idx file of bytes: two zeros, type 8, the number of dimensions, the sizes (big-endian), the values.

    >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9])).tolist()
    [7, 8, 9]

    Raises:
        SourceError: if the header and the length disagree.
    """
    num_dimensions = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    num_dimensions = num_dimensions if num_dimensions <= _MOST_DIMENSIONS else 0
    start = 4 + 4 * num_dimensions
    sizes = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4))
    if not num_dimensions or start + math.prod(sizes) != len(content):
        raise SourceError(f"not an idx file of bytes: sizes {sizes}, {len(content)} bytes in total")
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).reshape(sizes).copy())


def places(root: Path, name: str) -> list[Path]:
    """The existing files that may be the one called ``name``: in any of the folders, plain or with .gz, with a dot as
    some mirrors write it, or in a folder of the same name."""
    names = (name, f"{name}.gz", name.replace("-idx", ".idx"), f"{name.replace('-idx', '.idx')}.gz")
    paths = [root / folder / inner / named for folder in FOLDERS for inner in (".", *names[::2]) for named in names]
    return [path for path in paths if path.is_file()]


def _read_checked(path: Path, file: IdxFile) -> tuple[bytes | None, str]:
    """The unpacked content of a file, whether its name ends in .gz or not, or None and what is wrong with it."""
    try:
        content = read_file(path)
    except OSError as error:
        return None, f"{path}: cannot be read ({error.strerror or error})"
    size, packed = len(content), is_gzip(content)
    found, expected = _md5(content), file.packed_md5 if packed else file.md5
    if found == file.md5:
        return content, ""
    if packed:
        # Whoever compressed it, and however: what counts is the content.
        try:
            content = gunzip(content)
        except OSError as error:
            return None, f"{path}: {error} ({size:,} bytes), md5 {found}, expected {expected}"
        if (inner := _md5(content)) == file.md5:
            return content, ""
        return None, f"{path}: wrong md5 {inner} when unpacked, expected {file.md5} ({len(content):,} bytes)"
    return None, f"{path}: wrong md5 {found}, expected {expected} ({size:,} bytes)"


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class MnistFiles:
    """The files of MNIST that are under the data root; what they must contain is known.

    Args:
        source: The source.
    """

    def __init__(self, source: MnistSource) -> None:
        self._source = source
        self.paths = [path for file in source.files for path in places(source.folder, file.name)]

    def stamps(self) -> Iterator[FileStamp]:
        """See :class:`UserFiles`."""
        return stamps(self.paths)

    def digest(self) -> str:
        """The source's checksum; raises SourceError if a file that is there is wrong."""
        self._source.check()
        return self._source.checksum


def _download(root: Path) -> str:
    """Fetches the files to torchvision's folder under ``root``; returns why that failed, or an empty text."""
    from filelock import FileLock
    from torchvision.datasets import MNIST

    try:
        root.mkdir(parents=True, exist_ok=True)
        # torchvision prints its progress to stdout, which is for results.
        with patiently(FileLock(root / ".mnist-download.lock")), redirect_stdout(sys.stderr):
            MNIST(str(root), download=True)
    except Exception as error:  # Whatever made the download fail, the user needs to see it with the rest.
        return " ".join(f"{type(error).__name__}: {error}".split())
    return ""
