"""The format of an export: Parquet files that ``datasets.load_dataset`` reads, with a passport.

Columns: ``index``; ``image`` (PNG, the Image feature); each attribute as a ClassLabel with the names of its values;
``mask_1`` ... (PNG, black and white) where there are masks; and the scalars.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from einops import rearrange
from PIL import Image

from ...base.errors import BenchmarkError
from ...base.files import read_json, write_json

if TYPE_CHECKING:
    import datasets

PASSPORT = "mmvae_bench.json"
FORMAT = 1
FOLDER = "data"
SPLITS = {"train": "train", "val": "validation", "test": "test"}
"""Names of the partitions in ``datasets``."""


@dataclass(frozen=True)
class ExportPassport:
    """The metadata of an export.

    Attributes:
        format: Version of this format.
        name: Name of the dataset.
        source: Where the pixels came from.
        fingerprint: Fingerprint of the recipe.
        schema: Attribute names to value names.
        image_shape: (C, H, W).
        num_masks: M.
        sizes: Images of each partition.
        split: How they are divided.
        columns: Each scalar's name to its type and to the name of its column.
        recipe: The description of what determines the pixels; null if the dataset has none that is hashed.
        pixel_hash: See :mod:`mmvae_bench.data.shards.shard`.
        label_hash: The same of concepts, scalars and masks.
    """

    format: int
    name: str
    source: str
    fingerprint: str
    schema: dict[str, list[str]]
    image_shape: tuple[int, int, int]
    num_masks: int
    sizes: dict[str, int]
    split: dict[str, Any]
    columns: dict[str, dict[str, str]]
    recipe: dict[str, Any] | None
    pixel_hash: str
    label_hash: str

    @property
    def num_images(self) -> int:
        """Number of images in all partitions."""
        return sum(self.sizes.values())

    def write(self, folder: Path) -> None:
        """Writes the passport into an export's folder."""
        write_json(folder / PASSPORT, asdict(self), indent=1)

    @classmethod
    def read(cls, folder: Path) -> ExportPassport:
        """The passport of an export; raises BenchmarkError if there is none, or one of another version."""
        path = folder / PASSPORT
        try:
            content = read_json(path)
            if content["format"] != FORMAT:
                raise BenchmarkError(
                    f"{path}: format {content['format']}, this version reads {FORMAT}; export it again"
                )
            passport = cls(**{**content, "image_shape": tuple(content["image_shape"])})
            _check_types(passport)
            return passport
        except FileNotFoundError:
            raise BenchmarkError(
                f"{folder} is not an export: it has no {PASSPORT}; "
                "make one with `mmvae-bench data export NAME --out FOLDER`"
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BenchmarkError(f"{path} is damaged ({error}); export it again") from error


def _check_types(passport: ExportPassport) -> None:
    """Raises ValueError where a passport cannot be one that was written."""
    kinds = {"schema": dict, "sizes": dict, "columns": dict, "split": dict, "recipe": dict | None}
    wrong = [name for name, kind in kinds.items() if not isinstance(getattr(passport, name), kind)]
    if not wrong:
        numbers = [*passport.image_shape, passport.num_masks, *passport.sizes.values()]
        if len(passport.image_shape) != 3 or any(type(number) is not int or number < 0 for number in numbers):
            wrong.append("image_shape, num_masks or sizes")
        if any(set(column) != {"name", "type"} for column in passport.columns.values()):
            wrong.append("columns")
    if wrong:
        raise ValueError(f"not as it is written: {', '.join(wrong)}")


def column_names(names: Mapping[str, Any], schema: Mapping[str, Any], num_masks: int) -> dict[str, str]:
    """The name of each scalar's column: its own name, unless that is taken."""
    taken = {"index", "image", *schema, *mask_names(num_masks)}
    return {name: f"scalar_{name}" if name in taken else name for name in names}


def mask_names(num_masks: int) -> list[str]:
    """The names of the masks' columns."""
    return [f"mask_{number}" for number in range(1, num_masks + 1)]


def features(
    schema: Mapping[str, list[str]], num_masks: int, columns: Mapping[str, Mapping[str, str]]
) -> datasets.Features:
    """The types of the columns."""
    from datasets import ClassLabel, Features, Value
    from datasets import Image as ImageFeature

    return Features(
        {
            "index": Value("int64"),
            "image": ImageFeature(),
            **{name: ClassLabel(names=list(values)) for name, values in schema.items()},
            **{name: ImageFeature() for name in mask_names(num_masks)},
            **{column["name"]: Value(column["type"]) for column in columns.values()},
        }
    )


def value_type(values: np.ndarray) -> str:
    """The name that ``datasets`` gives to the type of a scalar."""
    return {"U": "string", "b": "bool"}.get(values.dtype.kind, values.dtype.name)


def to_png(pixels: np.ndarray) -> bytes:
    """Byte[C, H, W] with one or three channels, or Bool[H, W], as a PNG file."""
    if pixels.dtype == bool:
        pixels = pixels[None].astype(np.uint8) * np.uint8(255)
    file = io.BytesIO()
    Image.fromarray(pixels[0] if len(pixels) == 1 else rearrange(pixels, "c h w -> h w c")).save(file, format="PNG")
    return file.getvalue()


def from_png(content: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """The inverse: Byte[C, H, W]; raises ValueError if it is not a picture, or of another shape."""
    try:
        image = Image.open(io.BytesIO(content), formats=["PNG"])
        if image.size != shape[:0:-1]:  # Before anything is unpacked.
            raise ValueError(f"{image.width}x{image.height} pixels, not {shape[2]}x{shape[1]}")
        pixels = np.asarray(image)
    except Exception as error:  # A damaged file raises whatever it happens to lead to.
        raise ValueError(f"not a picture ({error})") from error
    planes = pixels[None] if pixels.ndim == 2 else rearrange(pixels, "h w c -> c h w")
    if planes.shape != shape or planes.dtype != np.uint8:
        raise ValueError(f"a picture of shape {planes.shape} and type {planes.dtype}, not {shape} of bytes")
    return planes
