"""Scikit-learn's handwritten digits: real handwriting that needs no file, a stand-in for MNIST."""

from __future__ import annotations

import hashlib
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from . import Digits, SourceError

MD5 = "7696c07daa6d85010f8268703ab8b067"
"""Of the 1,797 images and labels as bytes."""

# The edge of a stroke is where half of a pixel is covered. A third of the ink then is grey, against half of MNIST's,
# and the mean grey is 0.158 against 0.131, for the pens were thicker.
CONTRAST, MIDDLE = 3.0, 0.5


class ScikitDigitsSource:
    """The 1,797 test digits of the UCI Optical Recognition of Handwritten Digits set (Alpaydin and Kaynak 1998).

    They come with scikit-learn, so that everything runs offline. They are a stand-in: 8x8 pixels of 17 greys, enlarged
    to the 20x20 middle of 28x28 pixels, where MNIST's digits sit, with a contrast curve in place of the lost sharpness.
    Scores on them are not MNIST's.
    """

    name: ClassVar[str] = "digits"
    checksum: ClassVar[str] = MD5

    def load(self) -> Digits:
        """Reads the digits; raises SourceError where this scikit-learn has others."""
        from sklearn.datasets import load_digits

        bunch = load_digits()
        small, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.uint8)
        found = hashlib.md5(small.tobytes() + labels.tobytes(), usedforsecurity=False).hexdigest()
        if found != MD5:
            raise SourceError(
                f"scikit-learn's load_digits has changed: md5 {found}, expected {MD5}.\n"
                "  Install a scikit-learn with the 1,797 digits of its versions 1.5 to 1.9, or use source=mnist."
            )
        return Digits(enlarge(torch.from_numpy(small)), torch.from_numpy(labels).long())


def enlarge(small: Tensor) -> Tensor:
    """Byte[source, 8, 8] in 0..16 to Byte[source, 28, 28] in 0..255, with a margin of four black pixels."""
    # Eight pixels become twenty: so 24, with black around, become 60, of which the middle 28 are kept.
    framed = pad(small[:, None].float() / 16, (8, 8, 8, 8))
    large = interpolate(framed, size=(60, 60), mode="bicubic", align_corners=False)[:, 0, 16:44, 16:44]
    return (((large - MIDDLE) * CONTRAST + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
