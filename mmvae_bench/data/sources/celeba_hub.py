"""A copy of the Hugging Face hub's CelebA: a column of images and one of each attribute, in three splits.

The layout of ``flwrlabs/celeba`` (columns ``image``, ``celeb_id`` and the 40 attributes as booleans; splits train,
valid and test) and of copies like it, whose attributes may be -1 and 1 or 0 and 1 and whose validation split may be
called validation or val. Such a copy has no ids: its images are numbered in the order of the official partition.

Shapes: N image.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...base.files import cache_root
from ...specs.built_in.datasets import CELEBA18_SCHEMA
from . import SourceError
from .celeba_rows import Rows

if TYPE_CHECKING:
    from datasets import Dataset

SPLITS = (("train",), ("valid", "validation", "val"), ("test",))
"""The names of the splits, in the order of the official partition."""
IMAGE = "image"


class HubFiles:
    """The image column of a saved copy. Pickled to worker processes, so the files are opened where they are read.

    Args:
        path: The folder of the copy.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, positions: np.ndarray) -> Iterator[bytes | OSError]:
        """The image files at some positions, in order, or why one cannot be read."""
        images = _undecoded(self.path)
        for position in positions.tolist():
            content = images[position][IMAGE]["bytes"]
            yield content if content else OSError("the image column holds no bytes")


def find_hub_copy(folders: list[Path]) -> tuple[HubFiles, Rows] | None:
    """The first copy in ``folders`` or one level below them, None where there is none."""
    candidates = [path for folder in folders if folder.is_dir() for path in [folder, *sorted(folder.iterdir())]]
    for path in candidates:
        if path.is_dir() and (_is_saved(path) or _parquet(path)):
            return HubFiles(path), _rows(path)
    return None


def _is_saved(path: Path) -> bool:
    """Whether ``save_to_disk`` wrote the folder."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def _parquet(path: Path) -> dict[str, list[str]]:
    """The parquet files of each split, by name as the hub names them: ``train-00000-of-00019.parquet``."""
    files = {
        names[0]: sorted(str(file) for name in names for file in path.glob(f"{name}-*.parquet")) for names in SPLITS
    }
    return {name: found for name, found in files.items() if found}


def _splits(path: Path) -> list[tuple[int, Dataset]]:
    """The splits that are there, each with its number in the official partition."""
    import datasets

    if _is_saved(path):
        saved = datasets.load_from_disk(str(path))
        found: dict[str, Any] = dict(saved) if isinstance(saved, datasets.DatasetDict) else {"train": saved}
    else:
        found = dict(
            datasets.load_dataset("parquet", data_files=_parquet(path), cache_dir=str(cache_root() / "celeba-hub"))
        )
    return [(number, found[name]) for number, names in enumerate(SPLITS) for name in names if name in found]


def _undecoded(path: Path) -> Dataset:
    """All images in order, as files and not as pixels."""
    import datasets

    parts = [part.select_columns([IMAGE]) for _, part in _splits(path)]
    return datasets.concatenate_datasets(parts).cast_column(IMAGE, datasets.Image(decode=False))


def _rows(path: Path) -> Rows:
    concepts, partition = [], []
    for number, part in _splits(path):
        missing = [name for name in (IMAGE, *CELEBA18_SCHEMA.names) if name not in part.column_names]
        if missing:
            raise SourceError(
                f"{path}: no column {', '.join(missing)}; a copy of the hub's CelebA has {IMAGE} and one column an "
                f"attribute, this one has: {', '.join(part.column_names)}"
            )
        table = part.select_columns(list(CELEBA18_SCHEMA.names)).with_format("numpy")[:]
        concepts.append(np.stack([np.asarray(table[name]) > 0 for name in CELEBA18_SCHEMA.names], 1).astype(np.uint8))
        partition.append(np.full(len(part), number, np.uint8))
    if not concepts:
        raise SourceError(f"{path}: none of the splits {', '.join(names[0] for names in SPLITS)}")
    joined = np.concatenate(concepts)
    return Rows(np.arange(1, len(joined) + 1), joined, np.concatenate(partition))
