"""CelebA-18: images per second on one core, and how well a small network reads the attributes of drawn faces.

    python benchmarks/celeba18.py speed [--source drawn|celeba] [--seconds 5] [--size 64]
    python benchmarks/celeba18.py read [--train 10000] [--test 3000] [--epochs 8]

Measured in processor time, so that other processes on the machine do not count. Photographs are read from
``$MMVAE_BENCH_DATA``. Required: 1,000 faces and 2,000 photographs per second; a mean accuracy of 96 % over the
attributes, each at least 8 points above its majority rate (at least 98 % if that rate is above 90 %).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time

import numpy as np
import torch
from torch import Tensor, nn

from mmvae_bench.data.celeba18 import CelebA18DataModule
from mmvae_bench.specs.built_in.datasets import CELEBA18_NAMES, CelebA18Spec
from mmvae_bench.worlds.faces.recipe import DrawnFaces

FLOORS = {"drawn": 1_000, "celeba": 2_000}
CHUNK = 200


def speed(source: str, size: int, seconds: float) -> dict[str, object]:
    """The median rate over chunks of consecutive images, made in the same way as by the dataset."""
    recipe = CelebA18DataModule(CelebA18Spec.parse({"source": source, "size": size})).images
    chunk, start, rates = min(CHUNK, recipe.num_images), 0, []
    recipe.make(0, chunk)
    ends = time.process_time() + seconds
    while time.process_time() < ends:
        begun = time.process_time()
        recipe.make(start, start + chunk)
        rates.append(chunk / (time.process_time() - begun))
        start = (start + chunk) % max(1, recipe.num_images - chunk)
    rates.sort()
    return {
        "source": source,
        "images": recipe.describe(),
        "images_per_second": round(rates[len(rates) // 2]),
        "slowest_tenth": round(rates[len(rates) // 10]),
        "floor": FLOORS[source],
        "ok": rates[len(rates) // 2] >= FLOORS[source],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, 1 thread",
    }


def read(num_train: int, num_test: int, epochs: int) -> dict[str, object]:
    """Trains a small network on some faces and tests it on others."""
    made = DrawnFaces(num_images=num_train + num_test, size=64, seed=0).make(0, num_train + num_test)
    images = torch.from_numpy(made.pixels).permute(0, 3, 1, 2)
    present = torch.from_numpy(made.concepts).float()
    network = small_network()
    num_steps = epochs * (num_train // 128)
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=num_steps)
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for rows in torch.randperm(num_train, generator=generator)[: num_train // 128 * 128].view(-1, 128):
            loss = nn.functional.binary_cross_entropy_with_logits(network(centred(images[rows])), present[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    network.eval()
    with torch.no_grad():
        logits = torch.cat([network(centred(part)) for part in images[num_train:].split(500)])
    truth = present[num_train:]
    accuracy = ((logits > 0) == truth.bool()).double().mean(0).numpy()
    majority = np.maximum(truth.mean(0), 1 - truth.mean(0)).double().numpy()
    needed = np.where(majority > 0.9, 0.98, majority + 0.08)
    return {
        "train": num_train,
        "test": num_test,
        "mean_accuracy": round(float(accuracy.mean()), 4),
        "attributes": {
            name: {"accuracy": round(float(found), 4), "majority": round(float(most), 4), "ok": bool(found >= floor)}
            for name, found, most, floor in zip(CELEBA18_NAMES, accuracy, majority, needed, strict=True)
        },
        "ok": bool(accuracy.mean() >= 0.96 and (accuracy >= needed).all()),
    }


def small_network() -> nn.Module:
    """Four 3x3 convolutions and two linear layers, from Float[B, 3, 64, 64] to Float[B, 18]."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for channels, wider, stride in ((3, 16, 2), (16, 32, 2), (32, 64, 2), (64, 64, 1)):
        layers += [nn.Conv2d(channels, wider, 3, stride, 1, bias=False), nn.BatchNorm2d(wider), nn.ReLU()]
    layers += [nn.Flatten(), nn.Dropout(0.1), nn.Linear(64 * 64, 96), nn.ReLU(), nn.Linear(96, len(CELEBA18_NAMES))]
    return nn.Sequential(*layers)


def centred(images: Tensor) -> Tensor:
    """Byte[B, 3, S, S] to Float between -1/2 and 1/2."""
    return images.float() / 255 - 0.5


def main() -> int:
    """Prints one JSON document; exits with 1 if a requirement is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measured = commands.add_parser("speed")
    measured.add_argument("--source", choices=tuple(FLOORS), default="drawn")
    measured.add_argument("--seconds", type=float, default=5)
    measured.add_argument("--size", type=int, default=64)
    reading = commands.add_parser("read")
    reading.add_argument("--train", type=int, default=10_000)
    reading.add_argument("--test", type=int, default=3_000)
    reading.add_argument("--epochs", type=int, default=8)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.command == "speed":
        result = speed(given.source, given.size, given.seconds)
    else:
        result = read(given.train, given.test, given.epochs)
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
