"""The overhead of the training loop: steps per second of ``fit`` compared with a bare PyTorch loop.

Both do the same work on the same tensors (see ``loops.py``). They run alternately, and the median ratio of their
processor times is printed, because the speed of a shared machine drifts.

    python benchmarks/overhead.py [--steps 600] [--rounds 7] [--width 1] [--profile]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import torch
from loops import time_bare, time_fit

from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.components import backbones, datasets, objectives
from mmvae_bench.specs.trial import TrainingSpec


def build(data: ConceptDataModule, name: str, width: int, hidden: int) -> Objective:
    """A new objective on a backbone thin enough for steps of a few milliseconds."""
    backbone = backbones.parse({"name": "mnist_a_thin", "width": width, "hidden": hidden, "latent_size": 4})
    built = backbone.build(schema=data.schema, image_shape=data.image_shape)
    objective: Objective = objectives.parse(name).build(built)
    return objective


def main() -> None:
    """Prints a table with one row per objective."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--width", type=int, default=1)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--objectives", nargs="+", default=["jvae", "bivcca"])
    parser.add_argument("--profile", action="store_true", help="profile the training loop of the first objective")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data: ConceptDataModule = datasets.parse({"name": "mnist_a", "canvas": 16, "replicas": 3}).build()
    data.prepare_data()
    data.setup()
    # One validation, at the end: the user chooses how often to validate, so it is not part of the loop's overhead.
    training = TrainingSpec(steps=options.steps, validations=1)
    if options.profile:
        profile(data, training, options)
        return
    print("| objective | bare ms/step | fit ms/step | fit steps/s over bare | lowest | highest |")
    print("|---|---|---|---|---|---|")
    for name in options.objectives:
        time_bare(build(data, name, options.width, options.hidden), data, TrainingSpec(steps=50))
        pairs = []
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as folder:
                first = time_bare(build(data, name, options.width, options.hidden), data, training)
                second = time_fit(build(data, name, options.width, options.hidden), data, training, folder=Path(folder))
            pairs.append((first, second))
        ratios = sorted(first / second for first, second in pairs)
        middle = [1e3 * statistics.median(column) for column in zip(*pairs, strict=True)]
        print(
            f"| {name} | {middle[0]:.2f} | {middle[1]:.2f} | {statistics.median(ratios):.3f} "
            f"| {ratios[0]:.3f} | {ratios[-1]:.3f} |"
        )


def profile(data: ConceptDataModule, training: TrainingSpec, options: argparse.Namespace) -> None:
    """Prints a cProfile profile of one fit."""
    import cProfile
    import pstats

    objective = build(data, options.objectives[0], options.width, options.hidden)
    with tempfile.TemporaryDirectory() as folder, cProfile.Profile() as profiler:
        time_fit(objective, data, training, folder=Path(folder))
    pstats.Stats(profiler).sort_stats("tottime").print_stats(40)


if __name__ == "__main__":
    main()
