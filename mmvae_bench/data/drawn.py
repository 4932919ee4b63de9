"""What datasets share whose images are drawn when they are needed, on the device where they are needed.

Shapes: N image.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from .shards.shard import Planes, add_hashes, pixel_digests
from .splits import PartitionedDataModule


class DrawnDataModule(PartitionedDataModule):
    """A data module whose images are not stored: a subclass fills the store in ``setup()``, and has masks."""

    generator: int
    """The version of what draws the images."""

    @property
    def cache_path(self) -> Path | None:
        """There is none: nothing is stored."""
        return None

    def prepare_data(self) -> None:
        """Nothing to do."""

    @cached_property
    def pixel_hash(self) -> str:
        """The hash of all images, as that of a dataset that is stored; draws each once."""
        return self._hash_of(torch.arange(len(self.store)).split(256))

    def describe(self) -> dict[str, Any]:
        """Plain JSON: the recipe, sizes of the partitions, marginals of the training concepts, fingerprints."""
        return {
            **super().describe(),
            "storage_bytes": 0,
            "pixel_hash": self.pixel_hash,
            "recipe": self.spec.recipe(),
            "generator": self.generator,
            "made_with": {"torch": torch.__version__},
        }

    def verify(self) -> dict[str, Any]:
        """There is no file to check; images drawn together are compared with the same ones drawn alone."""
        self.setup()
        rows = torch.arange(min(len(self.store), 256)) * len(self.store) // min(len(self.store), 256)
        together = self.store.batch(rows)
        alone = [self.store.batch(row[None]) for row in rows]
        different = sum(
            not (torch.equal(one.image[0], image) and torch.equal(one.mask[0], mask))  # type: ignore[index]
            for one, image, mask in zip(alone, together.image, together.mask, strict=True)  # type: ignore[arg-type]
        )
        return {
            "name": self.spec.name,
            "source": self.spec.source,
            "fingerprint": self.fingerprint,
            "path": None,
            "files": [],
            "ok": not different,
            "pixel_hash": self.pixel_hash,
            "num_images": len(self.store),
            "compared": len(rows),
            "different": different,
        }

    def _hash_of(self, parts: Iterable[Tensor]) -> str:
        digests: list[str] = []
        for rows in parts:
            batch = self.store.batch(rows).to("cpu")
            pixels = rearrange((batch.image * 255).round().byte(), "b c h w -> b (c h w)").numpy()
            digests += pixel_digests(Planes(pixels, batch.concept.numpy(), None, {}), rows.tolist())
        return add_hashes(digests)
