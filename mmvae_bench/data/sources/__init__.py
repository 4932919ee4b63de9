"""Where the handwritten digits come from: each source is one file with one class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ...base.errors import BenchmarkError

if TYPE_CHECKING:
    from torch import Tensor


class SourceError(BenchmarkError):
    """The images a dataset is made from are missing or damaged; says where it looked and what to do."""


@dataclass(frozen=True)
class Digits:
    """Handwritten digits on 28x28 pixels, in the order of their source.

    Attributes:
        images: Byte[source, 28, 28], 0 black to 255 white.
        labels: Long[source], 0 to 9.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


class DigitSource(Protocol):
    """Knows what its images must be before it reads them."""

    @property
    def name(self) -> str:
        """The name in a spec; a stand-in has a name of its own."""

    @property
    def checksum(self) -> str:
        """Of the raw content that :meth:`load` accepts; part of a dataset's fingerprint."""

    def load(self) -> Digits:
        """Reads and checks the images; raises SourceError."""


def digit_source(name: str) -> DigitSource:
    """The source of that name: ``mnist`` or ``digits``."""
    if name == "mnist":
        from .mnist import MnistSource

        return MnistSource()
    if name == "digits":
        from .digits import ScikitDigitsSource

        return ScikitDigitsSource()
    raise ValueError(f"no source of digits is called {name!r}: mnist or digits")
