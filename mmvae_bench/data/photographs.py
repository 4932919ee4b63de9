"""LFW and CUB-200-2011: photographs cut out, scaled and kept as bytes, with their masks.

Shapes: N image, n image of a batch, C channel, H height, W width, A attribute, S side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..base.files import data_root
from ..base.printable import printable
from ..specs.built_in.photographs import CUBSpec, LFWSpec, PhotographsSpec
from ..worlds.recipe import ImageRecipe, Images
from .batch import Batch
from .sharded import ShardedDataModule
from .sources import SourceError
from .sources.annotated import MOST_BYTES, NUM_NAMED, Annotated, UsedFiles
from .sources.cub import find_cub
from .sources.lfw import find_lfw
from .sources.pictures import decoded, opened
from .sources.user_files import read_file
from .store import ByteStore

PREPARATION = 1
"""Increased whenever the same photograph gives different pixels."""
LFW_SIDE, LFW_CROP = 250, 120
"""Side of a photograph of LFW, and of the square in its middle that is used, in pixels."""
Shown = tuple[np.ndarray, np.ndarray | None]
"""Byte[S, S, 3], and Bool[S, S] of the mask."""


class Photographs(ImageRecipe):
    """The images that are made of some photographs.

    Args:
        photos: The photographs.
        kind: What they are of: ``lfw`` or ``cub``.
        size: S, side in pixels, the margin included.
        num_images: Use only so many, evenly spread; None: all.

    Raises:
        SourceError: if there are fewer.
    """

    def __init__(self, photos: Annotated, *, kind: str, size: int, num_images: int | None) -> None:
        self.photos, self.kind, self.size = photos, kind, size
        self.num_images = len(photos) if num_images is None else num_images
        if self.num_images > len(photos):
            raise SourceError(
                f"num_images is {self.num_images:,}, but {photos.folder} has only {len(photos):,} photographs that can "
                "be used; use at most that many, or null for all"
            )
        self.image_shape = (3, size, size)
        self.num_attributes = photos.concepts.shape[1]
        self.num_masks = int(photos.masks is not None)

    @property
    def positions(self) -> np.ndarray:
        """Which of the photographs are used: Long[num_images], ascending."""
        return np.arange(self.num_images) * len(self.photos) // self.num_images

    @property
    def user_files(self) -> UsedFiles:
        """See :attr:`ImageRecipe.user_files`."""
        return UsedFiles(self.photos, self.positions.tolist())

    def describe(self) -> dict[str, Any]:
        """See :meth:`ImageRecipe.describe`."""
        return {
            "images": f"{self.kind} photographs",
            "size": self.size,
            "num_images": self.num_images,
            "preparation": PREPARATION,
            "masks": self.num_masks,
            "annotations": self.photos.checksum,
        }

    def make(self, start: int, stop: int) -> Images:
        """See :meth:`ImageRecipe.make`; raises SourceError with the first photographs that cannot be used."""
        positions = self.positions[start:stop]
        shown, problems = [], []
        for position in positions.tolist():
            try:
                shown.append(self._one(position))
            except OSError as error:
                problems.append(f"  {printable(self.photos.names[position])}: {error}")
        if problems:
            more = [f"  and {len(problems) - NUM_NAMED:,} more"] if len(problems) > NUM_NAMED else []
            head = f"{self.photos.folder}: {len(problems):,} of {len(positions):,} photographs cannot be used"
            advice = "what to do: copy or unpack them again"
            raise SourceError("\n".join([head, *problems[:NUM_NAMED], *more, advice]))
        masks = np.stack([mask for _, mask in shown if mask is not None])[:, None] if self.num_masks else None
        columns = {"official_partition": self.photos.part[positions]}
        if self.photos.scores is not None:
            columns |= {f"score_{place}": each for place, each in enumerate(self.photos.scores[positions].T)}
        return Images(np.stack([pixels for pixels, _ in shown]), self.photos.concepts[positions], masks, columns)

    def _one(self, position: int) -> Shown:
        """A photograph with its mask; raises OSError if one cannot be used."""
        path, *mask_paths = self.photos.files(position)
        with opened(read_file(path, at_most=MOST_BYTES)) as file:
            photo = decoded(file)
        mask = None
        for mask_path in mask_paths:
            try:
                with opened(read_file(mask_path, at_most=MOST_BYTES)) as file:
                    grey = decoded(file, "L")
            except OSError as error:
                raise OSError(f"its mask: {error}") from None
            if grey.size != photo.size:
                sizes = f"{grey.width}x{grey.height}, the photograph {photo.width}x{photo.height}"
                raise OSError(f"its mask is {sizes}")
            mask = grey.point([0] * 128 + [255] * 128)  # Above a half: what most of those who drew it say.
        return PREPARED[self.kind](photo, mask, self.size)


def lfw_image(photo: Image.Image, mask: Image.Image | None, size: int) -> Shown:
    """The square in the middle of an aligned face, scaled by a bicubic filter.

    Raises:
        OSError: if it is not of LFW's size, or nobody is in the mask: as a map of labels, 0 and 1, would be read.
    """
    if photo.size != (LFW_SIDE, LFW_SIDE):
        raise OSError(f"{photo.width}x{photo.height}, aligned photographs are {LFW_SIDE}x{LFW_SIDE}")
    start = (LFW_SIDE - LFW_CROP) // 2
    shown = _scaled(photo, mask, (start, start, start + LFW_CROP, start + LFW_CROP), [size])
    if shown[1] is not None and not shown[1].any():
        raise OSError(f"its mask is nowhere white (above 127 of 255) in the middle {LFW_CROP}x{LFW_CROP}")
    return shown


def cub_image(photo: Image.Image, mask: Image.Image | None, size: int) -> Shown:
    """A bird, cut out tightly around its mask and scaled to a square of 10/9 the size, then to the size: to 80 and then
    to 72 pixels as in the code of Yan et al. (2016).

    Raises:
        OSError: if the mask is empty.
    """
    box = None if mask is None else mask.getbbox()
    if box is None:
        raise OSError("its mask is empty")
    return _scaled(photo, mask, box, [size * 10 // 9, size])


def _scaled(photo: Image.Image, mask: Image.Image | None, box: tuple[int, int, int, int], sizes: list[int]) -> Shown:
    parts = [each.crop(box) for each in (photo, mask) if each is not None]
    for size in sizes:
        parts = [part.resize((size, size), Image.Resampling.BICUBIC) for part in parts]
    return np.asarray(parts[0]), None if mask is None else np.asarray(parts[1]) > 127


PREPARED: dict[str, Callable[[Image.Image, Image.Image | None, int], Shown]] = {"lfw": lfw_image, "cub": cub_image}
"""How an image is made of a photograph, a mask of black and white, and the size."""


class PhotographsDataModule(ShardedDataModule):
    """Photographs of the user, in the official partition.

    Args:
        spec: What to make.
        photos: The photographs; by default those under the data root, read when they are first needed.
    """

    spec: PhotographsSpec
    too_small: ClassVar[str] = "raise num_images"

    def __init__(self, spec: PhotographsSpec, *, photos: Annotated | None = None) -> None:
        super().__init__(spec)
        self.photos = photos

    def find(self, root: Path) -> Annotated:
        """The photographs under a data root."""
        raise NotImplementedError

    def recipe(self) -> Photographs:
        """See :meth:`ShardedDataModule.recipe`; raises SourceError if there are no photographs, or not all files."""
        spec = self.spec
        photos = self.find(data_root()) if self.photos is None else self.photos
        size = spec.size + 2 * spec.margin
        return Photographs(photos, kind=spec.name, size=size, num_images=spec.num_images)

    def assign(self, split: str, seed: int) -> Tensor:
        """See :meth:`PartitionedDataModule.assign`. The official partition has no seed."""
        if split != "iid":
            raise ValueError(f"unknown split {split!r}; choices: iid")
        return torch.from_numpy(np.array(self.columns["official_partition"], np.uint8))

    def extras(self) -> dict[str, Any]:
        """What was found and what was left out."""
        assert isinstance(self.images, Photographs)
        return {"iid": "official", "photographs": dict(self.images.photos.about)}


class LFWDataModule(PhotographsDataModule):
    """LFW's faces; their scores are the strengths of the attributes."""

    spec: LFWSpec

    def find(self, root: Path) -> Annotated:
        """See :meth:`PhotographsDataModule.find`."""
        return find_lfw(root, masked=self.spec.masked)

    def strengths(self) -> Tensor:
        """See :meth:`ShardedDataModule.strengths`."""
        columns = [self.columns[f"score_{place}"] for place in range(len(self.schema))]
        return torch.from_numpy(np.stack(columns, 1).astype(np.float32))


