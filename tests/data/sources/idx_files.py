"""Small files in MNIST's format, made by the tests themselves."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmvae_bench.data.sources.digits import FILES, IdxFile


@dataclass(frozen=True)
class IdxSet:
    """Contents by name, plain and packed, and what a source must expect."""

    contents: dict[str, bytes]
    packed: dict[str, bytes]
    files: tuple[IdxFile, ...]
    images: np.ndarray
    labels: np.ndarray

    def write(self, folder: Path, *, gz: bool) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in (self.packed if gz else self.contents).items():
            (folder / (name + ".gz" * gz)).write_bytes(content)
        return folder


def make_idx_set(num_train: int = 30, num_test: int = 10) -> IdxSet:
    """Random images and labels under MNIST's names."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (num_train + num_test, 28, 28)).astype(np.uint8)
    labels = generator.integers(0, 10, num_train + num_test).astype(np.uint8)
    parts = (images[:num_train], labels[:num_train], images[num_train:], labels[num_train:])
    contents = {file.name: idx(part) for file, part in zip(FILES, parts, strict=True)}
    packed = {name: gzip.compress(content, mtime=0) for name, content in contents.items()}
    files = tuple(IdxFile(name, md5(packed[name]), md5(contents[name])) for name in contents)
    return IdxSet(contents, packed, files, images, labels)


def idx(array: np.ndarray) -> bytes:
    """An idx file: magic number, sizes, values."""
    return bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()
