"""The images of MNIST-A as a numbered set: which digit and replica a row is, its packed pixels, the files of all.

Shapes: N image, R row, A attribute, S side of the canvas, K packed byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..base.errors import BenchmarkError
from ..base.hashing import content_hash
from ..base.heartbeat import beat
from ..specs.built_in.datasets import MnistASpec
from ..worlds.mnist_a import GENERATOR_VERSION, draw_geometry, render
from .sources import Digits, DigitSource
from .store import pack_bits

CHUNK = 256
"""Images rendered at a time: the fastest number measured."""

Progress = Callable[[int, int], None]
"""Called while images are made, with the numbers done and in all."""


class MnistAImages:
    """The images that a spec asks for. Row ``i * replicas + r`` is replica r of the i-th source digit used.

    A picture depends on the seed, on the digit's index in its source and on r alone.

    Args:
        spec: What to make.
        source: Where the digits come from; read when images are made, and not kept.
    """

    def __init__(self, spec: MnistASpec, source: DigitSource) -> None:
        self.spec, self.source = spec, source

    @property
    def fingerprint(self) -> str:
        """Hash of the recipe, the generator's version and the checksum of the source."""
        return content_hash(
            {"recipe": self.spec.recipe(), "generator": GENERATOR_VERSION, "source": self.source.checksum}
        )

    def identity(self, rows: Tensor, *, num_digits: int) -> tuple[Tensor, Tensor]:
        """Index in the source, and replica, of each row: Long[R] to two of Long[R].

        Args:
            rows: Long[R].
            num_digits: Number of digits in the source. ``num_sources`` of them are used, evenly spread.
        """
        used = self.num_used(num_digits)
        return rows // self.spec.replicas * num_digits // used, rows % self.spec.replicas

    def num_used(self, num_digits: int) -> int:
        """How many of the source's digits are used; raises BenchmarkError where there are too few."""
        wanted = num_digits if self.spec.num_sources is None else self.spec.num_sources
        if wanted > num_digits:
            raise BenchmarkError(f"num_sources is {wanted}, and source {self.source.name} has {num_digits} digits")
        return wanted

    def make(self, rows: Tensor, *, digits: Digits) -> tuple[np.ndarray, np.ndarray]:
        """The packed images (Byte[R, K]) and the concepts (Byte[R, A]) of Long[R], from the digits of the source."""
        source, replica = self.identity(rows, num_digits=len(digits))
        geometry = draw_geometry(source, replica, seed=self.spec.seed)
        images = render(digits.images[source], geometry, canvas=self.spec.canvas)
        concepts = torch.cat([digits.labels[source, None], geometry.concept], 1)
        return pack_bits(images.flatten(1)).numpy(), concepts.byte().numpy()

    def chunks(
        self, rows: Tensor, *, digits: Digits, progress: Progress | None = None
    ) -> Iterator[tuple[Tensor, np.ndarray, np.ndarray]]:
        """Makes many rows a chunk at a time: the rows, their packed images and their concepts."""
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            yield chunk, *self.make(chunk, digits=digits)
            beat()
            if progress is not None:
                progress(start + len(chunk), len(rows))

    def write(self, folder: Path, progress: Progress | None = None) -> dict[str, Any]:
        """Writes images.npy (Byte[N, K]) and concepts.npy (Byte[N, A]) by chunks; returns what describes them.

        Raises:
            SourceError: where the digits are missing or damaged.
        """
        digits = self.source.load()
        num_images = self.num_used(len(digits)) * self.spec.replicas
        num_bytes = (self.spec.canvas**2 + 7) // 8
        images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (num_images, num_bytes))
        concepts = np.lib.format.open_memmap(folder / "concepts.npy", "w+", np.uint8, (num_images, 4))
        pixels = hashlib.sha256()
        for rows, packed, labels in self.chunks(torch.arange(num_images), digits=digits, progress=progress):
            images[rows.numpy()], concepts[rows.numpy()] = packed, labels
            pixels.update(packed.tobytes())
        images.flush()
        concepts.flush()
        return {
            "name": self.spec.name,
            "recipe": self.spec.recipe(),
            "generator": GENERATOR_VERSION,
            "fingerprint": self.fingerprint,
            "pixel_hash": pixels.hexdigest(),
            "source": self.source.name,
            "source_md5": self.source.checksum,
            "num_digits": len(digits),
            "made_with": {"torch": torch.__version__, "numpy": np.__version__},
        }

    def count_different(
        self, rows: Tensor, images: np.ndarray, concepts: np.ndarray, progress: Progress | None = None
    ) -> int:
        """How many of Long[R] differ, made again, from the stored images (Byte[N, K]) or concepts (Byte[N, A])."""
        return sum(
            int(((images[chunk.numpy()] != packed).any(1) | (concepts[chunk.numpy()] != labels).any(1)).sum())
            for chunk, packed, labels in self.chunks(rows, digits=self.source.load(), progress=progress)
        )
