"""Sprites: images that are drawn when they are needed, on the device where they are needed; nothing is stored.

Shapes: N image, B batch, L attribute.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any, ClassVar

import torch
from einops import rearrange
from torch import Tensor

from ..base.canonical import content_hash
from ..base.heartbeat import beat
from ..concepts import compositional_split
from ..specs.built_in.datasets import SpritesSpec
from ..worlds.sprites import GENERATOR_VERSION, draw_concepts, draw_geometry, render
from .batch import Batch
from .shards.shard import Planes, add_hashes, pixel_digests
from .splits import FRACTIONS, PartitionedDataModule, compositional_partition, random_partition


class SpriteStore:
    """Sprites 0 to N on one device, with their concepts; each batch is drawn again.

    Args:
        spec: What to draw.
        concepts: Long[N, L], if they are already drawn; None: on the CPU.
    """

    def __init__(self, spec: SpritesSpec, *, concepts: Tensor | None = None) -> None:
        self.spec = spec
        if concepts is None:
            concepts = draw_concepts(torch.arange(spec.num_images), level=spec.level, seed=spec.seed)
        self.concepts = concepts

    def __len__(self) -> int:
        return len(self.concepts)

    def batch(self, rows: Tensor) -> Batch:
        """The images of ``rows`` (Long[B]), as floats, multiples of 1/255; with the mask of the sprite."""
        beat()
        rows = rows.to(self.concepts.device)
        concepts = self.concepts[rows]
        pixels, masks = render(draw_geometry(rows, concepts, seed=self.spec.seed), canvas=self.spec.canvas)
        return Batch(pixels.float().div_(255), concepts, rows, mask=masks)

    def to(self, device: torch.device | str) -> SpriteStore:
        """The store on another device; itself if it is already there."""
        if self.concepts.device == torch.device(device):
            return self
        return SpriteStore(self.spec, concepts=self.concepts.to(device))


class SpritesDataModule(PartitionedDataModule):
    """Sprites, drawn anew each time."""

    spec: SpritesSpec
    too_small: ClassVar[str] = "raise num_images"

    @property
    def fingerprint(self) -> str:
        """Hash of the recipe and the generator's version."""
        return content_hash({"recipe": self.spec.recipe(), "generator": GENERATOR_VERSION})

    @property
    def cache_path(self) -> None:
        """There is none: nothing is stored."""
        return

    def prepare_data(self) -> None:
        """Nothing to do."""

    def setup(self, stage: str | None = None) -> None:
        """Draws the concepts, by which images are divided."""
        self._store = SpriteStore(self.spec)
        self._partitions.clear()

    def assign(self, split: str, seed: int) -> Tensor:
        """See :meth:`PartitionedDataModule.assign`."""
        if split == "iid":
            return random_partition(torch.arange(len(self.store)), seed=seed)
        if split == "comp":
            return compositional_partition(self.schema, self.store.concepts, seed=seed)
        raise ValueError(f"unknown split {split!r}; choices: iid, comp")

    def combinations(self) -> dict[str, list[list[int]]] | None:
        """The compositional split, in its own order; None for other splits."""
        if self.spec.split != "comp":
            return None
        parts = compositional_split(self.schema, seed=self.spec.split_seed, fractions=FRACTIONS)
        return {name: part.tolist() for name, part in parts.items()}

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
            "generator": GENERATOR_VERSION,
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
