"""The images that a person asks a model about: of the test partition by number, or from a picture file.

Shapes: B image, C channel, H height, W width, A attribute.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ..base.errors import BenchmarkError, ConfigError, Problem
from ..base.files import read_bytes
from ..base.printable import printable
from ..base.seeds import derive_seed
from ..data.base import ConceptDataModule
from ..data.sources.pictures import FORMATS

MOST_PIXELS = 50_000_000
"""The largest picture that is read: a small file can hold an enormous one."""


@dataclass(frozen=True)
class Asked:
    """Images that a model is asked about.

    Attributes:
        images: Float[B, C, H, W] in [0, 1].
        names: What each is called: its number in the test partition, or its file.
        concepts: Long[B, A]; None if they are not known.
        descriptions: What y is: the concepts, or in the text view the captions, Long[B, T]; None if not known.
        rows: Their numbers in the dataset; None of pictures, which are numbered as they were named.
        notes: What was done to a picture to make it an image of the dataset.
    """

    images: Tensor
    names: tuple[str, ...]
    concepts: Tensor | None = None
    descriptions: Tensor | None = None
    rows: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def numbers(self) -> Sequence[int]:
        """The number of each image."""
        return range(len(self)) if self.rows is None else self.rows


def held_out_images(data: ConceptDataModule, numbers: Sequence[int] | None, *, number: int) -> Asked:
    """Images of the test partition.

    Args:
        data: After ``setup()``.
        numbers: Their places in the partition; None: some of them, the same ones every time.
        number: How many, where they are not named; all if there are fewer.

    Raises:
        ConfigError: for a place that the partition does not have.
    """
    rows = data.rows("test").cpu()
    if numbers is None:
        generator = torch.Generator().manual_seed(derive_seed("shown images", fingerprint=data.fingerprint))
        numbers = torch.randperm(len(rows), generator=generator)[:number].tolist()
    outside = [place for place in numbers if not 0 <= place < len(rows)]
    if outside:
        message = f"the test partition has {len(rows):,} images, 0 to {len(rows) - 1}"
        raise ConfigError([Problem(message, ("--index",), ", ".join(map(str, outside)))])
    batch = data.store.batch(rows[list(numbers)]).to("cpu")
    names = tuple(f"test {place}" for place in numbers)
    return Asked(batch.image, names, batch.concept, batch.description, tuple(batch.index.tolist()))


def file_images(paths: Sequence[Path], image_shape: tuple[int, int, int]) -> Asked:
    """Pictures as images of a dataset: cropped in the middle to its format, scaled to its size, grey or in colours.

    Raises:
        BenchmarkError: for a file that is no picture, or too large a one.
        DamagedFile: for a file that is no regular one.
    """
    found, notes = zip(*(_read(path, image_shape) for path in paths), strict=True)
    names = tuple(printable(path.name) for path in paths)
    return Asked(torch.stack(found), names, notes=tuple(note for note in notes if note))


def _read(path: Path, image_shape: tuple[int, int, int]) -> tuple[Tensor, str]:
    channels, height, width = image_shape
    name, content = printable(str(path)), read_bytes(path)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                pixels = f"{picture.width:,} x {picture.height:,} pixels"
                raise BenchmarkError(f"{name}: a picture of {pixels}, at most {MOST_PIXELS:,} are read")
            mode, size = picture.mode, (picture.width, picture.height)
            loaded = ImageOps.exif_transpose(picture)
            if loaded.has_transparency_data:
                loaded = loaded.convert("RGBA")
                loaded = Image.alpha_composite(Image.new("RGBA", loaded.size, (0, 0, 0, 255)), loaded)
            if mode.startswith("I;16") or mode in ("I", "F"):
                raise BenchmarkError(f"{name}: a picture of mode {mode}: save it with 8 bits per channel")
            loaded = loaded.convert("L" if channels == 1 else "RGB")
    except BenchmarkError:
        raise
    except UnidentifiedImageError:
        raise BenchmarkError(f"{name}: not a picture that can be read; save it as {', '.join(FORMATS)}") from None
    except Exception as error:  # whatever a decoder raises on a broken or foreign file, it is the file's fault
        raise BenchmarkError(f"{name}: not a picture that can be read: {error or type(error).__name__}") from None
    if size != (width, height):
        loaded = ImageOps.fit(
            loaded, (width, height), Image.Resampling.BOX if width < size[0] else Image.Resampling.BICUBIC
        )
    values = torch.from_numpy(np.array(loaded)).float().div(255).reshape(height, width, channels)
    wanted = "L" if channels == 1 else "RGB"
    changed = size != (width, height) or mode != wanted
    note = f"{name}: {size[0]}x{size[1]} {mode}, cropped in the middle and scaled to {width}x{height} {wanted}"
    return values.permute(2, 0, 1).contiguous(), note if changed else ""
