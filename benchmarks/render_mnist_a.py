"""Images per second of the MNIST-A renderer on one CPU thread: antialiased, binarised, packed.

    python benchmarks/render_mnist_a.py [--canvas 64] [--seconds 5] [--source digits]

Measured in processor time, so that other processes on the machine do not count. Required at canvas 64: 3,500 images/s.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time

import torch

from mmvae_bench.data.mnist_a import CHUNK, MnistAImages
from mmvae_bench.data.sources.digits import digit_source
from mmvae_bench.specs.built_in.datasets import MnistASpec

FLOOR = 3_500


def measure(canvas: int, source: str, seconds: float) -> dict[str, object]:
    """The median rate over chunks of rows, made in the same way as by the dataset."""
    images = MnistAImages(MnistASpec.parse({"canvas": canvas, "source": source}), digit_source(source))
    digits = images.source.load()
    num_images, start, rates = len(digits) * images.spec.replicas, 0, []
    images.make(torch.arange(CHUNK), digits=digits)
    ends = time.process_time() + seconds
    while time.process_time() < ends:
        rows = (torch.arange(CHUNK) + start) % num_images
        begun = time.process_time()
        images.make(rows, digits=digits)
        rates.append(CHUNK / (time.process_time() - begun))
        start += CHUNK
    rates.sort()
    return {
        "canvas": canvas,
        "source": source,
        "images_per_second": round(rates[len(rates) // 2]),
        "slowest_tenth": round(rates[len(rates) // 10]),
        "images": len(rates) * CHUNK,
        "floor": FLOOR if canvas == 64 else None,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, 1 thread",
    }


def main() -> int:
    """Prints one JSON document; exits with 1 if the required rate is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--canvas", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--source", choices=("digits", "mnist"), default="digits")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = measure(arguments.canvas, arguments.source, arguments.seconds)
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 1 if arguments.canvas == 64 and float(str(result["images_per_second"])) < FLOOR else 0


if __name__ == "__main__":
    sys.exit(main())