class CUBDataModule(PhotographsDataModule):
    """CUB's birds: what is shown of an image is its middle, unless augmentation takes another window of it."""

    spec: CUBSpec

    def find(self, root: Path) -> Annotated:
        """See :meth:`PhotographsDataModule.find`."""
        return find_cub(root)

    def setup(self, stage: str | None = None) -> None:
        """See :meth:`ShardedDataModule.setup`."""
        super().setup(stage)
        self._store = MiddleStore(self._ready.store, margin=self.spec.margin)

    def widened(self, batch: Batch) -> Batch:
        """See :meth:`ConceptDataModule.widened`."""
        assert isinstance(self.store, MiddleStore)
        whole = self.store.whole.batch(batch.index)
        return replace(batch, image=whole.image, mask=whole.mask)


class MiddleStore:
    """The middles of images that are stored with a margin.

    Args:
        whole: The images with their margin.
        margin: Pixels on each side.
    """

    def __init__(self, whole: ByteStore, *, margin: int) -> None:
        self.whole, self.margin, self.concepts = whole, margin, whole.concepts

    def __len__(self) -> int:
        return len(self.whole)

    def batch(self, rows: Tensor) -> Batch:
        """The middles of the images of ``rows`` (Long[B]), with those of their masks."""
        batch, inside = self.whole.batch(rows), slice(self.margin, -self.margin)
        mask = None if batch.mask is None else batch.mask[..., inside, inside]
        return replace(batch, image=batch.image[..., inside, inside].contiguous(), mask=mask)

    def to(self, device: torch.device | str) -> MiddleStore:
        """The store on another device; itself if it is already there."""
        whole = self.whole.to(device)
        return self if whole is self.whole else MiddleStore(whole, margin=self.margin)
