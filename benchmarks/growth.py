"""What more images cost: start, step, batch and memory, each number of images in a process of its own.

Sprites are drawn on the fly; ``bits`` is a made-up store of random binary images of MNIST-A's shape at canvas 32, since
only the number of images matters here. JMVAE with the thin networks of width 8 and ``fit`` (``loops.py``); memory is
the most that the process had in use, and what it had before there was an image.

    python benchmarks/growth.py [--images 1000 10000 100000 1000000] [--steps 40]

How a sweep grows with its trials: ``benchmarks/driver.py``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SOURCES = ("sprites", "bits")
ROUNDS = 20


def memory(what: str) -> float:
    """A line of this process's status in MiB: ``VmRSS``, or ``VmHWM``, the most so far."""
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(text.partition(f"{what}:")[2].split()[0]) / 1024


def measure(source: str, num_images: int, steps: int) -> dict[str, float]:
    """The numbers of one row, by name; for a new process."""
    import torch
    from loops import StepClock, run_fit

    from mmvae_bench.data.splits import PartitionedDataModule, random_partition
    from mmvae_bench.data.store import BitStore
    from mmvae_bench.objectives.base import Objective
    from mmvae_bench.specs.components import backbones, datasets, objectives
    from mmvae_bench.specs.trial import TrainingSpec

    class MadeUp(PartitionedDataModule):
        too_small = "more images"

        def setup(self, stage: str | None = None) -> None:
            random = torch.Generator().manual_seed(0)
            shape, sizes = self.image_shape, self.schema.sizes
            packed = torch.randint(256, (num_images, -(-int(np.prod(shape)) // 8)), dtype=torch.uint8, generator=random)
            concepts = torch.stack([torch.randint(size, (num_images,), generator=random) for size in sizes], 1)
            self._store = BitStore(packed, concepts, image_shape=shape)

        def assign(self, split: str, seed: int) -> torch.Tensor:
            return random_partition(torch.arange(num_images), seed=seed)

    torch.set_num_threads(1)
    if source == "sprites":
        data = datasets.parse({"name": "sprites", "num_images": num_images}).build()
        settings = {"name": "rgb_thin", "likelihood": "normal", "likelihood_scale": 0.5}
    else:
        data, settings = MadeUp(datasets.parse({"name": "mnist_a", "canvas": 32})), {"name": "mnist_a_thin"}
    backbone = backbones.parse({**settings, "width": 8}).build(schema=data.schema, image_shape=data.image_shape)
    objective: Objective = objectives.parse("jmvae").build(backbone, seed=0)
    before, began = memory("VmRSS"), time.process_time()
    data.setup()
    rows = data.rows("train")
    setup = time.process_time() - began
    seconds = []
    for _ in range(ROUNDS):
        batch = rows[torch.randint(len(rows), (64,))]
        began = time.process_time()
        data.store.batch(batch)
        seconds.append(time.process_time() - began)
    clock = StepClock(objective.device, warm_up=3, num_steps=3 + steps)
    run_fit(objective, data, TrainingSpec(steps=4000, validations=1), clock)
    return {
        "setup": setup,
        "batch": 1e3 * statistics.median(seconds),
        "step": 1e3 * clock.seconds_a_step,
        "before": before,
        "most": memory("VmHWM"),
    }


def main() -> None:
    """Prints a Markdown table, each row as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=list(SOURCES))
    parser.add_argument("--one", action="store_true", help="print the numbers of one row, measured in this process")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.sources[0], options.images[0], options.steps)))
        return
    print("| images | number | setup, s | ms/batch | ms/step | steps/s | MiB before | most MiB |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for source in options.sources:
        for count in options.images:
            words = ["--one", "--sources", source, "--images", str(count), "--steps", str(options.steps)]
            done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            cells = [f"{found['setup']:.2f}", f"{found['batch']:.2f}", f"{found['step']:.1f}"]
            cells += [f"{1e3 / found['step']:.1f}", f"{found['before']:.0f}", f"{found['most']:.0f}"]
            print(f"| {source} | {count:,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
