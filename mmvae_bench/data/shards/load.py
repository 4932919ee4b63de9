"""A finished store as something to train on.

Shapes: N image, A attribute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ...base.errors import BenchmarkError
from ..store import ByteStore
from .arrow import FORMAT, decode
from .manifest import MANIFEST, Manifest


@dataclass(frozen=True)
class Loaded:
    """A store in memory.

    Attributes:
        manifest: What it says of itself.
        store: The images, mapped from their files.
        columns: The scalars of each image by name, [N] each.
    """

    manifest: Manifest
    store: ByteStore
    columns: Mapping[str, np.ndarray]


def load(folder: Path) -> ByteStore:
    """The images of a finished store, mapped into memory, which the processes of one machine share.

    Of the checksums only what costs nothing is checked: the manifest's own, and the size of every file.

    Raises:
        BenchmarkError: where it is not prepared, of another version, or files are missing or of another size.
    """
    return load_all(folder).store


def load_all(folder: Path) -> Loaded:
    """The same, with the manifest and the scalars."""
    manifest = open_manifest(folder)
    for shard in manifest.shards:
        path = folder / shard.file
        if not path.is_file() or path.stat().st_size != shard.num_bytes:
            raise BenchmarkError(
                f"{path} is damaged or missing: `mmvae-bench data prepare {manifest.name}`, with the same settings, "
                "makes it again"
            )
    parts = [decode(folder / shard.file)[0] for shard in manifest.shards]
    masks = [part.masks for part in parts if part.masks is not None]
    store = ByteStore(
        [part.pixels for part in parts],
        torch.from_numpy(np.concatenate([part.concepts for part in parts])),
        image_shape=manifest.image_shape,
        masks=masks or None,
    )
    names = parts[0].columns
    return Loaded(manifest, store, {name: np.concatenate([part.columns[name] for part in parts]) for name in names})


def open_manifest(folder: Path) -> Manifest:
    """The manifest of a finished store; raises BenchmarkError where there is none that can be used."""
    manifest = Manifest.read(folder)
    if manifest is None or manifest.format != FORMAT:
        why = "there is none" if not (folder / MANIFEST).exists() else "it is damaged, or of another version"
        raise BenchmarkError(f"{folder} is not prepared: no {MANIFEST} that can be read ({why})")
    return manifest
