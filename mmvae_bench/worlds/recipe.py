"""What defines a set of images before it is made: how many, of what shape, and how to make any of them.

Shapes: n image of a shard, H height, W width, C channel, A attribute, M mask.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..base.canonical import content_hash


@dataclass(frozen=True)
class Images:
    """Consecutive images of a set.

    Attributes:
        pixels: Byte[n, H, W, C], RGB or grey.
        concepts: Integer[n, A], value indices, fully specified.
        masks: Bool[n, M, H, W], foreground masks; None if the set has none.
        columns: Scalars of each image by name, [n] each: geometry, ids, nuisance factors.
    """

    pixels: np.ndarray
    concepts: np.ndarray
    masks: np.ndarray | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)


class UserFiles(Protocol):
    """The files of the user from which images are made."""

    def stamps(self) -> Iterable[tuple[str, int, int, int]]:
        """Of each file: path, size, time of the last change of its content and of its metadata in nanoseconds."""

    def digest(self) -> str:
        """Hash of the content that the images are made from; the same for every layout of the same files."""


class ImageRecipe(ABC):
    """A numbered set of images, each a function of its number and of the recipe alone.

    Instances are pickled to worker processes, so they hold configuration and no open file or renderer.

    Attributes:
        num_images: N.
        image_shape: (C, H, W).
        num_attributes: A.
        num_masks: M, 0 if the set has none.
    """

    num_images: int
    image_shape: tuple[int, int, int]
    num_attributes: int
    num_masks: int = 0

    @property
    def user_files(self) -> UserFiles | None:
        """The files of the user that the images are made from; None if there are none."""
        return None

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Plain JSON of everything that determines the pixels: configuration, renderer and variant, generator version,
        checksum of the source. Hashed into the fingerprint."""

    @property
    def fingerprint(self) -> str:
        """Hash of :meth:`describe`."""
        return content_hash(self.describe())

    @abstractmethod
    def make(self, start: int, stop: int) -> Images:
        """Images ``start`` to ``stop`` (exclusive). The same bytes from any process and in any order."""
