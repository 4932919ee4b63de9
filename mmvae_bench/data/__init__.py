"""Datasets of images with concepts: one LightningDataModule per file, and what they share.

:func:`from_arrays` and :func:`from_folder` make datasets of your own images; they are imported when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .own import from_arrays as from_arrays
    from .own import from_folder as from_folder

__all__ = ["from_arrays", "from_folder"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module(".own", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
