"""Tries a variant: ``python -m mmvae_bench.worlds.clevr.probe llvm``. May abort; prints "ok" if all is well.

It renders a small scene of the dataset, which compiles the same kernels as any image.
"""

from __future__ import annotations

import os
import sys
from typing import cast

import numpy as np

from .renderer import Renderer
from .scene import sample_pairs
from .variant import LLVM_VARIABLE, Kind, Variant


def main(kind: Kind) -> None:
    """Renders one scene; raises RuntimeError if the image is wrong."""
    variant = Variant(kind, os.environ.get(LLVM_VARIABLE) if kind == "llvm" else None)
    frame = Renderer(variant, num_objects=2, canvas=32, samples=16).linear(sample_pairs(0, np.arange(1)), 0)
    if not np.isfinite(frame).all() or not 0.05 < frame.mean() < 0.95 or frame.std() < 0.01:
        raise RuntimeError(f"the image is wrong: mean {frame.mean()}, standard deviation {frame.std()}")


if __name__ == "__main__":
    main(cast(Kind, sys.argv[1]))
    sys.stdout.write("ok\n")
