"""Sprites: images that are drawn when they are needed, on the device where they are needed; no image is stored, only
what they are made of, the user's textures and the shapes of dSprites, where those are used.

Shapes: N image, B batch, L attribute.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..base.canonical import content_hash
from ..base.files import read_json
from ..base.heartbeat import beat
from ..concepts import compositional_split
from ..specs.built_in.datasets import NAMED_TEXTURES, PLAIN, SpritesSpec
from ..worlds.sprite_bitmaps import GENERATOR_VERSION as BITMAPS_VERSION
from ..worlds.sprite_bitmaps import Bitmaps
from ..worlds.sprites import GENERATOR_VERSION, draw_concepts, draw_geometry, render, render_backgrounds
from ..worlds.textures import GENERATOR_VERSION as TEXTURES_VERSION
from ..worlds.textures import ZOOM, Procedural, Swatches, Textures
from .batch import Batch, CaptionedStore
from .cache import META, checked
from .drawn import DrawnDataModule
from .sources.dsprites_file import DSpritesFile
from .sources.sprite_shapes import SpriteShapes
from .sources.textures import TextureFolder
from .splits import FRACTIONS, compositional_partition, random_partition


class SpriteStore:
    """Sprites 0 to N on one device, with their concepts; each batch is drawn again.

    Args:
        spec: What to draw.
        concepts: Long[N, L], if they are already drawn; None: on the CPU.
        textures: Draws the background, on the same device; None: it is plain.
        shapes: Those of dSprites, on the same device; None: the formulas.
    """

    def __init__(
        self,
        spec: SpritesSpec,
        *,
        concepts: Tensor | None = None,
        textures: Textures | None = None,
        shapes: Bitmaps | None = None,
    ) -> None:
        self.spec, self.textures, self.shapes = spec, textures, shapes
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
        drawn: dict[str, Any] = {} if self.textures is None else {"texture": self.textures.draw(rows)}
        if self.shapes is not None:
            drawn["shapes"] = self.shapes
        pixels, masks = render(draw_geometry(rows, concepts, seed=self.spec.seed), canvas=self.spec.canvas, **drawn)
        return Batch(pixels.float().div_(255), concepts, rows, mask=masks)

    def backgrounds(self, rows: Tensor) -> Tensor:
        """The images of ``rows`` (Long[B]) without their sprites, as floats."""
        rows = rows.to(self.concepts.device)
        drawn = {} if self.textures is None else {"texture": self.textures.draw(rows)}
        geometry = draw_geometry(rows, self.concepts[rows], seed=self.spec.seed)
        return render_backgrounds(geometry, canvas=self.spec.canvas, **drawn).float().div_(255)

    def to(self, device: torch.device | str) -> SpriteStore:
        """The store on another device; itself if it is already there."""
        if self.concepts.device == torch.device(device):
            return self
        textures = None if self.textures is None else self.textures.to(device)
        shapes = None if self.shapes is None else self.shapes.to(device)
        return SpriteStore(self.spec, concepts=self.concepts.to(device), textures=textures, shapes=shapes)


class SpritesDataModule(DrawnDataModule):
    """Sprites, drawn anew each time.

    Args:
        spec: What to draw.
        file: dSprites' file, if its shapes are used; by default the one under the data root.
    """

    spec: SpritesSpec
    generator = GENERATOR_VERSION
    too_small: ClassVar[str] = "raise num_images"

    def __init__(self, spec: SpritesSpec, *, file: DSpritesFile | None = None) -> None:
        super().__init__(spec)
        self._shapes = None if spec.source == "drawn" else SpriteShapes(file)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the recipe and the generator's version; with a texture also of its own, or of the user's pictures;
        with the shapes of dSprites also of their file."""
        recipe = {"recipe": self.spec.recipe(), "generator": GENERATOR_VERSION}
        if (folder := self.texture_folder) is not None:
            recipe["recipe"] = {**self.spec.recipe(), "texture": folder.digest}
        if self.spec.texture != PLAIN:
            recipe["textures"] = TEXTURES_VERSION
        if self._shapes is not None:
            recipe["shapes"] = {"source": self._shapes.file.checksum, "generator": BITMAPS_VERSION}
        return content_hash(recipe)

    @cached_property
    def texture_folder(self) -> TextureFolder | None:
        """The user's pictures, if they are the background."""
        name = self.spec.texture
        return None if name in NAMED_TEXTURES else TextureFolder(name, side=ZOOM * self.spec.canvas)

    def textures(self) -> Textures | None:
        """What draws the background; None if it is plain. Raises SourceError if the user's pictures cannot be used."""
        spec = self.spec
        if (folder := self.texture_folder) is not None:
            return Swatches(folder.pictures(self.progress), seed=spec.seed)
        return None if spec.texture == PLAIN else Procedural(seed=spec.seed, canvas=spec.canvas)

    def shapes(self) -> Bitmaps | None:
        """Those of dSprites' file; None if they are formulas. Raises SourceError if the file cannot be used."""
        return None if self._shapes is None else self._shapes.bitmaps(self.progress)

    def prepare_data(self) -> None:
        """Reads the user's pictures and shapes into the cache, if there are any; raises SourceError if they cannot be
        used."""
        self.textures()
        self.shapes()

    def setup(self, stage: str | None = None) -> None:
        """Draws the concepts, by which images are divided."""
        self._store = SpriteStore(self.spec, textures=self.textures(), shapes=self.shapes())
        self._partitions.clear()

    def backgrounds(self, rows: Tensor) -> Tensor:
        """See :meth:`ConceptDataModule.backgrounds`: the shade or texture behind the sprites."""
        store = self.store.store if isinstance(self.store, CaptionedStore) else self.store
        assert isinstance(store, SpriteStore)
        return store.backgrounds(rows)

    def describe(self) -> dict[str, Any]:
        """As of other datasets; with the size of what is kept of the user's files, and, if dSprites' shapes are used,
        the md5 of its file."""
        about = super().describe()
        files = [entry for kept in self._kept.values() for entry in read_json(kept.folder / META)["files"].values()]
        about["storage_bytes"] = sum(entry["bytes"] for entry in files)
        return about if self._shapes is None else {**about, "source_md5": self._shapes.file.checksum}

    def verify(self) -> dict[str, Any]:
        """As of other datasets that are drawn. What is kept of the user's files is checked first and compared with
        them; if any of it is damaged, nothing is drawn.

        Raises:
            BenchmarkError: if the dataset is not prepared, or the user's files cannot be read.
        """
        if not self._kept:
            return super().verify()
        spec = self.spec
        heads = [
            checked(kept.folder, name=spec.name, source=spec.source, fingerprint=self.fingerprint)
            for kept in self._kept.values()
        ]
        report = {
            **heads[0],
            "kept": {what: str(kept.folder) for what, kept in self._kept.items()},
            "files": [entry for head in heads for entry in head["files"]],
            "ok": all(head["ok"] for head in heads),
        }
        if not report["ok"]:
            return {**report, "compared": 0, "different": None, "num_images": None, "pixel_hash": None}
        compared = {what: kept.compare(self.progress) for what, kept in self._kept.items()}
        drawn = super().verify()
        same = not any(part["different"] for part in compared.values())
        return {**drawn, **report, "ok": drawn["ok"] and same, **compared}

    @property
    def _kept(self) -> dict[str, SpriteShapes | TextureFolder]:
        """What the cache holds of the user's files, by the name that ``verify`` gives it."""
        parts = {"shapes": self._shapes, "textures": self.texture_folder}
        return {what: part for what, part in parts.items() if part is not None}

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
